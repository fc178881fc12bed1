"""Windows hold what a loop over all events would find, at any moment."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.derived import aggregates
from cluster.features.derived.aggregates import GROUP, Count, Distinct, Last, Mean, Since, Span, Sum
from cluster.features.derived.windows import KNOWN, NEWEST, aggregate, group_of, windows
from cluster.features.schema.column import times
from cluster.features.schema.ragged import Numbers, Texts
from cluster.features.views.interactions import interactions

WITHIN = timedelta(microseconds=5)
COLUMNS = {
    "all": Count(),
    "few": Count(within=WITHIN),
    "sum": Sum("value", within=WITHIN),
    "mean": Mean("value"),
    "last": Last("item_id", 2, within=WITHIN),
    "values": Last("value", 9),
    "distinct": Distinct("item_id", within=WITHIN),
    "since": Since(),
}
event = st.tuples(
    st.integers(0, 2), st.integers(0, 20), st.sampled_from("xyz"), st.floats(-9, 9).map(float)
)
question = st.tuples(st.integers(-1, 2), st.integers(0, 22))


def oracle(events: list[tuple[int, int, str, float]], key: int, moment: int) -> dict[str, Any]:
    """The definition: look at every event, oldest first, of equal times in the order they came."""
    mine = sorted((e for e in events if e[0] == key and e[1] <= moment), key=lambda e: e[1])
    few = [e for e in mine if e[1] > moment - 5]
    return {
        "all": len(mine),
        "few": len(few),
        "sum": sum(e[3] for e in few),
        "mean": sum(e[3] for e in mine) / max(1, len(mine)),
        "last": [e[2] for e in few[::-1][:2]],
        "values": [e[3] for e in mine[::-1][:9]],
        "distinct": len({e[2] for e in few}),
        "since": (moment - mine[-1][1]) / 1e6 if mine else 0.0,
        KNOWN: bool(mine),
    }


def batch(events: list[tuple[int, int, str, float]]) -> Batch:
    return {
        "item_id": objects(e[2] for e in events),
        "value": np.array([e[3] for e in events], dtype=np.float64),
        "event_time": times([e[1] for e in events]),
    }


def made(events: list[tuple[int, int, str, float]], asked: list[tuple[int, int]]) -> Batch:
    groups = np.array([e[0] for e in events], dtype=np.int64)
    keys, moments = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    return aggregate(COLUMNS, batch(events), groups, keys, moments)


@given(st.lists(event, max_size=30), st.lists(question, max_size=12))
def test_every_column_is_what_a_loop_over_all_events_finds(
    events: list[tuple[int, int, str, float]], asked: list[tuple[int, int]]
) -> None:
    found = made(events, asked)
    for row, (key, moment) in enumerate(asked):
        wanted = oracle(events, key, moment)
        for name, value in wanted.items():
            assert found[name][row] == pytest.approx(value), name


@given(st.lists(event, min_size=1, max_size=30), st.integers(0, 2), st.integers(0, 22))
@pytest.mark.slow
def test_a_window_is_the_same_to_the_last_bit_without_the_events_outside_it(
    events: list[tuple[int, int, str, float]], key: int, moment: int
) -> None:
    inside = [e for e in events if e[0] == key and moment - 5 < e[1] <= moment]
    whole, few = made(events, [(key, moment)]), made(inside, [(key, moment)])
    assert whole["sum"][0] == few["sum"][0]
    assert whole["distinct"][0] == few["distinct"][0]


@given(st.lists(st.integers(0, 9), max_size=20))
def test_questions_are_taken_in_pieces_that_look_at_a_bounded_number_of_events(
    lengths: list[int],
) -> None:
    ends = np.array(lengths, dtype=np.int64)
    span = Span(np.zeros_like(ends), ends, ends)
    parts = list(aggregates._parts(span, 10))
    taken = [row for part in parts for row in range(part.start, part.stop)]
    assert taken == list(range(len(lengths)))
    assert all(sum(lengths[part]) <= 10 for part in parts)


def test_a_view_of_windows_has_typed_columns_and_draws_rows() -> None:
    view = windows("activity", over=interactions, key=("user_id",), columns=COLUMNS)
    assert view.needs == ("interactions",)
    assert not view.stored
    assert isinstance(view.columns["last"], Texts)
    assert isinstance(view.columns["values"], Numbers)
    drawn = view.sample(120, np.random.default_rng(0))
    assert view.pack(drawn).num_rows == len(set(drawn["user_id"]))
    assert drawn["all"].sum() == 120
    assert list(view.event_columns) == ["item_id", "value"]
    assert list(view.only("sum", "since").event_columns) == ["value"]
    assert view.horizon is None


def test_the_newest_event_is_told() -> None:
    found = made([(0, 3, "x", 1.0), (0, 9, "y", 1.0)], [(0, 5), (1, 5)])
    assert found[NEWEST].tolist() == times([3, 0]).tolist()


def test_keys_are_numbered_in_the_order_in_which_they_come() -> None:
    rows = {"a": objects(["y", "x", "y"]), "b": objects(["1", "1", "1"])}
    keys, group = group_of(rows, ("a", "b"))
    assert keys["a"].tolist() == ["y", "x"]
    assert group.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("key", "column", "words"),
    [
        (("user",), Count(), r"has the key 'user', which 'interactions' lacks. Did you mean 'user"),
        (("user_id",), Sum("valu"), r"'interactions' has no column 'valu'. Did you mean 'value'"),
        (("user_id",), Sum("item_id"), r"'item_id' of view 'interactions' holds no numbers"),
        (("user_id",), Last("event_time", 3), r"cannot be listed"),
        (("user_id",), Distinct("event_time"), r"cannot be told apart\. Name a column of words"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(
    key: tuple[str, ...], column: Any, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        windows("wrong", over=interactions, key=key, columns={"column": column})


@pytest.mark.parametrize("kind", [str, float])
def test_distinct_counts_alike_for_few_questions_and_for_many(kind: type) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 5, 200)
    values = objects(map(kind, drawn)) if kind is str else drawn.astype(np.float64)
    group = np.repeat(np.arange(10), 20)
    start = rng.integers(0, 20, 400)
    end = np.minimum(start + rng.integers(0, 20, 400), 20)
    offset = rng.integers(0, 10, 400) * 20  # a slice stays within the events of one key
    span = Span(start + offset, end + offset, np.zeros(400, dtype=np.int64))
    events = {"item_id": values, GROUP: group}
    many = Distinct("item_id").of(events, span)
    few = [
        Distinct("item_id").of(
            events, Span(span.start[row : row + 1], span.end[row : row + 1], span.time[:1])
        )[0]
        for row in range(400)
    ]
    assert many.tolist() == few
