"""Vectors in memory: as new as the stored rows, whoever wrote them."""

import pickle  # noqa: TID251 - how Ray sends it to a worker
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput, NotFound
from cluster.features.offline.store import Store
from cluster.features.schema.column import Text
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import View
from cluster.features.vectors.neighbours import Neighbours, vector_column

DAY = np.datetime64("2026-05-01", "us")


def none(n: int, rng: np.random.Generator) -> Batch:
    """No view here is sampled."""
    raise AssertionError


places = View("places", ("item_id",), {"vector": Vector(2)}, none)
seats = View("seats", ("block", "number"), {"vector": Vector(2)}, none)


def rows(vectors: Mapping[str, tuple[float, float]], at: np.datetime64 | datetime = DAY) -> Arrays:
    """Rows of `places`, all of one moment."""
    return {
        "item_id": objects(vectors),
        "vector": np.array(list(vectors.values()), dtype=np.float32),
        "event_time": np.full(len(vectors), at, dtype="M8[us]"),
    }


def nearest(found: Neighbours, *vector: float, view: View = places, k: int = 10) -> list[str]:
    """The keys that are found, nearest first."""
    keys, scores = found.nearest(view, np.array([vector]), k)
    assert scores[0] == sorted(scores[0], reverse=True)
    return ["/".join(key) for key in keys[0]]


def test_what_is_stored_is_found_and_what_comes_later_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = Neighbours(Store(tmp_path))  # another store of the same rows, as in another process
    store.append(places, rows({"a": (1, 0), "b": (0, 1)}))
    assert nearest(found, 1, 0.1) == ["a", "b"]
    store.append(places, rows({"c": (2, 0)}))
    assert nearest(found, 1, 0.1) == ["c", "a", "b"]
    store.append(places, rows({"c": (0, 3)}, DAY + np.timedelta64(1, "s")))
    assert nearest(found, 1, 0, k=1) == ["a"]


def test_an_old_row_never_takes_the_place_of_a_newer_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = Neighbours(store)
    store.append(places, rows({"a": (1, 0), "b": (0.5, 0)}))
    store.append(places, rows({"a": (0, 0)}, DAY - np.timedelta64(1, "s")))
    assert nearest(found, 1, 0) == ["a", "b"]
    store.append(places, rows({"a": (0, 0)}))  # of the same moment: the one that came later
    assert nearest(found, 1, 0) == ["b", "a"]
    assert nearest(Neighbours(store), 1, 0) == ["b", "a"]


def test_merging_the_files_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    found = Neighbours(store)
    for step in range(6):
        store.append(places, rows({"a": (step, 0), "b": (3, 0)}, DAY + np.timedelta64(step, "s")))
        assert nearest(found, 1, 0) == (["b", "a"] if step < 3 else ["a", "b"])
    store.compact(places)
    assert nearest(found, 1, 0) == nearest(Neighbours(store), 1, 0) == ["a", "b"]


def test_a_key_of_several_columns_comes_back_in_its_parts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(
        seats,
        {
            "block": objects(['A "1"', "B"]),
            "number": objects(["1", "2"]),
            "vector": np.eye(2, dtype=np.float32),
            "event_time": np.full(2, DAY),
        },
    )
    keys, scores = Neighbours(store).nearest(seats, np.array([[1.0, 0.0], [0.0, 1.0]]), 1)
    assert (keys, scores) == ([[('A "1"', "1")], [("B", "2")]], [[1.0], [1.0]])


def test_what_is_older_than_its_time_to_live_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lasting = replace(places, ttl=timedelta(hours=1))
    now = datetime.now(UTC).replace(tzinfo=None)
    store.append(lasting, rows({"old": (1, 0)}, now - timedelta(hours=2)))
    store.append(lasting, rows({"new": (0.5, 0)}, now))
    store.append(lasting, rows({"always": (0.2, 0)}, np.datetime64(0, "us")))
    assert nearest(Neighbours(store), 1, 0, view=lasting) == ["new", "always"]
    assert nearest(Neighbours(store), 1, 0) == ["old", "new", "always"]


def test_a_view_without_vectors_or_rows_is_refused(tmp_path: Path) -> None:
    found = Neighbours(Store(tmp_path))
    said = r"'places' holds no vectors yet\. Ingest or push .* services materialize places"
    with pytest.raises(NotFound, match=said):
        nearest(found, 1, 0)
    words = View("words", ("item_id",), {"text": Text()}, none)
    with pytest.raises(InvalidInput, match="'words' has no column of vectors"):
        vector_column(words)
    two = View("two", ("item_id",), {"a": Vector(2), "b": Vector(2)}, none)
    with pytest.raises(InvalidInput, match="'two' has 2 columns of vectors"):
        vector_column(two)


def test_what_was_true_before_1970_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(places, rows({"a": (1, 0)}, np.datetime64("1956-03-01", "us")))
    assert nearest(Neighbours(store), 1, 0) == ["a"]


def test_it_can_be_sent_to_a_worker_once_it_was_asked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(places, rows({"a": (1, 0)}))
    found = Neighbours(store)
    assert nearest(found, 1, 0) == ["a"]
    assert nearest(pickle.loads(pickle.dumps(found)), 1, 0) == ["a"]  # noqa: S301 - made just now


def test_beside_a_row_there_are_as_many_others_as_are_wanted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append(places, rows({f"{number:04}": (1, number / 1e4) for number in range(1_100)}))
    vector = np.array([1, 0.05])  # that of row 500
    (keys,), (scores,) = Neighbours(store).beside(places, ("0500",), vector, 1_000)
    assert len(keys) == len(scores) == 1_000
    assert [key for (key,) in keys] == [f"{n:04}" for n in range(1_099, 98, -1) if n != 500]
