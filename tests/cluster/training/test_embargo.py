"""Rows whose outcomes are not known are left out, and none that is learnt from sees the test."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import Batch, length, objects, take
from cluster.base.errors import InvalidInput
from cluster.contract.split import TEST, TRAIN, VALID, ByGroup, ByKey, ByTime, Split
from cluster.features.derived.aggregates import Count
from cluster.features.derived.outcomes import Followed, Next, outcomes
from cluster.features.offline.store import Store
from cluster.features.schema.column import Text
from cluster.features.schema.view import View
from cluster.training.data import Plan, plan
from cluster.training.embargo import reaches
from tests.contract.forecast import AHEAD, HOUR, Forecast, draw, next_hours, readings

HOURS, ROWS = 100, 400
PARTS = (TRAIN, VALID, TEST)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "features")
    store.write(readings, draw(ROWS, np.random.default_rng(0)))
    return store


def planned(store: Store, task: type[Forecast] = Forecast, **how: Any) -> Plan:
    return plan(task, store, memory_share=0.9, **how)


def test_rows_are_left_out_and_counted_whose_next_values_are_not_there(store: Store) -> None:
    class Known(Forecast):
        split: ClassVar[Split] = ByGroup(column="series_id", valid=0.2, test=0.4)

    made = planned(store, Known)
    hours = (made.keys["event_time"] - made.keys["event_time"].min()) // HOUR
    assert ((made.parts == "") == (hours >= HOURS - AHEAD)).all()
    assert made.warnings(Known.truth) == [
        "16 of 400 rows are left out: what 'next_hours' tells of 16 is not known yet."
    ]
    rows = made.read(np.flatnonzero(made.parts != ""))
    assert {len(values) for values in rows["next"]} == {AHEAD}
    assert "next_hours_missing" not in rows


def test_a_split_by_time_goes_over_known_rows_and_none_reaches_into_a_later_part(
    store: Store,
) -> None:
    class Later(Forecast):
        split: ClassVar[Split] = ByTime(valid=0.1, test=0.2)

    made = planned(store, Later)
    times = made.keys["event_time"]
    first = {part: times[made.parts == part].min() for part in (VALID, TEST)}
    for earlier, later in ((TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        assert (times[made.parts == earlier] + AHEAD * HOUR < first[later]).all()
    known = (times - times.min()) // HOUR < HOURS - AHEAD
    assert made.counts[TEST] == round(0.2 * known.sum())
    dropped = times[known & (made.parts == "")]
    reach = [(dropped <= at) & (at <= dropped + AHEAD * HOUR) for at in first.values()]
    assert np.any(reach, axis=0).all()
    assert "lies in the time of rows kept to measure" in made.warnings(Later.truth)[0]


def test_streamed_rows_have_the_same_truth_as_those_in_memory(store: Store) -> None:
    made = planned(store)
    mine = made.mine(TRAIN)[:50]
    whole = made.read(mine)
    table = made.snapshot.table(list(readings.schema)).take(mine)
    beside = made.beside(table)
    assert sorted(beside) == ["next", "past", "readings_lately_missing"]
    assert beside["next"].tolist() == whole["next"].tolist()


def test_other_events_or_another_outcome_are_another_run(store: Store) -> None:
    class Longer(Forecast):
        outcomes: ClassVar[tuple[View, ...]] = (
            replace(next_hours, aggregates={"next": Next("value", n=5)}),
        )

    assert planned(store, Longer).identity != planned(store).identity


window = st.tuples(st.sampled_from(PARTS), st.integers(0, 30), st.integers(0, 9))


@given(st.lists(window, max_size=25))
def test_a_row_reaches_where_a_loop_finds_a_later_part_in_its_window(
    rows: list[tuple[str, int, int]],
) -> None:
    parts = np.array([part for part, *_ in rows], dtype="<U5")
    times = np.array([time for _, time, _ in rows], dtype=np.int64)
    until = times + np.array([reach for *_, reach in rows], dtype=np.int64)
    wanted = []
    for row, (part, time, reach) in enumerate(rows):
        for later in PARTS[PARTS.index(part) + 1 :]:
            span = [at for other, at, _ in rows if other == later]
            if span and time + reach >= min(span) and time <= max(span):
                wanted.append(row)
                break
    assert reaches(parts, times, until).tolist() == wanted


def orders_of(n: int, rng: np.random.Generator) -> Batch:
    return {
        "series_id": objects(f"s{one}" for one in rng.integers(0, 4, n)),
        "kind": objects(rng.choice(["view", "buy"], n)),
        "event_time": np.datetime64("2026-01-01", "us") + rng.integers(0, 40, n) * HOUR,
    }


orders = View("orders", ("series_id",), {"kind": Text()}, orders_of)
bought = outcomes(
    "bought",
    over=orders,
    key=("series_id",),
    columns={
        "buys": Followed("kind", value="buy", within=timedelta(hours=6)),
        "orders_6h": Count(within=timedelta(hours=6)),
    },
)


class Buyers(Forecast):
    """The forecast, of whether somebody buys: by events of another view."""

    outcomes: ClassVar[tuple[View, ...]] = (bought,)
    truth: ClassVar[tuple[str, ...]] = ("buys",)
    split: ClassVar[Split] = ByKey(valid=0.0, test=0.5)


def test_what_followed_is_known_up_to_the_newest_event_of_the_other_view(store: Store) -> None:
    store.write(orders, orders_of(60, np.random.default_rng(1)))
    made = planned(store, Buyers)
    events = store.head(orders).read(orders)
    newest = events["event_time"].max()
    assert ((made.parts != "") == (made.keys["event_time"] + 6 * HOUR <= newest)).all()
    rows = made.read(np.flatnonzero(made.parts != ""))
    assert "orders_6h" not in rows  # no truth names it, and nothing else may see it
    for row in range(0, length(rows), 7):
        one = take(rows, slice(row, row + 1))
        after = events["event_time"] - one["event_time"]
        mine = (events["series_id"] == one["series_id"][0]) & (events["kind"] == "buy")
        came = mine & (after > np.timedelta64(0)) & (after <= 6 * HOUR)
        assert one["buys"].tolist() == [int(came.any())]


def test_without_any_known_outcome_there_is_nothing_to_learn(store: Store) -> None:
    store.write(orders, {name: c[:1] for name, c in orders_of(9, np.random.default_rng(1)).items()})

    class Early(Buyers):
        outcomes: ClassVar[tuple[View, ...]] = (
            outcomes(
                "early",
                over=orders,
                key=("series_id",),
                columns={"buys": Followed(within=timedelta(days=60))},
            ),
        )

    with pytest.raises(InvalidInput, match="Of none of the 400 rows it is known what came after"):
        planned(store, Early)


def test_a_part_that_the_embargo_empties_says_so(store: Store) -> None:
    class Long(Forecast):
        outcomes: ClassVar[tuple[View, ...]] = (
            outcomes(
                "long",
                over=readings,
                key=("series_id",),
                columns={"next": Count(within=timedelta(hours=90))},
            ),
        )

    with pytest.raises(InvalidInput, match=r"in the train part. \d+ of 400 rows are left out"):
        planned(store, Long)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: setattr(t, "features", (next_hours,)), "'next_hours' where it is served"),
        (
            lambda t: setattr(t, "outcomes", (readings,)),
            "'readings' as an outcome, but it does not",
        ),
        (lambda t: setattr(t, "truth", ("value",)), "none of its columns in truth. Add 'next'"),
    ],
)
def test_what_is_named_in_the_wrong_place_is_refused(
    change: Callable[[type[Forecast]], None], words: str, store: Store
) -> None:
    class Wrong(Forecast):
        """Its attributes are changed."""

    change(Wrong)
    with pytest.raises(InvalidInput, match=words):
        planned(store, Wrong)
