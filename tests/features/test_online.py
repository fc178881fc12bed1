"""What is looked up is the newest of what was stored, as a join as of now would give it."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.batch import Batch, objects
from cluster.errors import Conflict, Corrupt, NotFound, Unavailable
from cluster.features.column import Number, Whole, times
from cluster.features.history import Stored
from cluster.features.images import labelled_images
from cluster.features.interactions import interactions, items
from cluster.features.join import join
from cluster.features.online import Online
from cluster.features.sqlite_keeper import SqliteKeeper
from cluster.features.store import Store
from cluster.features.view import View
from tests.features.shelf import Rows, batch, shelf

writes = st.lists(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["x", "y", "ü"]), st.floats(-9, 9)),
        min_size=1,
    ),
    min_size=1,
    max_size=4,
)


def online(folder: Path, view: View, store: Store) -> Online:
    found = Online(folder / "online.db")
    found.materialize(view, store.head(view))
    return found


def assert_same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name, column in one.items():
        assert column.tolist() == other[name].tolist()


@settings(max_examples=25, deadline=None)
@given(writes, st.data())
def test_it_is_a_join_as_of_now_whatever_was_written_when(
    rows: list[Rows], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        store, found = Store(Path(folder) / "store"), Online(Path(folder) / "online.db")
        for written in rows:
            store.write(shelf, batch(written))
            if data.draw(st.booleans(), label="materialize now"):
                found.materialize(shelf, store.head(shelf))
        found.materialize(shelf, store.head(shelf))
        asked = {"id": objects(data.draw(st.lists(st.sampled_from("abcd"), max_size=6)))}
        looked_up = dict(found.lookup([shelf], asked))
        statuses = looked_up.pop("shelf_status")
        moments = looked_up.pop("shelf_time")
        late = {**asked, "event_time": times([10**17] * len(asked["id"]))}
        joined = dict(join(late, [shelf], Stored(store.head)))
        del joined["event_time"]
        assert_same(looked_up, joined)
        assert (statuses == "missing").tolist() == joined["shelf_missing"].tolist()
        newest = {key: max(d for w in rows for k, d in w if k == key) for w in rows for key, _ in w}
        for key, moment, missing in zip(asked["id"], moments, joined["shelf_missing"], strict=True):
            assert missing or moment == times([newest[key] * 86_400_000_000])[0]


def test_what_was_brought_is_not_read_again(tmp_path: Path) -> None:
    store, found = Store(tmp_path), Online(tmp_path / "online.db")
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    assert found.materialize(shelf, store.head(shelf)) == 1
    assert found.materialize(shelf, store.head(shelf)) == 0
    store.write(shelf, batch({("b", 1): ("x", 1.0), ("c", 1): ("x", 1.0)}))
    assert found.materialize(shelf, store.head(shelf)) == 2


def test_an_old_event_that_comes_late_replaces_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 2): ("new", 2.0)}))
    online(tmp_path, shelf, store)
    store.write(shelf, batch({("a", 1): ("old", 1.0)}))
    found = online(tmp_path, shelf, store).lookup([shelf], {"id": objects(["a"])})
    assert found["word"].tolist() == ["new"]


def test_views_with_several_keys_lists_and_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    store, rng = Store(tmp_path), np.random.default_rng(0)
    for view in (items, interactions, labelled_images):
        rows = view.sample(20, rng)
        store.write(view, rows)
        keys = {name: rows[name] for name in view.key}
        found = online(tmp_path, view, store).lookup([view], keys)
        assert not found[f"{view.name}_missing"].any()
    assert all(map(np.array_equal, found["image"], rows["image"]))


def test_several_views_are_looked_up_together(tmp_path: Path) -> None:
    store = Store(tmp_path)
    other = replace(shelf, name="other", columns={"size": Number()})
    for view, rows in ((shelf, {"word": objects(["x"])}), (other, {"size": np.array([3.0])})):
        number = {"number": np.array([1.0])}
        store.write(view, {"id": objects(["a"]), **rows, **(number if view is shelf else {})})
        found = online(tmp_path, view, store)
    values = found.lookup([shelf, other], {"id": objects(["b", "a", "a"])})
    assert values["word"].tolist() == ["", "x", "x"]
    assert values["size"].tolist() == [0.0, 3.0, 3.0]
    assert values["other_missing"].tolist() == [True, False, False]


def test_without_views_the_keys_come_back(tmp_path: Path) -> None:
    assert Online(tmp_path / "none.db").lookup([], {}) == {}


def test_a_view_that_is_not_online_is_told_with_what_to_do(tmp_path: Path) -> None:
    hint = r"View 'items' is not online\. Bring it there: python -m services materialize items"
    keys = {"item_id": objects(["1"]), "id": objects(["a"])}
    with pytest.raises(NotFound, match=hint):
        Online(tmp_path / "none.db").lookup([items], keys)
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    with pytest.raises(NotFound, match=hint):
        online(tmp_path, shelf, store).lookup([shelf, items], keys)


def test_changed_columns_are_refused_until_they_are_brought_anew(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "other"), replace(shelf, columns={"number": Whole()})
    old = Store(tmp_path)
    old.write(shelf, batch({("a", 1): ("x", 1.0)}))
    found = online(tmp_path, shelf, old)
    with pytest.raises(
        Conflict, match=r"'shelf' was materialized with other columns: word \(string\), number"
    ):
        found.lookup([other], {"id": objects(["a"])})
    store.write(other, {"id": objects(["b"]), "number": np.array([2])})
    found.materialize(other, store.head(other))
    values = found.lookup([other], {"id": objects(["a", "b"])})
    assert values["shelf_missing"].tolist() == [True, False]


def test_a_writer_that_is_cut_off_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    store, found = Store(tmp_path), Online(tmp_path / "online.db")
    for day in (1, 2, 3):
        store.write(shelf, batch({(key, day): ("x", float(day)) for key in "ab"}))
    head = store.head(shelf)
    assert len(head.files) == 3
    head.path(head.files[2]).rename(tmp_path / "away")
    with pytest.raises(Exception, match="damaged or gone"):
        found.materialize(shelf, head)
    asked = {"id": objects(["a", "b"])}
    assert found.lookup([shelf], asked)["number"].tolist() == [2.0, 2.0]
    (tmp_path / "away").rename(head.path(head.files[2]))
    assert found.materialize(shelf, head) == 2
    assert found.lookup([shelf], asked)["number"].tolist() == [3.0, 3.0]
    with sqlite3.connect(tmp_path / "online.db") as read:
        assert read.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_damaged_or_held_is_told_in_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    online(tmp_path, shelf, store)
    found = Online(SqliteKeeper(tmp_path / "online.db", wait_s=0.1))
    asked = {"id": objects(["a"])}
    with closing(sqlite3.connect(tmp_path / "online.db")) as other:
        other.execute("begin exclusive")
        with pytest.raises(Unavailable, match=r"online\.db cannot be used now: .*try again"):
            found.materialize(shelf, store.head(shelf))
    (tmp_path / "online.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(Corrupt, match=r"online\.db is damaged: .*materialize"):
        found.lookup([shelf], asked)


def test_fewer_columns_are_read_of_the_same_rows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    narrow = shelf.only("number")
    found = online(tmp_path, shelf, store).lookup([narrow], {"id": objects(["a", "b"])})
    assert found["number"].tolist() == [1.0, 0.0]
    assert "word" not in found
