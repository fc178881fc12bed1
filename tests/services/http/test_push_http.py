"""Rows that are pushed over HTTP: all are written, or none and a sentence says why."""

import json
from typing import Any

import pytest

from cluster.base.batch import objects
from cluster.base.errors import TooLarge
from cluster.features.layer import Layer
from tests.services.goods import Post, good, looked_up
from tests.support import problem


def test_too_many_rows_are_refused_with_the_limit_on_every_way_in(layer: Layer, post: Post) -> None:
    found = problem(post("/v1/features/goods/push", {"rows": [{"item_id": 1}] * 10_001}), 413)
    assert found.detail == (
        "The request has 10,001 rows; the limit is 10,000. Send them in several requests."
    )
    assert (found.errors[0].limit, found.errors[0].actual) == (10_000, 10_001)
    many = {"item_id": [1] * 10_001}
    told = problem(post("/push", {"push_source_name": "goods", "df": many}), 413)
    assert told.detail == (
        "10,001 rows were pushed to 'goods'; a push takes 1 to 10,000. Push them in several parts, "
        "or ingest a file."
    )
    with pytest.raises(TooLarge, match="10,001 rows were pushed to 'goods'"):
        layer.push("goods", {"item_id": objects([1] * 10_001)})


@pytest.mark.parametrize(
    ("row", "pointer", "said"),
    [
        (good(event_time="2026-05-01T12:00:00"), "/rows/1", "has no time zone"),
        (good(price="dear"), "/rows/1", "price 'dear' is not a number"),
        (good(price="1e400"), "/rows/1", "price is inf, not a finite number"),
        (good(price="nan"), "/rows/1", "price is nan, not a finite number"),
        (good(stock=1.5), "/rows/1", "stock is 1.5, not a 64-bit integer"),
        (good(title=None), "/rows/1", "title is empty"),
        (good(prise=1), "/rows/1", "no column 'prise'. Did you mean 'price'?"),
        (good(where="x"), "/rows/1", "no column 'where'. There are: event_time, item_id, price,"),
        ({"item_id": "1"}, "/rows/1", "title"),
        (good(""), "/rows/1", "item_id is empty"),
        (good("i" * 257), "/rows/1", "item_id has 257 characters; the limit is 256"),
    ],
)
def test_of_rows_with_a_bad_one_none_is_written(
    post: Post, row: Any, pointer: str, said: str
) -> None:
    dated = {"event_time": "2026-05-01T12:00:00Z"} if "event_time" in row else {}
    found = problem(post("/v1/features/goods/push", {"rows": [good(**dated), row]}), 422)
    assert [fault.pointer for fault in found.errors] == [pointer]
    assert said in found.errors[0].message
    assert looked_up(post, ["goods"], {"item_id": "42"}).results[0]["goods"].status == "missing"


LARGE = "9" * 400


@pytest.mark.parametrize("moment", [f'"{LARGE}"', f'"-{LARGE}"', f'"{LARGE}.5"', "1e300", "-1e300"])
@pytest.mark.parametrize("column", ["event_time", "seen"])
def test_a_moment_of_400_digits_is_a_bad_row(post: Post, column: str, moment: str) -> None:
    row = json.dumps(good(**{column: 0})).replace(f'"{column}": 0', f'"{column}": {moment}')
    found = problem(post("/v1/features/goods/push", f'{{"rows": [{row}]}}'.encode()), 422)
    assert column in found.errors[0].message


@pytest.mark.parametrize("number", ["12345678901234567890123", "1e23", "9007199254740993.0"])
def test_an_id_that_may_have_been_rounded_is_none_in_a_push_and_a_look_up(
    post: Post, number: str
) -> None:
    row = json.dumps(good(0)).replace('"item_id": 0', f'"item_id": {number}')
    found = problem(post("/v1/features/goods/push", f'{{"rows": [{row}]}}'.encode()), 422)
    assert "send the id as text" in found.errors[0].message
    asked = f'{{"views": ["goods"], "keys": [{{"item_id": {number}}}]}}'.encode()
    found = problem(post("/v1/features/lookup", asked), 422)
    assert "send the id as text" in found.errors[0].message


def test_an_id_of_23_digits_is_kept_whole_as_text_and_7_is_7_0(post: Post) -> None:
    ids = [f"{number}" for number in range(10**22, 10**22 + 3)]
    rows = [good(one, title=one) for one in ids] + [good(7.0, title="seven")]
    assert post("/v1/features/goods/push", {"rows": rows}).json()["rows"] == 4
    keys = [{"item_id": one} for one in [*ids, 7, "7", 7.0]]
    found = [one["goods"].values["title"] for one in looked_up(post, ["goods"], *keys).results]
    assert found == [*ids, "seven", "seven", "seven"]


def test_an_event_time_is_in_every_row_or_in_none(post: Post) -> None:
    row = {"user_id": "u", "item_id": "42"}
    dated = {**row, "title": "first", "event_time": "2026-05-01T12:00:00Z"}
    asked = {"rows": [dated, {**row, "title": "second"}]}
    found = problem(post("/v1/features/visits/push", asked), 422)
    assert found.errors[0].pointer == "/rows/1"
    assert found.errors[0].message == (
        "event_time is missing, which other rows have. Give it to every row, or to none: then they "
        "are of now."
    )
    none = {"rows": [{**row, "title": title} for title in ("first", "second", "third")]}
    assert post("/v1/features/visits/push", none).json()["rows"] == 3
    (result,) = looked_up(post, ["visits"], row).results
    assert result["visits"].values == {"title": "third"}  # each is of another moment


def test_json_that_is_none_is_refused_as_such(post: Post) -> None:
    for body in (b'{"rows": [{"price": NaN}]}', b'{"rows": [{"price": 1e400}]}', b"", b"\xff"):
        assert problem(post("/v1/features/goods/push", body), 400).detail.startswith("The body is")
    for body in (b"[]", b"3"):
        assert "no JSON object" in problem(post("/v1/features/goods/push", body), 422).detail


@pytest.mark.parametrize("path", ["/v1/features/goods/push", "/push"])
@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_a_number_that_is_not_finite_is_told_as_such(post: Post, path: str, word: str) -> None:
    body = f'{{"rows": [{{"item_id": "1", "price": {word}}}]}}'.encode()
    found = problem(post(path, body), 400).detail
    assert found.startswith("The body is not JSON: ")
    assert found.endswith(" is not a finite number. Leave the field out, or give a number.")
    quoted = problem(post("/v1/features/goods/push", {"rows": [good(price=word)]}), 422)
    assert quoted.errors[0].message.endswith(", not a finite number.")


def test_nothing_is_pushed_to_a_view_that_is_made(post: Post) -> None:
    row = {"item_id": "1", "double": 1}
    found = problem(post("/v1/features/doubled/push", {"rows": [row]}), 422)
    assert found.detail.endswith("Push to 'goods'.")


def test_a_broken_picture_is_told_where(post: Post) -> None:
    for shot, said in (("?", "no base64"), ("aGVsbG8=", "is not usable"), (None, "NoneType")):
        row = {"item_id": "1", "shot": shot}
        found = problem(post("/v1/features/shots/push", {"rows": [row]}), 422)
        assert found.errors[0].pointer.startswith("/rows/0")
        assert said in found.errors[0].message
        assert ".." not in found.detail + found.errors[0].message
