import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.batch import take
from cluster.base.errors import Conflict, Corrupt, InvalidInput, NotFound
from cluster.base.writers import LOCK
from cluster.features.offline.store import Store, Written
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.features.views.images import images, labelled_images
from cluster.features.views.interactions import items
from tests.features.offline.shelf import Rows, batch, held, shelf

ROWS = st.dictionaries(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from([0.0, 1.0])),
    max_size=8,
)
ONE: Rows = {("a", 0): ("x", 1.0), ("b", 0): ("y", 2.0)}


def files(store: Store) -> list[str]:
    return sorted(p.name for p in store.root.rglob("*") if p.is_file() and p.name != LOCK)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(writes=st.lists(ROWS, max_size=5))
def test_any_row_of_writes_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Rows]
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    model: Rows = {}
    for rows in writes:
        new = {key for key in rows if key not in model}
        same = {key for key in rows if model.get(key) == rows[key]}
        before = store.views()[0].commit if store.views() else 0
        written = store.write(shelf, batch(rows))
        changed = len(rows) - len(same)
        counts = Written(len(new), len(same), changed - len(new), 0, before + (changed > 0))
        assert written == counts
        model |= rows
        assert held(store) == model
    assert sum(view.rows for view in store.views()) == len(model)


def test_the_same_rows_again_leave_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.write(shelf, batch(ONE)) == Written(2, 0, 0, 0, 1)
    before = files(store)
    assert store.write(shelf, batch(ONE)) == Written(0, 2, 0, 0, 1)
    assert files(store) == before


def test_of_rows_with_one_key_in_one_write_the_last_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = take(batch(ONE), [0, 1, 0])
    rows["number"] = np.array([1.0, 2.0, 3.0])
    assert store.write(shelf, rows) == Written(2, 0, 0, 1, 1)
    assert held(store) == {("a", 0): ("x", 3.0), ("b", 0): ("y", 2.0)}


def test_an_earlier_commit_reads_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    first = store.snapshot(shelf)
    store.write(shelf, batch({("a", 0): ("changed", 9.0)}))
    assert store.snapshot(shelf, 1) == first
    assert sorted(first.read(shelf, ["word"])["word"]) == ["x", "y"]
    assert sorted(store.snapshot(shelf).read(shelf, ["word"])["word"]) == ["changed", "y"]


def test_rows_come_in_the_same_order_each_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for start in range(3):
        store.write(shelf, batch({(f"{row}", start): ("x", 1.0) for row in range(5)}))
    store.write(shelf, batch({("3", 1): ("y", 1.0)}))
    orders = [Store(tmp_path).snapshot(shelf).read(shelf)["id"].tolist() for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == 15


def test_views_are_listed_with_counts_sizes_and_the_newest_event(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.views() == []
    store.write(shelf, batch({("a", 3): ("x", 1.0), ("a", 1): ("x", 1.0)}))
    store.write(items, items.sample(4, np.random.default_rng(0)))
    listed = store.views()
    assert [(view.view, view.rows, view.commit) for view in listed] == [
        ("items", 4, 1),
        ("shelf", 2, 1),
    ]
    assert listed[1].newest == np.datetime64("1970-01-04", "us")
    assert all(view.size_bytes > 0 for view in listed)
    assert all(path.is_file() for view in listed for path in view.paths)


def test_every_row_knows_when_it_came_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    first = store.snapshot(shelf).read(shelf, ["id", "created"])
    store.write(shelf, batch({("a", 0): ("new", 1.0), ("b", 0): ("y", 2.0)}))
    second = store.snapshot(shelf).read(shelf, ["id", "created"])
    assert abs(first["created"][0] - np.datetime64("now", "us")) < np.timedelta64(60, "s")
    created = dict(zip(second["id"], second["created"], strict=True))
    assert created["b"] == first["created"][0] < created["a"]


def test_fewer_columns_of_a_view_read_the_same_rows_and_cannot_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = labelled_images.sample(3, np.random.default_rng(0))
    store.write(labelled_images, rows)
    read = store.snapshot(images).read(images)
    assert set(read) == {"image_id", "image", "event_time", "split"}
    assert all((a == b).all() for a, b in zip(read["image"], rows["image"], strict=True))
    with pytest.raises(Conflict, match="stored with a column 'label'; the view lacks it"):
        store.write(images, rows)


def test_a_view_whose_columns_changed_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    other = View("shelf", ("id",), {"word": Text(), "number": Text()}, sample=shelf.sample)
    with pytest.raises(Conflict, match="stored as double: column 'number' is now string"):
        store.write(other, batch(ONE))
    wider = View("shelf", ("id",), {**shelf.columns, "more": Number()}, sample=shelf.sample)
    with pytest.raises(Conflict, match="without it: column 'more' is now double"):
        store.snapshot(shelf).read(wider)
    with pytest.raises(InvalidInput, match=r"has no column 'wrd'\. Did you mean 'word'"):
        store.snapshot(shelf).read(shelf, ["wrd"])


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(NotFound, match=r"no rows of 'shelf' yet\. Bring some"):
        store.snapshot(shelf)
    store.write(shelf, batch(ONE))
    with pytest.raises(NotFound, match=r"has no commit 7\. The newest one is 1;"):
        store.snapshot(shelf, 7)
    with pytest.raises(NotFound, match=r"'\.\./x' is no name of a view"):
        store.snapshot("../x")


def test_a_changed_byte_is_found_when_it_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    model: Rows = {(f"{row}", 0): ("word", float(row)) for row in range(500)}
    store.write(shelf, batch(model))
    (path,) = store.snapshot(shelf).paths
    sound = path.read_bytes()
    for place in range(0, len(sound), 23):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        with pytest.raises(Corrupt, match=f"The data file {path} is damaged"):
            store.snapshot(shelf).read(shelf)
    commit = next((tmp_path / "shelf" / "commits").iterdir())
    commit.write_bytes(commit.read_bytes()[:-9])
    with pytest.raises(Corrupt, match=f"The commit {commit} is damaged"):
        Store(tmp_path).snapshot(shelf)


def test_what_was_staged_and_not_committed_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    before = files(store)
    with store.stage(shelf) as stage:
        stage.add(batch({("z", 0): ("x", 1.0)}))
        stage.flush()
        assert files(store) != before
    assert files(store) == before


def test_many_rows_are_kept_in_several_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.stage(shelf) as stage:
        stage.add(batch(ONE))
        stage.flush()
        stage.add(batch({("a", 0): ("later", 1.0), ("c", 0): ("x", 1.0)}))
        written = store.commit(stage)
    assert written == Written(3, 0, 0, 1, 1)
    assert len(store.snapshot(shelf).paths) == 2
    assert held(store) == {**ONE, ("a", 0): ("later", 1.0), ("c", 0): ("x", 1.0)}


def test_two_stages_at_once_lose_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    with store.stage(shelf) as early, store.stage(shelf) as late:
        early.add(batch({("a", 0): ("early", 1.0), ("c", 0): ("early", 1.0)}))
        late.add(batch({("a", 0): ("late", 1.0), ("d", 0): ("late", 1.0)}))
        assert store.commit(late) == Written(1, 0, 1, 0, 2)
        assert store.commit(early) == Written(1, 0, 0, 0, 3, older=1)  # it began first
    words = {key: word for (key, _), (word, _) in held(store).items()}
    assert words == {"a": "late", "b": "y", "c": "early", "d": "late"}


def test_litter_is_swept_only_by_a_writer_that_is_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch(ONE))
    first = files(store)
    litter = tmp_path / "shelf" / "data" / "day=1970-01-01" / f"{'0' * 32}.parquet"
    litter.write_bytes(b"half")
    with store.stage(shelf) as living:
        living.add(batch({("c", 0): ("early", 1.0)}))
        living.flush()  # swept first, since it was alone
        (mine,) = set(files(store)) - set(first)
        litter.write_bytes(b"half")
        store.write(shelf, batch({("a", 0): ("late", 1.0)}))
        assert {mine, litter.name, *first} < set(files(store))
        assert store.commit(living).new == 1
    assert litter.exists()
    store.write(shelf, batch({("d", 0): ("x", 1.0)}))
    assert not litter.exists()
    assert sorted(store.snapshot(shelf, 1).read(shelf)["id"]) == ["a", "b"]  # older rows stay
    assert {key for key, _ in held(store)} == {"a", "b", "c", "d"}


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.features.offline.shelf", *map(str, arguments)]
    root = Path(__file__).parents[3]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def last_said(process: subprocess.Popen[str]) -> int:
    lines = process.communicate()[0].split()
    return int(lines[-1]) if lines else -1


@pytest.mark.slow
def test_writers_in_two_processes_lose_nothing(tmp_path: Path) -> None:
    writers = [start(tmp_path, name, 15, 3) for name in ("left", "right")]
    assert [last_said(writer) for writer in writers] == [14, 14]
    assert [writer.returncode for writer in writers] == [0, 0]
    rows = held(Store(tmp_path))
    for name in ("left", "right"):
        assert all(rows[f"{name}-{row}", 0] == ("turn", 14.0) for row in range(3))
    assert {day for key, day in rows if key == "shared"} == set(range(15))
    commits: Sequence[Path] = sorted((tmp_path / "shelf" / "commits").iterdir())
    assert 30 - 15 < len(commits) <= 30  # a shared row is at times the same, own rows never


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_rows_or_the_new(tmp_path: Path) -> None:
    delays = np.random.default_rng(7).uniform(0, 0.12, 4)
    for round_, delay in enumerate(delays):
        root = tmp_path / str(round_)
        writer = start(root, "w", 10_000, 50)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        acknowledged = last_said(writer)
        own = {value for (key, _), (_, value) in held(Store(root)).items() if key != "shared"}
        assert len(own) == 1  # one turn whole, never parts of two
        assert own.pop() in (max(acknowledged, 0), max(acknowledged, 0) + 1)
        assert Store(root).write(shelf, batch(ONE)).new == 2


def test_a_commit_that_is_interrupted_after_it_was_made_keeps_what_it_names(tmp_path: Path) -> None:
    def stop_when_linked(event: str, args: tuple[object, ...]) -> None:
        if armed and event == "os.remove" and ".json." in str(args[0]):
            armed.clear()
            raise KeyboardInterrupt

    armed = [True]
    sys.addaudithook(stop_when_linked)
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.write(shelf, batch(ONE))
    assert held(store) == ONE
