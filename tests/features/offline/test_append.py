"""Rows that come a few at a time are stored at once, and merged by and by."""

import time
from pathlib import Path

import numpy as np
import pytest

from cluster.base.errors import Conflict, Corrupt
from cluster.features.offline.store import WRITES, Store
from tests.features.offline.shelf import Rows, batch, held, shelf

ONE: Rows = {("a", 0): ("x", 1.0), ("b", 0): ("y", 2.0)}


def objects_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".writers"]


def test_an_append_counts_at_once_and_the_later_of_two_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(shelf, batch(ONE))
    assert held(store) == ONE
    store.append(shelf, batch({("a", 0): ("changed", 9.0)}))
    assert held(Store(tmp_path)) == {**ONE, ("a", 0): ("changed", 9.0)}
    assert (store.snapshot(shelf).rows, store.snapshot(shelf).commit) == (2, 2)


def test_rows_that_are_stored_already_are_the_same_to_a_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(shelf, batch(ONE))
    store.append(shelf, batch(ONE))
    done = store.write(shelf, batch({**ONE, ("c", 0): ("z", 0.0)}))
    assert (done.new, done.same, done.replaced) == (1, 2, 0)


def test_what_was_created_later_wins_whenever_it_arrives(tmp_path: Path) -> None:
    store = Store(tmp_path)
    late, early = np.datetime64("2024-05-02", "us"), np.datetime64("2024-05-01", "us")
    store.append(shelf, batch({("a", 0): ("late", 1.0)}), created=late)
    store.append(shelf, batch({("a", 0): ("early", 1.0)}), created=early)
    assert held(store) == {("a", 0): ("late", 1.0)}
    with store.stage(shelf, created=early) as stage:
        stage.add(batch({("a", 0): ("other", 1.0)}))
        done = store.commit(stage)
    assert (done.older, done.replaced) == (1, 0)
    store.append(shelf, batch({("a", 0): ("at once, but after", 1.0)}), created=late)
    assert held(store) == {("a", 0): ("at once, but after", 1.0)}


def test_rows_say_themselves_when_they_were_created(tmp_path: Path) -> None:
    store = Store(tmp_path)
    twice = {name: np.repeat(column, 2) for name, column in batch({("a", 0): ("x", 1.0)}).items()}
    twice["word"][:] = ["second", "first"]
    times = np.array(["2024-05-02", "2024-05-01"], dtype="M8[us]")
    assert store.write(shelf, {**twice, "created": times}).doubled == 1
    assert store.snapshot(shelf).read(shelf, ["word", "created"])["created"] == times[:1]
    assert held(store) == {("a", 0): ("second", 1.0)}
    again = store.write(shelf, {**twice, "created": times})
    assert (again.same, again.replaced, again.commit) == (1, 0, 1)
    later = store.write(shelf, {**twice, "created": times + np.timedelta64(9, "D")})
    assert (later.same, later.replaced) == (0, 1)
    assert store.append(shelf, {**twice, "created": times}).created.tolist() == times.tolist()


def test_a_file_holds_no_row_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = {name: np.repeat(column, 3) for name, column in batch(ONE).items()}
    (file,) = store.append(shelf, rows).files
    assert file.rows == 2
    assert store.append(shelf, {name: column[:0] for name, column in rows.items()}).files == ()


@pytest.mark.slow
def test_an_append_of_more_than_a_file_holds_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = batch({("a", 0): ("x" * 35_000_000, 1.0), ("b", 0): ("y" * 35_000_000, 2.0)})
    done = store.append(shelf, rows)
    assert len(done.created) == 2
    assert sum(file.rows for file in done.files) == 2
    assert store.snapshot(shelf).read(shelf, ["id", "number"])["number"].tolist() == [1.0, 2.0]


@pytest.mark.slow
def test_many_appends_leave_few_objects_and_every_row(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_s=0)
    model: Rows = {}
    for turn in range(3 * WRITES + 5):
        rows: Rows = {(f"k{turn % 50}", turn % 7): ("word", float(turn))}
        store.append(shelf, batch(rows))
        model |= rows
    assert held(store) == held(Store(tmp_path)) == model
    assert len(objects_in(tmp_path / "shelf" / "commits")) <= WRITES + 2
    assert len(store.snapshot(shelf).files) <= WRITES + 8
    store.compact(shelf)
    assert len(objects_in(tmp_path / "shelf")) == 5  # always, the days, the commit, two locks
    assert held(store) == held(Store(tmp_path)) == model


def test_an_append_takes_as_long_with_many_rows_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows: Rows = {(f"k{row}", row % 100): ("word", float(row)) for row in range(20_000)}

    def median_s() -> float:
        took = []
        for turn in range(21):
            begun = time.perf_counter()
            store.append(shelf, batch({("x", turn): ("y", 0.0)}))
            took.append(time.perf_counter() - begun)
        return float(np.median(took))

    empty = median_s()
    store.write(shelf, batch(rows))
    assert median_s() < max(3 * empty, 0.02)


def test_a_damaged_file_holds_up_who_reads_it_and_nobody_else(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for turn in range(WRITES):
        store.append(shelf, batch({(f"k{turn}", 0): ("x", 1.0)}))
    broken = store.snapshot(shelf).paths[0]
    broken.write_bytes(b"PAR1")
    store.append(shelf, batch({("last", 0): ("x", 1.0)}))
    with pytest.raises(Corrupt, match=f"The data file {broken} is damaged"):
        store.snapshot(shelf).read(shelf)
    with pytest.raises(Corrupt, match=f"The data file {broken} is damaged"):
        store.compact(shelf)
    assert len(store.snapshot(shelf).files) == WRITES + 1


def test_a_file_that_is_written_to_by_somebody_else_is_seen(tmp_path: Path) -> None:
    one, other = Store(tmp_path), Store(tmp_path)
    for turn in range(5):
        one.append(shelf, batch({("one", turn): ("x", 1.0)}))
        other.append(shelf, batch({("other", turn): ("x", 1.0)}))
    other.compact(shelf)
    one.append(shelf, batch({("one", 9): ("x", 1.0)}))
    assert held(one) == held(other) == held(Store(tmp_path))
    assert one.snapshot(shelf).rows == 11


def test_a_home_of_an_earlier_release_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shelf" / "commits"
    folder.mkdir(parents=True)
    (folder / "0000000001.json").write_text("{}")
    for look in (Store(tmp_path).views, lambda: Store(tmp_path).append(shelf, batch(ONE))):
        with pytest.raises(Conflict, match=r"by an earlier release .* then ingest again"):
            look()
