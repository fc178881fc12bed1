"""Rows of a key are erased from every file on the disk, and all others stay as they were."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from cluster.base.batch import objects
from cluster.base.errors import Corrupt, NotFound
from cluster.features.offline.store import Store
from cluster.features.schema.column import Text
from cluster.features.schema.view import View
from tests.features.offline.killed import about
from tests.features.offline.shelf import Rows, batch, held, shelf

DAYS = st.integers(0, 3)
rows = st.dictionaries(
    st.tuples(st.sampled_from("abc"), DAYS), st.tuples(st.sampled_from("xy"), st.just(1.0)),
    min_size=1, max_size=6,
)  # fmt: skip
steps = st.lists(
    st.one_of(st.tuples(st.sampled_from(["write", "append"]), rows), st.just(("compact", {}))),
    min_size=1, max_size=6,
)  # fmt: skip


@given(steps, steps, st.sampled_from("abc"))
@pytest.mark.slow
def test_whatever_was_written_a_key_is_gone_and_the_others_stay(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[str, Rows]],
    after: list[tuple[str, Rows]],
    key: str,
) -> None:
    store = Store(tmp_path_factory.mktemp("erase"), keep_s=3_600)
    model: Rows = {}
    for action, some in before:
        if action == "compact":
            store.compact(shelf)
        else:
            getattr(store, action)(shelf, batch(some))
            model |= some
    mine = {place for place in model if place[0] == key}
    found = {str(one) for one in store.rows_about(shelf, {"id": key})["id"]} if model else set()
    assert found == ({key} if mine else set())
    assert store.erase(shelf, {"id": key}) == len(mine)
    model = {place: value for place, value in model.items() if place not in mine}
    assert held(store) == held(Store(store.root)) == model
    assert about(store.root, key) == []
    assert store.erase(shelf, {"id": key}) == 0
    for action, some in after:  # a key that comes back is a new row, and the old ones stay away
        if action == "compact":
            store.compact(shelf)
        else:
            getattr(store, action)(shelf, batch(some))
            model |= some
    assert held(store) == model


def test_rows_that_were_replaced_or_merged_away_are_erased_too(tmp_path: Path) -> None:
    store = Store(tmp_path, keep_s=3_600)
    store.write(shelf, batch({("a", 0): ("old", 1.0), ("b", 0): ("x", 1.0)}))
    store.write(shelf, batch({("a", 0): ("new", 1.0), ("c", 0): ("y", 1.0)}))
    store.compact(shelf)
    assert len(about(tmp_path, "a")) == 3  # what was merged stays for its readers
    early = store.snapshot(shelf)
    assert store.erase(shelf, {"id": "a"}) == 1
    assert about(tmp_path, "a") == []
    with pytest.raises(Corrupt, match="damaged or gone"):
        early.read(shelf)
    with pytest.raises(NotFound, match="has no commit 1"):
        store.snapshot(shelf, 1)


def test_an_erasure_is_a_write_that_readers_notice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0), ("b", 0): ("x", 1.0)}))
    before = store.snapshot(shelf)
    store.erase(shelf, {"id": "a"})
    after = Store(tmp_path).snapshot(shelf)
    assert (after.commit, after.erased) == (before.commit + 1, 1)
    store.write(shelf, batch({("c", 0): ("x", 1.0)}))
    store.compact(shelf)
    assert Store(tmp_path).snapshot(shelf).erased == 1


def test_what_was_brought_online_of_a_file_is_known_of_the_file_without_the_key(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0), ("b", 0): ("x", 1.0)}))
    (old,) = store.snapshot(shelf).files
    store.erase(shelf, {"id": "a"})
    (new,) = store.snapshot(shelf).files
    assert new.parents == (old.name,)
    assert new.arrived == old.arrived


visits = View(
    "visits",
    ("who", "where"),
    {"note": Text()},
    lambda n, rng: {
        "who": objects(f"w{one}" for one in rng.integers(0, 3, n)),
        "where": objects(f"p{one}" for one in rng.integers(0, 3, n)),
        "note": objects(["x"] * n),
        "event_time": np.arange(n).astype("M8[us]"),
    },
)


def test_a_part_of_the_key_erases_all_rows_that_have_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(visits, visits.sample(40, np.random.default_rng(0)))
    mine = int((store.head(visits).read(visits)["who"] == "w1").sum())
    assert store.erase(visits, {"who": "w1"}) == mine
    assert set(store.head(visits).read(visits)["who"]) == {"w0", "w2"}


def test_the_last_rows_of_a_view_can_be_erased(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(shelf, batch({("a", 0): ("x", 1.0)}))
    assert store.erase(shelf, {"id": "a"}) == 1
    assert store.head(shelf).rows == 0
    store.write(shelf, batch({("b", 0): ("x", 1.0)}))
    assert list(held(store)) == [("b", 0)]


def test_nothing_is_erased_of_a_view_that_has_no_rows(tmp_path: Path) -> None:
    assert Store(tmp_path).erase(shelf, {"id": "a"}) == 0


def test_rows_on_another_filesystem_are_erased_alike() -> None:
    memory = fs._MockFileSystem()
    store = Store(memory)
    store.write(shelf, batch({("a", 0): ("x", 1.0), ("b", 0): ("x", 1.0)}))
    store.append(shelf, batch({("a", 1): ("y", 1.0)}))
    assert store.erase(shelf, {"id": "a"}) == 2
    assert list(held(Store(memory))) == [("b", 0)]
    assert isinstance(store.rows_about(shelf, {"id": "a"}).to_arrow(), pa.Table)
