"""A join gives each row what a loop over everything that was ever known would find."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.derived.aggregates import Count, Last, Sum
from cluster.features.derived.computed import computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import windows
from cluster.features.joins import asof
from cluster.features.joins.history import Cached, Files, InMemory, Stored
from cluster.features.joins.join import join, join_frame
from cluster.features.offline.store import Store
from cluster.features.schema.column import Number, Text, Whole, times
from cluster.features.schema.ragged import Texts, Vector
from cluster.features.schema.view import View, columns_of
from cluster.features.views.images import images

Row = tuple[str, int, int, float]
"""Key, event time, when it was created, value."""


def drawn(n: int, rng: np.random.Generator) -> Arrays:
    return batch([(f"k{row}", row, row, float(rng.random())) for row in range(n)])


def batch(rows: Sequence[Row]) -> Arrays:
    return {
        "id": objects(row[0] for row in rows),
        "event_time": times([row[1] for row in rows]),
        "created": times([row[2] for row in rows]),
        "value": np.array([row[3] for row in rows], dtype=np.float64),
    }


def source(name: str = "prices", **more: Any) -> View:
    return View(name=name, key=("id",), columns={"value": Number()}, sample=drawn, **more)


TTL = timedelta(microseconds=4)
row = st.tuples(
    st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 3), st.floats(-9, 9).map(float)
)
question = st.tuples(st.sampled_from("abcd"), st.integers(-2, 15))
rows_of = st.lists(row, max_size=25)
questions = st.lists(question, max_size=12)


def oracle(rows: Sequence[Row], key: str, moment: int, ttl: int | None) -> Row | None:
    """The definition: of all rows of the key by then the newest, unless it is too old."""
    known = [row for row in rows if row[0] == key and row[1] <= moment]
    if not known:
        return None
    last = max(enumerate(known), key=lambda numbered: (*numbered[1][1:3], numbered[0]))[1]
    stale = ttl is not None and last[1] != 0 and moment - last[1] > ttl
    return None if stale else last


def asked(questions: Sequence[tuple[str, int]]) -> Arrays:
    return {
        "id": objects(key for key, _ in questions),
        "event_time": times([moment for _, moment in questions]),
        "label": np.arange(len(questions)),
    }


def framed(examples: Batch) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": pl.Series(examples["id"].tolist(), dtype=pl.String),
            "event_time": pl.Series(examples["event_time"]).dt.replace_time_zone("UTC"),
            "label": examples["label"],
        }
    )


@given(rows_of, questions, st.sampled_from([None, 4]))
def test_every_row_gets_what_a_loop_over_all_rows_finds(
    rows: list[Row], asked_about: list[tuple[str, int]], ttl: int | None
) -> None:
    view = source(ttl=TTL if ttl else None, defaults={"value": -1.0})
    examples = asked(asked_about)
    joined = join(examples, [view], InMemory({"prices": batch(rows)}))
    found = [oracle(rows, *one, ttl) for one in asked_about]
    assert joined["value"].tolist() == [-1.0 if row is None else row[3] for row in found]
    assert joined["prices_missing"].tolist() == [row is None for row in found]
    assert joined["label"].tolist() == list(range(len(asked_about)))
    assert list(joined) == ["id", "event_time", "label", "value", "prices_missing"]


@pytest.mark.slow
@given(rows_of, rows_of, questions)
def test_frames_give_the_same_as_batches_for_several_views(
    rows: list[Row], others: list[Row], asked_about: list[tuple[str, int]]
) -> None:
    views = [source(ttl=TTL), source("costs")]
    history = InMemory({"prices": batch(rows), "costs": batch(others)})
    examples = asked(asked_about)
    joined = join(examples, views, history)
    frame = join_frame(framed(examples), views, history)
    assert frame.columns == list(joined)
    for name in ("prices__value", "prices_missing", "costs__value", "costs_missing", "label"):
        assert frame[name].to_list() == joined[name].tolist(), name


@given(rows_of, questions)
def test_places_that_do_not_fit_in_64_bits_are_ranked(
    rows: list[Row], asked_about: list[tuple[str, int]]
) -> None:
    far = 2**61  # microseconds: no two such moments fit beside three keys
    group = np.array([ord(row[0]) - 97 for row in rows], dtype=np.int64)
    known = np.array([(row[1] - 6) * (far // 8) for row in rows], dtype=np.int64)
    created = np.array([row[2] for row in rows], dtype=np.int64)
    keys = np.array([ord(key) - 97 for key, _ in asked_about], dtype=np.int64)
    when = np.array([(moment - 6) * (far // 8) for _, moment in asked_about], dtype=np.int64)
    found = asof.newest(keys, when, group, known, created)
    wanted = [oracle(rows, *one, None) for one in asked_about]
    assert [None if row < 0 else rows[row][1:3] for row in found.tolist()] == [
        None if row is None else row[1:3] for row in wanted
    ]


@given(rows_of, questions)
def test_windows_are_as_of_the_rows_own_moment_and_stale_after_the_last_event(
    rows: list[Row], asked_about: list[tuple[str, int]]
) -> None:
    events = source()
    view = windows(
        "activity",
        over=events,
        key=("id",),
        columns={
            "few": Count(within=timedelta(microseconds=3)),
            "spent": Sum("value"),
            "last": Last("value", 2),
        },
        ttl=TTL,
    )
    joined = join(asked(asked_about), [view], InMemory({"prices": batch(rows)}))
    for number, (key, moment) in enumerate(asked_about):
        mine = [row for row in rows if row[0] == key and row[1] <= moment]
        mine.sort(key=lambda row: row[1:3])
        stale = bool(mine) and mine[-1][1] != 0 and moment - mine[-1][1] > 4
        mine = [] if stale else mine
        assert joined["activity_missing"][number] == (not mine)
        assert joined["few"][number] == sum(row[1] > moment - 3 for row in mine)
        assert joined["spent"][number] == pytest.approx(sum(row[3] for row in mine))
        assert joined["last"][number] == [row[3] for row in mine[::-1][:2]]


@computed(key=("id",), columns={"margin": Number(), "cheap": Whole()}, defaults={"margin": 7.0})
def margin(prices: pl.DataFrame, costs: pl.DataFrame) -> pl.DataFrame:
    """What is earned; a cost that is not known is nothing."""
    cost = costs["value"].fill_null(0.0)
    return pl.DataFrame({"margin": prices["value"] - cost, "cheap": prices["value"] < 1})


@computed(key=("id",), columns={"twice": Number()})
def twice(margin: pl.DataFrame) -> pl.DataFrame:
    """A function of a function."""
    return margin.select(twice=pl.col("margin") * 2)


@pytest.mark.slow
@given(rows_of, rows_of, questions)
def test_a_function_runs_on_what_its_inputs_held_at_the_same_moment(
    rows: list[Row], others: list[Row], asked_about: list[tuple[str, int]]
) -> None:
    graph = Graph([source(ttl=TTL), source("costs"), margin, twice])
    history = InMemory({"prices": batch(rows), "costs": batch(others)})
    joined = join(asked(asked_about), [margin, twice], history, inputs=graph.inputs)
    for number, one in enumerate(asked_about):
        price, cost = oracle(rows, *one, 4), oracle(others, *one, None)
        assert joined["margin_missing"][number] == (price is None and cost is None)
        wanted = 7.0 if price is None else price[3] - (cost[3] if cost else 0.0)
        assert joined["margin"][number] == pytest.approx(wanted)
        nothing = price is None and cost is None
        assert joined["twice"][number] == pytest.approx(0.0 if nothing else 2 * wanted)


def test_what_a_model_said_is_read_at_the_version_that_is_asked_for() -> None:
    view = model_view(
        "vectors", "nlp.embed@production", over=source(), columns={"vector": Vector(2)}, inputs={}
    )
    made = {**batch([("a", 3, 3, 0.0)]), "vector": np.array([[1, 2]], np.float32)}
    history = InMemory({"vectors_v2": made})
    examples = asked([("a", 2), ("a", 3), ("b", 3)])
    joined = join(examples, [view.at(2)], history)
    assert joined["vector"].tolist() == [[0, 0], [1, 2], [0, 0]]
    assert joined["vectors_missing"].tolist() == [True, False, True]
    frame = join_frame(framed(examples), [view.at(2)], history)
    assert frame["vector"].to_list() == [[0, 0], [1, 2], [0, 0]]
    assert join(examples, [view.at(3)], history)["vectors_missing"].all()


def test_keys_of_several_columns_are_told_apart() -> None:
    view = View(name="seen", key=("a", "b"), columns={"value": Number()}, sample=drawn)
    pairs = [("x", "yz"), ("xy", "z"), ("x", "z")]
    known = {
        "a": objects(a for a, _ in pairs),
        "b": objects(b for _, b in pairs),
        "value": np.array([1.0, 2.0, 3.0]),
        "event_time": times([1, 1, 1]),
    }
    examples = {
        "b": objects(["z", "z", "yz", "q"]),
        "a": objects(["x", "xy", "x", "x"]),
        "event_time": times([1, 1, 1, 1]),
    }
    joined = join(examples, [view], InMemory({"seen": known}))
    assert joined["value"].tolist() == [3.0, 2.0, 1.0, 0.0]


def test_a_key_that_is_not_there_is_missing() -> None:
    examples = {"id": objects(["a", None]), "event_time": times([5, 5])}
    joined = join(examples, [source()], InMemory({"prices": batch([("a", 1, 1, 2.0)])}))
    assert joined["prices_missing"].tolist() == [False, True]


def test_what_has_held_always_never_gets_too_old() -> None:
    history = InMemory({"prices": batch([("a", 0, 0, 2.0), ("b", 1, 1, 3.0)])})
    joined = join(asked([("a", 10**15), ("b", 10**15)]), [source(ttl=TTL)], history)
    assert joined["prices_missing"].tolist() == [False, True]


def test_a_row_exactly_as_old_as_the_time_to_live_still_holds() -> None:
    history = InMemory({"prices": batch([("a", 5, 5, 2.0)])})
    joined = join(asked([("a", 9), ("a", 10)]), [source(ttl=TTL)], history)
    assert joined["prices_missing"].tolist() == [False, True]


def test_a_column_whose_name_is_shared_is_named_by_its_view() -> None:
    assert columns_of([source(), source("costs")]) == {
        "prices": {"value": "prices__value"},
        "costs": {"value": "costs__value"},
    }
    assert columns_of([source()], ["value"]) == {"prices": {"value": "prices__value"}}
    assert columns_of([source()], ["id"]) == {"prices": {"value": "value"}}
    with pytest.raises(InvalidInput, match=r"two columns 'prices_missing'. Ask for each view once"):
        columns_of([source(), source()])


def test_lists_and_words_have_defaults_too() -> None:
    columns = {"words": Texts(), "name": Text()}
    view = View(name="items", key=("id",), columns=columns, sample=drawn, defaults={"name": "?"})
    rows = {
        "id": objects("a"),
        "event_time": times([1]),
        "words": objects([["x", "y"]]),
        "name": objects(["A"]),
    }
    examples = asked([("b", 1), ("a", 1)])
    for joined in (
        join(examples, [view], InMemory({"items": rows})),
        join_frame(framed(examples), [view], InMemory({"items": rows})),
    ):
        assert joined["words"].tolist() == [[], ["x", "y"]] if isinstance(joined, dict) else True
        assert list(joined["name"]) == ["?", "A"]
    assert joined["words"].to_list() == [[], ["x", "y"]]  # type: ignore[union-attr]


def test_a_picture_is_decoded_once_however_many_rows_show_it() -> None:
    rows = images.sample(2, np.random.default_rng(0))
    named = rows["image_id"].tolist()
    examples = {
        "image_id": objects([named[0], "none", named[0]]),
        "event_time": times([10**16] * 3),
    }
    joined = join(examples, [images], InMemory({"images": rows}))
    assert joined["image"][0] is joined["image"][2]
    assert joined["images_missing"].tolist() == [False, True, False]


def test_rows_are_read_from_a_store_and_from_files_alike(tmp_path: Path) -> None:
    rows = [("a", 3, 0, 1.0), ("b", 4, 0, 2.0), ("a", 5, 0, 3.0)]
    store, view = Store(tmp_path / "store"), source()
    for part in (rows[:2], rows[2:]):
        held = {name: column for name, column in batch(part).items() if name != "created"}
        store.write(view, held)
    files = []
    for number, part in enumerate((rows[:2], rows[2:])):
        files.append(tmp_path / f"{number}.parquet")
        InMemory({"prices": batch(part)}).frame(view, list(view.schema)[:3]).write_parquet(
            files[-1]
        )
    examples = asked([("a", 4), ("a", 6), ("b", 3), ("b", 9)])
    for history in (Stored(store.head), Cached(Stored(store.head)), Files({"prices": files})):
        joined = join(examples, [view], history)
        assert joined["value"].tolist() == [1.0, 3.0, 0.0, 2.0]


def test_a_view_without_rows_is_missing_everywhere(tmp_path: Path) -> None:
    view = source()
    histories: list[Callable[[], Any]] = [
        lambda: InMemory({}),
        lambda: Stored(Store(tmp_path).head),
        lambda: Files({"prices": []}),
    ]
    for history in histories:
        assert join(asked([("a", 1)]), [view], history())["prices_missing"].all()
        joined = join_frame(framed(asked([("a", 1)])), [view], history())
        assert joined["prices_missing"].all()
        assert joined["value"].to_list() == [0.0]


def test_no_examples_are_joined_to_none() -> None:
    joined = join(asked([]), [source()], InMemory({"prices": batch([("a", 1, 1, 1.0)])}))
    assert [len(column) for column in joined.values()] == [0] * 5


def test_real_rows_that_came_late_and_thrice_are_joined_as_defined(data: Path) -> None:
    """The standard example of Feast: one key and time three times, rows from years before."""
    raw = pl.read_parquet(data / "driver-stats" / "driver_stats.parquet")
    rows: list[Row] = [
        (str(driver), when, created, rate)
        for driver, when, created, rate in raw.select(
            "driver_id",
            pl.col("event_timestamp").dt.epoch("us"),
            pl.col("created").dt.epoch("us"),
            pl.col("conv_rate").cast(pl.Float64),
        ).iter_rows()
    ]
    hour = 3_600_000_000
    moments = sorted({row[1] for row in rows})
    asked_about = [
        (driver, moment + shift)
        for driver in ("1001", "1003", "1006")
        for moment in moments[::40] + moments[-2:]
        for shift in (-1, 0, hour // 2, 3 * hour, 9_999 * hour)
    ]
    view = source(ttl=timedelta(hours=2))
    joined = join(asked(asked_about), [view], InMemory({"prices": batch(rows)}))
    found = [oracle(rows, *one, 2 * hour) for one in asked_about]
    assert joined["value"].tolist() == [0.0 if row is None else row[3] for row in found]
    assert joined["prices_missing"].tolist() == [row is None for row in found]
    assert 0 < joined["prices_missing"].sum() < len(asked_about)
