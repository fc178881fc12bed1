"""Merging files leaves the rows and their order as they are, whoever else writes."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.errors import NotFound
from cluster.features.offline import compact
from cluster.features.offline.commits import WHOLE, Commit
from cluster.features.offline.datafile import DataFile
from cluster.features.offline.ledger import Ledger
from cluster.features.offline.retire import retire
from cluster.features.offline.snapshot import Snapshot
from cluster.features.offline.store import Store
from cluster.features.online import bring
from tests.features.offline.shelf import Rows, batch, held, shelf

ROWS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, 2, 400])),
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=6,
)
STEP = st.one_of(st.just("compact"), st.just("merge"), ROWS)


def order(snapshot: Snapshot) -> list[tuple[object, ...]]:
    read = snapshot.read(shelf, ["id", "event_time", "word", "number"])
    return list(zip(*(read[name].tolist() for name in read), strict=True))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(STEP, st.booleans()), max_size=8))
def test_whatever_is_merged_when_the_rows_are_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str | Rows, bool]]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"), keep_s=0)
    model: Rows = {}
    for step, quick in steps:
        if isinstance(step, dict):
            (store.append if quick else store.write)(shelf, batch(step))
            model |= step
            continue
        before = order(store.snapshot(shelf)) if model else []
        number = store.snapshot(shelf).commit if model else 0
        store._compact(shelf, compact.recent if step == "merge" else compact.worthwhile)
        if model:
            assert order(store.snapshot(shelf)) == before
            assert store.snapshot(shelf).commit == number
    assert held(store) == held(Store(store.root)) == model
    if model:
        assert store.snapshot(shelf).rows == len(model)


def test_what_was_merged_is_told_by_its_parents(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for turn in range(4):
        store.append(shelf, batch({("a", turn % 2 + 1): ("x", float(turn))}))
    before = store.snapshot(shelf)
    done = store.compact(shelf)
    assert (done.merged, done.made, done.dropped) == (4, 1, 2)
    (file,) = store.snapshot(shelf).files
    assert set(file.parents) == {old.name for old in before.files}
    assert order(before) == order(store.snapshot(shelf))  # the old files are there for a while
    assert store.compact(shelf) == compact.Compacted(0, 0, 0)


def merged(name: str, of: list[DataFile | str], *, ago_s: float = 0.0) -> DataFile:
    """A file that is known to be merged of others."""
    parents = tuple(one if isinstance(one, str) else one.name for one in of)
    files = [one for one in of if isinstance(one, DataFile)]
    arrived, day = time.time_ns() - int(ago_s * 1e9), np.datetime64("2024-05-01", "us")
    lineage = compact.lineage_of(files, parents)
    return DataFile(name, 1, 1, day, day, "", arrived, parents, lineage)


def test_who_took_in_any_of_the_files_that_others_were_merged_from_has_their_rows() -> None:
    first = merged("first", ["a", "b"])
    second = merged("second", [first, "c"])
    third = merged("third", [first, "d"])  # of parts of one day, as large merges make them
    last = merged("last", [second, third, "e"])
    for brought in ("abcde", ["first", *"cde"], ["second", "third", "e"], ["second", *"abde"]):
        assert bring.has(set(brought), last)
    for brought in ("bcde", "abcd", ["second", *"bde"], ["first", "second"], ""):
        assert not bring.has(set(brought), last)


def test_what_was_merged_long_ago_or_of_too_many_is_not_named_again() -> None:
    old = merged("old", ["a"], ago_s=compact.LINEAGE_S + 60)
    assert merged("new", [old, "b"]).lineage == ()
    file = merged("0", ["a"])
    for number in range(1, 400):
        file = merged(str(number), [file, f"of {number}"])
    assert sum(len(names) for _, names in file.lineage) == compact.MOST_NAMED
    assert file.lineage[0] == ("398", ("397", "of 398"))


def test_what_nobody_needs_any_more_goes_after_a_while(tmp_path: Path) -> None:
    for keep_s, files in ((3_600, 5), (0, 2)):
        store = Store(tmp_path / str(keep_s), keep_s=keep_s)
        for turn in range(4):
            store.append(shelf, batch({("a", turn): ("x", float(turn))}))
        before = store.snapshot(shelf)
        store.compact(shelf)
        assert len(list(store.root.rglob("*.parquet"))) == files
        assert all(path.exists() for path in before.paths) == (keep_s > 0)
    (note,) = (tmp_path / "3600" / "shelf" / "gone").iterdir()
    note.rename(note.with_name(f"{1:020d}-{'0' * 32}.json"))  # the hour is over
    Store(tmp_path / "3600").write(shelf, batch({("b", 0): ("x", 1.0)}))
    assert len(list((tmp_path / "3600").rglob("*.parquet"))) == 3
    assert not list((tmp_path / "3600" / "shelf" / "gone").iterdir())


def test_one_merge_is_at_work_at_a_time_and_a_file_that_counts_never_goes(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_s=0)
    for turn in range(4):
        store.append(shelf, batch({("a", turn): ("x", float(turn))}))
    with store.bucket.merging("shelf") as alone:
        assert alone
        assert store.compact(shelf) == compact.Compacted(0, 0, 0)
    retire(
        store.bucket, "shelf", store.snapshot(shelf).files, 0
    )  # and was killed before it counted
    store.write(shelf, batch({("b", 0): ("x", 1.0)}))
    assert store.snapshot(shelf).read(shelf)["id"].tolist().count("a") == 4


def test_a_row_that_arrives_during_a_merge_keeps_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path)
    created = np.datetime64("2024-05-01", "us")
    store.append(shelf, batch({("a", 1): ("first", 1.0), ("b", 1): ("only", 1.0)}), created=created)
    old = store.snapshot(shelf)
    state = Ledger(store.bucket).state("shelf")
    store.append(shelf, batch({("a", 1): ("second", 1.0)}), created=created)
    late = Ledger(store.bucket)
    every: compact.Choice = lambda snapshot: [list(snapshot.files)]  # noqa: E731
    compact.compact(late, shelf, old, state, choose=every, keep_s=0)
    assert held(store)["a", 1] == held(Store(tmp_path))["a", 1] == ("second", 1.0)
    store.compact(shelf)
    assert held(store) == {("a", 1): ("second", 1.0), ("b", 1): ("only", 1.0)}


def test_a_merged_file_brings_no_row_that_a_file_before_it_replaced(tmp_path: Path) -> None:
    store, created = Store(tmp_path), np.datetime64("2024-05-01", "us")
    for rows in ({("a", 1): ("old", 1.0)}, {("a", 1): ("new", 1.0)}, {("b", 1): ("x", 1.0)}):
        store.append(shelf, batch(rows), created=created)
    state, old = Ledger(store.bucket).state("shelf"), store.snapshot(shelf)
    some: compact.Choice = lambda _: [[old.files[0], old.files[2]]]  # noqa: E731
    compact.compact(Ledger(store.bucket), shelf, old, state, choose=some, keep_s=0)
    head = store.snapshot(shelf)
    brought = [table for _, table in bring.tables(shelf, head, head.files, {})]
    words = [row["word"] for table in brought for row in table.to_pylist() if row["id"] == "a"]
    assert words == ["new"]


def test_two_compactions_of_one_state_lose_and_double_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_s=0)
    model: Rows = {}
    for turn in range(6):
        rows: Rows = {("a", turn % 3 + 1): ("x", float(turn)), (f"k{turn}", 1): ("y", 0.0)}
        store.append(shelf, batch(rows))
        model |= rows
    old, state = store.snapshot(shelf), Ledger(store.bucket).state("shelf")
    for part in (old.files[:4], old.files[1:]):
        some: compact.Choice = lambda _, part=part: [list(part)]  # type: ignore[misc]  # noqa: E731
        compact.compact(Ledger(store.bucket), shelf, old, state, choose=some, keep_s=0)
        store.append(shelf, batch({("late", len(part)): ("z", 1.0)}))
        model["late", len(part)] = ("z", 1.0)
    wholes = [name for name in Ledger(store.bucket).names("shelf") if name.endswith(WHOLE)]
    assert len(wholes) == 2
    assert held(Store(tmp_path)) == model
    assert store.snapshot(shelf).commit == Store(tmp_path).snapshot(shelf).commit == 8
    store.compact(shelf)
    store.compact(shelf)
    assert held(Store(tmp_path)) == model
    assert Store(tmp_path).snapshot(shelf).commit == 8


@pytest.mark.slow
def test_writers_readers_and_compactions_at_once_see_whole_states(tmp_path: Path) -> None:
    def write(name: str) -> None:
        mine = Store(tmp_path, keep_s=3)
        for turn in range(40):
            mine.append(shelf, batch({(name, turn): ("x", 1.0), (name, turn + 1): ("x", 0.0)}))

    def merge(_: int) -> None:
        mine = Store(tmp_path, keep_s=3)
        for _ in range(10):
            mine.compact(shelf)

    def read(_: int) -> list[int]:
        return [Store(tmp_path).snapshot(shelf).rows for _ in range(20)]

    Store(tmp_path).append(shelf, batch({("first", 0): ("x", 1.0)}))
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(write, name) for name in ("a", "b")]
        jobs += [pool.submit(merge, 0), pool.submit(merge, 1)]
        seen = pool.submit(read, 0)
        for job in jobs:
            job.result()
    assert seen.result() == sorted(seen.result())  # what was there once stays
    assert Store(tmp_path).snapshot(shelf).rows == 1 + 2 * 41


@pytest.mark.slow
def test_thousands_of_commits_are_one_object_to_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for turn in range(100):
        store._ledger.publish("shelf", *_committed(store, turn))
    assert len(Ledger(store.bucket).names("shelf")) == 100
    store.compact(shelf)
    assert len(Ledger(store.bucket).names("shelf")) == 1
    assert store.snapshot(shelf).commit == 100
    with pytest.raises(NotFound, match="compaction forgets the others"):
        store.snapshot(shelf, 3)


def _committed(store: Store, turn: int) -> tuple[str, Commit]:
    stage = store._begun(shelf, None, lambda: None)
    stage.add(batch({(f"k{turn}", 1): ("x", 1.0)}))
    stage.flush()
    return store._ledger.write("shelf", stage.shape, stage.files)


def test_a_view_of_thousands_of_days_lies_in_few_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", day): ("x", 1.0) for day in range(5_000)}))
    assert len(store.snapshot(shelf).files) == 2  # what has held always stands apart
    for day in (100, 2_000, 4_999):
        store.append(shelf, batch({("b", day): ("x", 1.0)}))
    store.compact(shelf)
    assert len(store.snapshot(shelf).files) == 2
    assert store.snapshot(shelf).rows == 5_003
