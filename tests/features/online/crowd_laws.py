"""What holds online of keys with thousands of events, whatever keeps the rows."""

import threading
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import Batch, objects, take
from cluster.features.offline.store import Store
from cluster.features.online.found import shelf_name
from cluster.features.online.keeper import Got, Want
from cluster.features.online.lookup import Online
from cluster.features.schema.column import times
from tests.features.online.online_laws import (
    DAY,
    Laws,
    always,
    graph,
    habits,
    offline,
    visit,
    visits,
)

HOT = ((habits, "a"), (always, "x"))
"""Windows, and keys that are in many events of a crowd."""


def crowd(n: int, rng: np.random.Generator) -> Batch:
    """So many events in twenty days, a quarter of them at one moment, some of them given twice."""
    minutes = rng.integers(0, 20 * 1440, n)
    minutes[rng.random(n) < 0.25] = 17 * 1440
    where = rng.choice(["x", "y", *map(str, range(900))], n, p=[0.4, 0.2, *[0.4 / 900] * 900])
    return {
        "who": objects(rng.choice(["a", "b"], n, p=[0.8, 0.2])), "where": objects(where),
        "spent": rng.normal(size=n), "mood": objects(rng.choice(["", "ü", "low"], n)),
        "steps": rng.integers(-3, 3, n), "event_time": times((minutes * 60_000_000).tolist()),
    }  # fmt: skip


def stored(got: Got) -> set[bytes]:
    """All that there is of one key."""
    return {value for value in (*got.values, *got.parts[0]) if value}


class CrowdLaws(Laws):
    """The laws of all keys, and those of keys with many events."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.slow
    def test_windows_over_thousands_of_events_agree_whatever_comes_late_or_twice(
        self, found: Online, tmp_path: Path, seed: int
    ) -> None:
        rng, store = np.random.default_rng(seed), Store(tmp_path / "store")
        found.materialize(visit, store.head(visit), graph)
        many = crowd(4_000, rng)
        for place in np.array_split(rng.permutation(4_000), 9):
            size = int(rng.choice([1, len(place)]))  # single events, and many at once
            for part in np.split(place, [size, size + 5]):
                if len(part):
                    rows = take(many, part)
                    created = store.append(visit, rows).created
                    found.write(visit, {**rows, "created": created}, graph)
            if rng.random() < 0.3:
                found.materialize(visit, store.head(visit), graph)
        stored = store.head(visit).read(visit, ["who", "where", *visit.columns, "event_time"])
        for day in (20, 23):
            moment = np.datetime64(day * DAY, "us")
            got = found.lookup(
                [habits, always], {"who": objects("ab"), "where": objects("xy")}, at=moment
            )
            for view, keys in ((habits, "ab"), (always, "xy")):
                expected = offline(view, stored, list(keys), moment)
                for name in view.columns:
                    assert got[name].tolist() == expected[name].tolist(), name

    def test_a_push_to_a_key_of_many_events_rewrites_few_of_them(self, found: Online) -> None:
        found.materialize(visit, Store(Path("nowhere")).head(visit), graph)
        found.write(visit, crowd(20_000, np.random.default_rng(0)), graph)
        wants = [Want(shelf_name(view), [key], parted=True) for view, key in HOT]
        for day in (19, 21):  # among those that are there, and behind them all
            before = found.keeper.read(wants)
            found.write(visit, visits([("a", "x", day, 1.0, "", 1)]), graph)
            for old, new in zip(before, found.keeper.read(wants), strict=True):
                fresh = stored(new) - stored(old)
                assert 0 < sum(map(len, fresh)) < 0.3 * sum(map(len, stored(old)))

    def test_whoever_changes_an_older_chunk_is_seen_by_other_writers(self, found: Online) -> None:
        found.materialize(visit, Store(Path("nowhere")).head(visit), graph)
        found.write(visit, visits([("a", "x", day, 1.0, "", 1) for day in range(2_000)]), graph)
        want = Want(shelf_name(always), ["x"], parted=True)
        (before,) = found.keeper.read([want])
        found.write(visit, visits([("a", "x", 7, 1.0, "", 5)]), graph)
        (after,) = found.keeper.read([want])
        assert after.values != before.values  # by which Redis tells that another was quicker
        assert len(after.parts[0]) == len(before.parts[0])
        asked = {"where": objects(["x"])}
        assert found.lookup([always], asked)["steps"].tolist() == [2_004]

    def test_what_no_window_needs_any_more_is_dropped(self, found: Online) -> None:
        found.materialize(visit, Store(Path("nowhere")).head(visit), graph)
        found.write(visit, crowd(20_000, np.random.default_rng(0)), graph)
        found.write(visit, visits([("a", "x", 100, 1.0, "", 1)]), graph)
        habit, all_time = found.keeper.read([Want(shelf_name(v), [k], parted=True) for v, k in HOT])
        assert not habit.parts
        assert len(all_time.parts[0]) > 10

    def test_writers_at_once_lose_no_event(self, found: Online) -> None:
        found.materialize(visit, Store(Path("nowhere")).head(visit), graph)

        def push(writer: int) -> None:
            for first in range(writer, 3_200, 320):
                days = range(first, first + 320, 4)
                found.write(visit, visits([("a", "x", day, 1.0, "", 1) for day in days]), graph)

        writers = [threading.Thread(target=push, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        asked = {"where": objects(["x"])}
        assert found.lookup([always], asked)["steps"].tolist() == [3_200]
