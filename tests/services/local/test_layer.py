"""The feature layer in this process takes rows in whatever people hold them in."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, LeptonError, NotFound
from cluster.features.layer import Layer
from services.local.layer import LocalLayer
from tests.services.goods import good, goods

MOMENT = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEYS = ["1", "2", "none"]
PRICES = [2.5, 4.0, 9.5]  # the last is the default


@pytest.fixture
def local(layer: Layer) -> LocalLayer:
    made = LocalLayer(layer)
    rows = [good("1"), good("2", price=4.0, words=[])]
    assert made.push("goods", [{**row, "event_time": "2026-01-02T00:00:00Z"} for row in rows]) == 2
    made.materialize()
    return made


HELD: dict[str, Any] = {
    "Polars": pl.DataFrame({"item_id": KEYS, "event_time": [MOMENT] * 3}),
    "pandas": pd.DataFrame({"item_id": KEYS, "event_time": [MOMENT] * 3}, index=[7, 8, 9]),
    "lists": {"item_id": KEYS, "event_time": [MOMENT] * 3},
    "arrays": {"item_id": objects(KEYS), "event_time": np.array(["2026-05-01T12"] * 3, "M8[us]")},
    "series": {"item_id": pl.Series(KEYS), "event_time": pd.Series([MOMENT] * 3)},
    "dicts": [{"item_id": key, "event_time": "2026-05-01T12:00:00Z"} for key in KEYS],
}


@pytest.mark.parametrize("rows", HELD.values(), ids=list(HELD))
def test_examples_come_back_in_what_they_were_given_in(local: LocalLayer, rows: Any) -> None:
    joined = local.join(rows, "goods")
    assert type(joined) is type(rows)
    if isinstance(rows, list):
        assert [{name: row[name] for name in ("item_id", "event_time")} for row in joined] == rows
        joined = {name: [row[name] for row in joined] for name in joined[0]}
    assert list(joined["item_id"]) == KEYS
    assert list(joined["price"]) == PRICES
    assert list(joined["goods_missing"]) == [False, False, True]
    assert [list(words) for words in joined["words"]] == [["red", "warm"], [], []]


def test_the_index_and_the_columns_of_a_frame_stay(local: LocalLayer) -> None:
    frame = HELD["pandas"].assign(item_id=[1, 2, 3], title="mine")
    joined = local.join(frame, ["goods"])
    assert list(joined.index) == [7, 8, 9]
    assert joined[list(frame)].equals(frame)
    assert list(joined["goods__title"]) == ["Boots", "Boots", ""]
    assert str(joined["seen"].dtype) == "datetime64[us, UTC]"


def test_a_row_without_a_key_finds_nothing(local: LocalLayer) -> None:
    for gap in (None, float("nan")):
        frame = pl.DataFrame(HELD["dicts"]).with_columns(item_id=pl.Series(["1", None, "2"]))
        rows = (
            frame if gap is None else {**frame.to_dict(as_series=False), "item_id": ["1", gap, 2]}
        )
        assert list(local.join(rows, goods)["goods_missing"]) == [False, True, False]


@pytest.mark.parametrize("rows", HELD.values(), ids=list(HELD))
def test_keys_are_looked_up_in_what_they_are_given_in(local: LocalLayer, rows: Any) -> None:
    found = local.lookup(["goods", "doubled"], rows)
    if isinstance(rows, list):
        found = {name: [row[name] for row in found] for name in found[0]}
    assert list(found["price"]) == PRICES
    assert list(found["double"])[:2] == [5.0, 8.0]
    assert list(found["goods_status"]) == ["present", "present", "missing"]


def test_one_dict_is_one_row(local: LocalLayer) -> None:
    found = local.lookup("goods", {"item_id": 1})
    assert found["item_id"] == 1
    assert found["title"] == "Boots"
    assert found["goods_time"] == datetime(2026, 1, 2, tzinfo=UTC)
    assert local.push("places", {"item_id": "1", "vector": [1.0, 0.0]}) == 1
    assert local.lookup("places", {"item_id": "1"})["vector"] == [1.0, 0.0]
    assert local.lookup("goods", []) == []


@pytest.mark.parametrize("hold", [pl.DataFrame, pd.DataFrame, list, dict])
def test_rows_are_pushed_in_whatever_they_are_held_in(local: LocalLayer, hold: Any) -> None:
    rows = [good("8"), good("9", price=1.0)]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert local.push(goods, columns if hold is dict else hold(rows)) == 2
    assert [row["price"] for row in local.lookup("goods", [{"item_id": 8}, {"item_id": 9}])] == [
        2.5,
        1.0,
    ]


def test_pictures_are_the_bytes_of_files_but_pixels_among_columns(local: LocalLayer) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert local.push("shots", pd.DataFrame({"item_id": ["1"], "shot": [pixels]})) == 1
    asked = [{"item_id": key} for key in ("1", "2")]
    held, none = local.lookup("shots", asked)
    assert held["shot"].startswith(b"\x89PNG")
    assert none["shot"] is None
    assert local.lookup("shots", {"item_id": ["1"]})["shot"][0].tolist() == pixels.tolist()


def test_one_vector_has_one_answer_and_several_have_several(local: LocalLayer) -> None:
    corners = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0]}
    local.push("places", pl.DataFrame({"item_id": [*corners], "vector": [*corners.values()]}))
    one = local.nearest("places", [1.0, 0.0], 2)
    assert [(near.key, round(near.score, 6)) for near in one] == [
        ({"item_id": "a"}, 1.0),
        ({"item_id": "b"}, 0.8),
    ]
    assert local.nearest("places", np.array([[1.0, 0.0]]), k=2) == [one]
    for vector, k, said in [
        ([1.0, 0.0], 2.5, "2.5 nearest cannot be asked for. Ask for 1 to 1,000."),
        ([1.0], 1, "Give numbers of n x 2."),
        ([[1.0, 0.0], [1.0]], 1, "The vectors differ in length. Give them as m x size numbers."),
        ("a", 1, "holds no queries"),
    ]:
        with pytest.raises(InvalidInput, match=re.escape(said)):
            local.nearest("places", vector, k)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("items", "A str does not hold rows. Give a list of dicts, a DataFrame"),
        (["1"], "Row 0 is a str, not a dict of columns. Write a row as {"),
        ({"item_id": ["1"], "event_time": []}, "'event_time' has 0 values, and 'item_id' has 1."),
        ({"item_id": [["1"]], "event_time": [MOMENT]}, "item_id of row 0 is a list, not text."),
        (pd.DataFrame([[1, 2]]), "There is a column named 0, a int. Columns are named by strings."),
        (
            pl.DataFrame({"item_id": ["1"], "event_time": [MOMENT.replace(tzinfo=None)]}),
            "event_time of row 0 of the examples '2026-05-01 12:00:00' has no time zone",
        ),
        (
            pd.DataFrame({"item_id": ["1"], "event_time": [MOMENT.replace(tzinfo=None)]}),
            "event_time of row 0 of the examples '2026-05-01 12:00:00' has no time zone",
        ),
        (pl.DataFrame({"item": ["1"]}), "The examples have no column 'item_id'"),
    ],
)
def test_what_cannot_be_joined_is_told_in_a_sentence(
    local: LocalLayer, rows: Any, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        local.join(rows, "goods")


def test_what_cannot_be_looked_up_or_pushed_is_told_in_a_sentence(local: LocalLayer) -> None:
    odd: Any = [3]
    for call, said in [
        (lambda: local.lookup("goods", [{"item_id": ""}]), "item_id of row 0 is empty. A key is"),
        (lambda: local.lookup(odd, {"item_id": "1"}), "A int is no view. Name it, as in join(ex"),
        (lambda: local.lookup("good", {"item_id": "1"}), "no view 'good'. Did you mean 'goods'?"),
        (lambda: local.push("goods", []), "0 rows were pushed to 'goods'"),
        (lambda: local.push("places", [{"item_id": "1", "vector": "a"}]), "row 0: vector is a str"),
        (lambda: local.push("doubled", {"item_id": "1", "double": 1}), "Push to 'goods'."),
    ]:
        with pytest.raises(LeptonError, match=re.escape(said)):
            call()  # type: ignore[no-untyped-call]


def test_files_are_joined_by_names(local: LocalLayer, tmp_path: Path) -> None:
    HELD["Polars"].write_parquet(tmp_path / "in.parquet")
    assert local.join_files(tmp_path / "in.parquet", "goods", tmp_path / "out.parquet") == 3
    assert pl.read_parquet(tmp_path / "out.parquet")["price"].to_list() == PRICES
    (tmp_path / "words").write_text("no Parquet")
    for paths, said in [
        (("gone", "out"), "There is no file"),
        (("in.parquet", "no/out"), "There is no folder"),
        (("words", "out"), "is no Parquet file. Write one with"),
    ]:
        source, target = (tmp_path / path for path in paths)
        with pytest.raises(LeptonError, match=said):
            local.join_files(source, "goods", target)


def test_small_files_are_merged_by_the_name_of_the_view(local: LocalLayer) -> None:
    for price in range(3):
        local.push("goods", good("5", price=price))
    assert local.compact("goods").merged > 1
    with pytest.raises(NotFound, match="shots"):
        local.compact("shots")
    with pytest.raises(InvalidInput, match="Nothing of 'doubled' is stored"):
        local.compact("doubled")
