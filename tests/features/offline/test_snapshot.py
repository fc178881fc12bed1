"""Rows are read piece by piece, from the files of their days, with the columns of their time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from cluster.base.batch import objects
from cluster.base.errors import Conflict, Corrupt, InvalidInput, Unavailable
from cluster.features.offline.bucket import LocalBucket, RemoteBucket, open_bucket
from cluster.features.offline.datafile import SPAN_ROWS
from cluster.features.offline.store import Store
from cluster.features.schema.column import Column, Number, Text, Time
from cluster.features.schema.ragged import Texts
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions
from tests.features.offline.shelf import Rows, batch, held, shelf

DAY = np.timedelta64(1, "D")
ZERO = np.datetime64(0, "us")
DAYS = st.integers(0, 41)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40)),
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from([0.0, 1.0])),
    min_size=1,
    max_size=30,
)


def wider(**defaults: object) -> View:
    kinds: dict[str, Column] = {"more": Number(), "tags": Texts(), "seen": Time(), "note": Text()}
    more = {name: kinds[name] for name in defaults}
    columns = {**shelf.columns, **more}
    return View("shelf", ("id",), columns, sample=shelf.sample, defaults=defaults)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    writes=st.lists(ROWS, min_size=1, max_size=4), since=st.integers(0, 41), days=st.integers(0, 9)
)
def test_a_part_of_the_rows_is_what_a_dictionary_says(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Rows], since: int, days: int
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    model: Rows = {}
    for rows in writes:
        store.append(shelf, batch(rows))
        model |= rows
    names = ["id", "event_time", "word"]
    asked = {
        "since": ZERO + since * DAY,
        "until": ZERO + (since + days) * DAY,
        "keys": {"id": objects(["b", "c", "nobody"])},
    }
    whole = store.snapshot(shelf).table(names, **asked)  # type: ignore[arg-type]
    wanted = [
        (key, day, word)
        for (key, day), (word, _) in sorted(model.items(), key=lambda row: row[0][1])
        if since <= day <= since + days and key in "bc"
    ]
    found = shelf.unpack(whole)
    told = (found["event_time"] - ZERO) // DAY
    assert sorted(zip(found["id"], told.tolist(), found["word"], strict=True)) == sorted(wanted)
    assert (told[1:] >= told[:-1]).all()
    head = store.snapshot(shelf)
    by_file = [head.rows_of(file, ["id", "event_time"]).to_pylist() for file in head.files]
    assert sum(map(len, by_file)) == head.rows == len(model)
    parts = list(store.snapshot(shelf).partitions(names, **asked))  # type: ignore[arg-type]
    assert pa.concat_tables([whole.slice(0, 0), *parts]).to_pylist() == whole.to_pylist()


def test_rows_are_found_by_a_part_of_their_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pairs = [("u1", "a"), ("u2", "a"), ("u1", "b"), ("u1", "a")]
    for turn, (user, item) in enumerate(pairs):
        rows = {"user_id": objects([user]), "item_id": objects([item]), "value": np.ones(1) * turn}
        store.append(interactions, {**rows, "event_time": np.array([ZERO + turn % 3 * DAY])})
    head = store.snapshot(interactions)
    found = head.table(["item_id", "value"], keys={"user_id": objects(["u1", "u1", "nobody"])})
    assert found.to_pylist() == [
        {"item_id": "a", "value": 3.0},  # the first of them was replaced
        {"item_id": "b", "value": 2.0},
    ]


def test_partitions_are_whole_days_of_about_one_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for turn in range(3):  # overlapping files, none of which is read whole into one part
        rows: Rows = {(f"k{row}", day): ("x", turn) for row in range(3) for day in range(1, 200)}
        store.append(shelf, batch(rows))
    parts = list(store.snapshot(shelf).partitions(["id", "event_time"], rows=100))
    found = [set(shelf.unpack(part)["event_time"].astype("M8[D]").tolist()) for part in parts]
    assert sum(map(len, found)) == len(set().union(*found)) == 199
    assert sum(part.num_rows for part in parts) == 597


def test_files_of_other_days_are_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in (1, 50, 100):
        store.append(shelf, batch({("a", day): ("x", 1.0)}))
    head = store.snapshot(shelf)
    head.paths[0].unlink()
    head.paths[2].unlink()
    assert head.table(["id"], since=ZERO + 2 * DAY, until=ZERO + 99 * DAY).num_rows == 1
    with pytest.raises(Corrupt, match="damaged or gone"):
        head.table(["id"], since=ZERO + 2 * DAY)


def test_days_with_many_rows_have_files_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    days = np.repeat([0, 100, 101, 102], [10, SPAN_ROWS, SPAN_ROWS - 1, 1])
    store.write(
        shelf,
        {
            "id": objects(map(str, range(len(days)))),
            "word": np.full(len(days), "x", dtype=object),
            "number": np.zeros(len(days)),
            "event_time": ZERO + days[::-1] * DAY,
        },
    )
    found = store.snapshot(shelf)
    assert [path.parent.name for path in found.paths] == [
        f"day={ZERO.astype('M8[D]') + day}" for day in (0, 100, 101)
    ]
    assert [file.rows for file in found.files] == [10, SPAN_ROWS, SPAN_ROWS]
    assert [int(file.days[1].astype(int)) for file in found.files] == [0, 100, 102]


def test_a_new_column_makes_a_new_schema_and_old_rows_read_its_default(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0)}))
    assert store.snapshot(shelf).schema == 1
    moment = np.datetime64("2024-05-01", "us")
    view = wider(more=7.5, tags=["p", "q"], seen=moment, note="")
    assert store.head(view).read(view)["more"].tolist() == [7.5]  # before anybody wrote it
    rows = {**batch({("b", 1): ("y", 2.0)}), "more": np.array([1.0]), "tags": objects([["r"]])}
    store.write(view, {**rows, "seen": np.array([moment + DAY]), "note": objects(["n"])})
    after = Store(tmp_path).snapshot("shelf")
    assert after.schema == 2
    read = after.read(view)
    assert read["more"].tolist() == [7.5, 1.0]
    assert read["tags"].tolist() == [["p", "q"], ["r"]]
    assert read["seen"].tolist() == [moment, moment + DAY]
    store.append(view, {**rows, "seen": np.array([moment]), "note": objects(["m"])})
    store.compact(view)
    assert Store(tmp_path).snapshot(view).read(view, ["note"])["note"].tolist() == ["", "m"]
    assert Store(tmp_path).snapshot(view).schema == 2


def test_a_column_that_is_gone_or_changed_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0)}))
    rows = batch({("a", 0): ("x", 1.0)})
    narrow, other = shelf.only("word"), replace(shelf, columns={"word": Text(), "number": Text()})
    for write in (store.write, store.append):
        with pytest.raises(Conflict, match="stored with a column 'number'; the view lacks it"):
            write(narrow, rows)
        with pytest.raises(Conflict, match=r"as double: column 'number' is now string\. Give"):
            write(other, rows)
        with pytest.raises(Conflict, match="are stored by id; the view's key is now id, word"):
            write(replace(shelf, key=("id", "word"), columns={"number": Number()}), rows)
    with pytest.raises(Conflict, match=r"without it: column 'more' .* or a default for it"):
        store.write(replace(shelf, columns={**shelf.columns, "more": Number()}), rows)


def test_two_writers_that_add_columns_at_once_both_have_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0)}))
    one, other = wider(more=1.0), wider(note="none")
    with store.stage(one) as left, store.stage(other) as right:
        left.add({**batch({("b", 0): ("x", 1.0)}), "more": np.array([2.0])})
        right.add({**batch({("c", 0): ("x", 1.0)}), "note": objects(["some"])})
        store.commit(left)
        store.commit(right)
    both = wider(more=1.0, note="none")
    read = Store(tmp_path).snapshot(both).read(both)
    assert read["more"].tolist() == [1.0, 2.0, 1.0]
    assert read["note"].tolist() == ["none", "none", "some"]


def mock() -> fs.FileSystem:
    return fs._MockFileSystem()


def memory() -> fs.FileSystem:
    plain = fsspec.filesystem("memory", skip_instance_cache=True)
    plain.store = {}
    plain.pseudo_dirs = [""]
    return fs.PyFileSystem(fs.FSSpecHandler(plain))


@pytest.mark.parametrize("make", [mock, memory], ids=["mock", "fsspec"])
def test_any_pyarrow_filesystem_holds_the_same(make: Callable[[], fs.FileSystem]) -> None:
    place = make()
    store = Store(place, keep_s=0)
    model: Rows = {}
    for turn in range(70):
        rows: Rows = {(f"k{turn % 9}", turn % 4): ("x", float(turn))}
        (store.append if turn % 5 else store.write)(shelf, batch(rows))
        model |= rows
    assert held(store) == held(Store(place)) == model
    before = store.snapshot(shelf).commit
    assert store.compact(shelf).made == 2
    assert held(store) == held(Store(place)) == model
    assert Store(place).snapshot(shelf).commit == before
    assert [view.view for view in store.views()] == ["shelf"]
    with pytest.raises(Conflict, match="lies on no local folder"):
        _ = store.snapshot(shelf).paths


def test_a_folder_below_a_filesystem_is_one_too(tmp_path: Path) -> None:
    store = Store(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()))
    store.write(shelf, batch({("a", 0): ("x", 1.0)}))
    assert held(Store(tmp_path / "features")) == held(store)
    assert isinstance(open_bucket(tmp_path.as_uri()), LocalBucket)
    assert isinstance(store.bucket, RemoteBucket)
    with pytest.raises(InvalidInput, match=r"'what://x' cannot be opened: .* such as s3://"):
        Store("what://x")


def test_a_filesystem_that_cannot_be_reached_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file in the way")
    store = Store(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()))
    with pytest.raises(Unavailable, match=r"cannot be used now: .*can be reached and written to"):
        store.write(shelf, batch({("a", 0): ("x", 1.0)}))
