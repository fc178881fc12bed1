"""Examples that a join cannot place are refused in a sentence; moments are taken to UTC."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.joins.history import InMemory
from cluster.features.joins.join import join, join_frame
from cluster.features.schema.column import Number, times
from cluster.features.schema.view import View

prices = View("prices", key=("id",), columns={"value": Number()}, sample=lambda n, rng: {})
HOUR = {"id": objects("a"), "event_time": times([3_600_000_000]), "created": times([0])}


def test_moments_are_taken_to_utc() -> None:
    history = InMemory({"prices": {**HOUR, "value": np.array([2.0])}})
    place = timezone(timedelta(hours=-1))
    given_as = [
        datetime(1970, 1, 1, 0, 0, tzinfo=place),
        datetime(1970, 1, 1, 0, 59, tzinfo=UTC),
        "1970-01-01T03:00:00+02:00",
        "1970-01-01T00:30:00Z",
    ]
    examples = {"id": objects("aaaa"), "event_time": objects(given_as)}
    joined = join(examples, [prices], history)
    assert joined["prices_missing"].tolist() == [False, True, False, True]
    frame = pl.DataFrame({"id": ["a"], "event_time": [datetime(1970, 1, 1, 0, tzinfo=place)]})
    frame = frame.with_columns(pl.col("event_time").dt.convert_time_zone("Asia/Kathmandu"))
    assert join_frame(frame, [prices], history)["prices_missing"].to_list() == [False]


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (objects([datetime(2024, 5, 1)]), "event_time of row 0 of the examples '2024-05-01 00:00"),
        (objects(["2024-05-01 12:00"]), "has no time zone. Give moments with their zone, as in"),
        (objects([None]), "event_time of row 0 of the examples is missing"),
        (times(["NaT"]), "event_time of row 0 of the examples is missing"),
        (objects(["soon"]), "'soon' is no time"),
    ],
)
def test_a_moment_that_nobody_can_place_is_refused(moment: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        join({"id": objects("a"), "event_time": moment}, [prices], InMemory({}))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"event_time": [datetime(2024, 5, 1)]}, r"'event_time' is of type Datetime.*not moments"),
        (
            {"event_time": pl.Series([None], dtype=pl.Datetime("us", "UTC"))},
            "of row 0 is missing. Give every row one",
        ),
        ({"id": [1]}, "column 'id' is of type Int64; keys are text. Cast it"),
    ],
)
def test_a_frame_of_the_wrong_types_is_refused(column: dict[str, Any], words: str) -> None:
    good = {"id": ["a"], "event_time": [datetime(2024, 5, 1, tzinfo=UTC)]}
    with pytest.raises(InvalidInput, match=words):
        join_frame(pl.DataFrame({**good, **column}), [prices], InMemory({}))


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (
            {"idd": objects("a"), "event_time": times([1])},
            "no column 'id', which view 'prices' is joined by. Did you mean 'idd'?",
        ),
        ({"id": objects("a")}, "no column 'event_time'"),
        ({"id": objects([3]), "event_time": times([1])}, "'id' holds a int; keys are text"),
        (
            {"id": objects("a"), "event_time": times([1]), "prices_missing": np.zeros(1)},
            "There would be two columns 'prices_missing'",
        ),
    ],
)
def test_examples_that_do_not_fit_are_refused(examples: Batch, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        join(examples, [prices], InMemory({}))
