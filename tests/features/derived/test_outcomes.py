"""Outcomes hold what a loop over all later events would find, and are known no sooner."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.derived.aggregates import Count, Distinct, Last, Mean, Since, Sum
from cluster.features.derived.computed import computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.outcomes import (
    UNTIL,
    Followed,
    Next,
    Outcomes,
    Until,
    ahead,
    outcomes,
)
from cluster.features.derived.windows import KNOWN, windows
from cluster.features.joins.history import Cached, Files, History, InMemory, Stored
from cluster.features.joins.join import join, join_frame
from cluster.features.joins.partitions import join_files
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Text, Whole, times
from cluster.features.schema.ragged import Numbers
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions

WITHIN = timedelta(microseconds=5)
TIMED = {
    "count": Count(within=WITHIN),
    "sum": Sum("value", within=WITHIN),
    "mean": Mean("value", within=WITHIN),
    "distinct": Distinct("item_id", within=WITHIN),
    "followed": Followed(within=WITHIN),
    "clicked": Followed("item_id", value="x", within=timedelta(microseconds=3)),
    "until": Until(within=WITHIN),
    "some": Next("item_id", 2, within=WITHIN),
}
COUNTED = {"items": Next("item_id", 2), "values": Next("value", 3)}
Event = tuple[int, int, str, float]
event = st.tuples(
    st.integers(0, 2), st.integers(1, 20), st.sampled_from("xyz"), st.floats(-9, 9).map(float)
)
question = st.tuples(st.integers(-1, 3), st.integers(1, 22))


def oracle(events: list[Event], key: int, moment: int) -> dict[str, Any]:
    """The definition: look at every event, oldest first, of equal times in the order they came."""
    mine = sorted((e for e in events if e[0] == key and e[1] > moment), key=lambda e: e[1])
    few = [e for e in mine if e[1] <= moment + 5]
    return {
        "count": len(few),
        "sum": sum(e[3] for e in few),
        "mean": sum(e[3] for e in few) / max(1, len(few)),
        "distinct": len({e[2] for e in few}),
        "followed": int(bool(few)),
        "clicked": int(any(e[2] == "x" for e in few if e[1] <= moment + 3)),
        "until": (few[0][1] - moment) / 1e6 if few else 5e-6,
        "some": [e[2] for e in few[:2]],
        "items": [e[2] for e in mine[:2]],
        "values": [e[3] for e in mine[:3]],
    }


def until(events: list[Event], key: int, moment: int) -> tuple[int | None, int | None]:
    """When the timed columns were known and when those that are counted; None for not yet."""
    mine = sorted(e[1] for e in events if e[0] == key and e[1] > moment)
    newest = max((e[1] for e in events), default=0)
    timed = moment + 5 if key >= 0 and moment + 5 <= newest else None
    return timed, mine[2] if len(mine) >= 3 else None


def batch(events: list[Event]) -> Batch:
    return {
        "item_id": objects(e[2] for e in events),
        "value": np.array([e[3] for e in events], dtype=np.float64),
        "event_time": times([e[1] for e in events]),
    }


def made(columns: Any, events: list[Event], asked: list[tuple[int, int]]) -> Batch:
    groups = np.array([e[0] for e in events], dtype=np.int64)
    keys, moments = np.array(asked, dtype=np.int64).reshape(-1, 2).T
    newest = max((e[1] for e in events), default=0)
    return ahead(columns, batch(events), groups, keys, moments, newest=newest)


@given(st.lists(event, max_size=30), st.lists(question, max_size=12))
def test_every_column_is_what_a_loop_over_all_later_events_finds(
    events: list[Event], asked: list[tuple[int, int]]
) -> None:
    found = made({**TIMED, **COUNTED}, events, asked)
    for row, (key, moment) in enumerate(asked):
        for name, value in oracle(events, key, moment).items():
            assert found[name][row] == pytest.approx(value), name


@given(st.lists(event, max_size=30), st.lists(question, max_size=12))
def test_an_outcome_is_known_when_its_time_has_passed_or_its_values_are_there(
    events: list[Event], asked: list[tuple[int, int]]
) -> None:
    for columns, which in ((TIMED, 0), (COUNTED, 1)):
        found = made(columns, events, asked)
        for row, (key, moment) in enumerate(asked):
            wanted = until(events, key, moment)[which]
            assert bool(found[KNOWN][row]) == (wanted is not None)
            assert found[UNTIL][row] == (wanted or 0)


@given(st.lists(event, min_size=1, max_size=30), st.lists(question, max_size=12), st.integers(1, 9))
def test_later_events_change_no_outcome_that_was_known(
    events: list[Event], asked: list[tuple[int, int]], cut: int
) -> None:
    newest = max(e[1] for e in events)
    early = [e for e in events if e[1] <= newest - cut]
    before, after = (made({**TIMED, **COUNTED}, seen, asked) for seen in (early, events))
    for row in np.flatnonzero(before[KNOWN]).tolist():
        for name in before:
            assert before[name][row] == after[name][row]


def drawn(n: int, rng: np.random.Generator) -> Batch:
    return {
        "who": objects(f"w{one}" for one in rng.integers(0, 3, n)),
        "item_id": objects(rng.choice(list("xyz"), n)),
        "value": rng.normal(size=n),
        "event_time": times((1_000 + np.sort(rng.integers(0, 60, n))).tolist()),
    }


visits = View(
    "visits", ("who",), {"item_id": Text(), "value": interactions.columns["value"]}, drawn
)
soon = outcomes(
    "soon",
    over=visits,
    key=("who",),
    columns={"visits_soon": Count(within=timedelta(microseconds=9)), "items": Next("item_id", 2)},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "features")
    store.write(visits, drawn(40, np.random.default_rng(0)))
    last = {"who": objects(["w9"]), "item_id": objects(["x"]), "value": np.ones(1)}
    store.write(visits, {**last, "event_time": times([1_064])})
    return store


def test_they_are_joined_as_of_each_row_up_to_the_newest_event_of_any_key(store: Store) -> None:
    rows = store.head(visits).read(visits)
    newest = int(rows["event_time"].max().astype(int))
    asked = {"who": objects(["w1"] * 70), "event_time": times(range(995, 1_065))}
    joined = join(asked, [soon], Stored(store.head))
    events = [
        (int(at.astype(int)), item)
        for at, who, item in zip(rows["event_time"], rows["who"], rows["item_id"], strict=True)
        if who == "w1"
    ]
    assert newest > events[-1][0]
    for row in range(70):
        moment = 995 + row
        later = [one for one in events if one[0] > moment]
        known = moment + 9 <= newest and len(later) >= 2
        assert joined["soon_missing"][row] == (not known)
        if known:
            assert joined["visits_soon"][row] == sum(at <= moment + 9 for at, _ in later)
            assert joined["items"][row] == [item for _, item in later[:2]]


def test_frames_files_and_what_is_in_memory_join_alike(store: Store, tmp_path: Path) -> None:
    asked = {
        "who": objects(["w0", "w1", "w2", "new"] * 9),
        "event_time": times(range(1_000, 1_036)),
    }
    here = join(asked, [soon], Stored(store.head))
    frame = pl.DataFrame({"who": asked["who"].tolist()}).with_columns(
        pl.Series("event_time", asked["event_time"]).dt.replace_time_zone("UTC")
    )
    frame.write_parquet(tmp_path / "asked.parquet")
    stored = store.head(visits)
    rows = {"visits": stored.read(visits, [*visits.schema, "created"])}
    histories: list[History] = [
        Stored(store.head), Cached(Stored(store.head)), InMemory(rows),
        Files({"visits": stored.paths}),
    ]  # fmt: skip
    for history in histories:
        target = tmp_path / "joined.parquet"
        join_files(tmp_path / "asked.parquet", [soon], history, target, memory_bytes=2**34, parts=3)
        for joined in (join_frame(frame, [soon], history), pl.read_parquet(target)):
            known = ~here["soon_missing"]
            assert joined["soon_missing"].to_list() == (~known).tolist()
            found = joined.filter(pl.Series(known))
            assert found["visits_soon"].to_list() == here["visits_soon"][known].tolist()
            assert found["items"].to_list() == here["items"][known].tolist()


def test_a_row_that_has_held_always_has_no_outcome(store: Store) -> None:
    asked = {"who": objects(["w1"]), "event_time": times([0])}
    assert join(asked, [soon], Stored(store.head))["soon_missing"].tolist() == [True]


def test_they_are_in_no_look_up(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'soon' tells what comes after a moment, so nobody"):
        Online(tmp_path / "online.db").lookup([soon], {"who": objects(["w1"])})


def test_no_function_is_made_from_them() -> None:
    @computed(key=("who",), columns={"twice": Whole()})
    def twice(soon: pl.DataFrame) -> pl.DataFrame:
        return soon.select(twice=2 * pl.col("visits_soon"))

    with pytest.raises(InvalidInput, match="'twice' is made from 'soon', which tells what comes"):
        Graph([visits, soon, twice])


def test_they_draw_rows_and_have_typed_columns() -> None:
    assert isinstance(soon, Outcomes)
    assert soon.needs == ("visits",)
    assert not soon.stored
    view = outcomes("all", over=visits, key=("who",), columns={**TIMED, **COUNTED})
    assert isinstance(view.columns["values"], Numbers)
    assert isinstance(view.columns["clicked"], Whole)
    rows = view.sample(60, np.random.default_rng(0))
    assert view.pack(rows).num_rows == 3
    assert list(view.only("sum", "until").event_columns) == ["value"]
    more = outcomes("all", over=visits, key=("who",), columns={"sum": Sum("value", within=WITHIN)})
    assert view.version != more.version


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Count(), "'one' of view 'wrong' looks forward without an end: it would never be known"),
        (Until(), "looks forward without an end"),
        (Last("item_id", 3), r"Last\(.*, which says nothing of events.*Write Next\("),
        (Since(), r"Since\(.*, which says nothing"),
        (Next("event_time", 2), "cannot be listed. Next takes columns of words and of numbers"),
        (Next, r"Next, which says nothing of events. Write Next\(\)"),
        (
            Followed("event_time", value="x", within=WITHIN),
            r"cannot be told apart\. Name a column of words",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(column: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        outcomes("wrong", over=visits, key=("who",), columns={"one": column})


def test_what_looks_forward_is_no_column_of_windows() -> None:
    with pytest.raises(InvalidInput, match=r"Next\(.*, which says nothing of events"):
        windows("wrong", over=visits, key=("who",), columns={"one": Next("value", 3)})


def test_a_value_is_looked_for_in_a_column() -> None:
    with pytest.raises(InvalidInput, match="Followed looks for the value 'x' of the column ''"):
        Followed(value="x", within=WITHIN)


def test_they_have_no_time_to_live() -> None:
    with pytest.raises(InvalidInput, match="it has no time-to-live and no defaults"):
        outcomes("wrong", over=visits, key=("who",), columns=COUNTED, ttl=WITHIN)
