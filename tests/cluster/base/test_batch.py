"""Rows as columns: ragged ones stay ragged, and nothing is lost on the way."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import (
    Arrays,
    chunks,
    concat,
    length,
    load_arrays,
    objects,
    save_arrays,
    shuffle,
    take,
    without,
)


def test_pictures_of_one_size_stay_one_object_each() -> None:
    column = objects([np.zeros((2, 2, 1), np.uint8)] * 3)
    assert column.shape == (3,)
    assert column[0].shape == (2, 2, 1)


def test_lists_of_one_length_do_not_become_a_matrix() -> None:
    assert objects([["a", "b"], ["c", "d"]]).shape == (2,)
    assert objects([]).shape == (0,)


def test_a_batch_without_columns_has_no_rows() -> None:
    assert length({}) == 0
    assert list(chunks({}, 3)) == []
    assert concat([]) == {}


@given(count=st.integers(0, 40), size=st.integers(1, 50))
def test_chunks_hold_every_row_once_and_in_order(count: int, size: int) -> None:
    batch = {"n": np.arange(count), "word": objects(map(str, range(count)))}
    parts = list(chunks(batch, size))
    assert all(length(part) == size for part in parts[:-1])
    assert all(0 < length(part) <= size for part in parts)
    assert [n for part in parts for n in part["n"]] == list(range(count))
    assert [word for part in parts for word in part["word"]] == batch["word"].tolist()


def test_rows_are_taken_by_number_mask_or_slice() -> None:
    batch = {"n": np.arange(5)}
    assert take(batch, [3, 0])["n"].tolist() == [3, 0]
    assert take(batch, batch["n"] > 2)["n"].tolist() == [3, 4]
    assert take(batch, slice(1, 3))["n"].tolist() == [1, 2]


def test_hidden_columns_are_gone_and_the_batch_itself_is_as_it_was() -> None:
    batch = {"x": np.arange(2), "label": objects(["a", "b"])}
    assert list(without(batch, ("label", "never there"))) == ["x"]
    assert list(batch) == ["x", "label"]


def test_a_seed_decides_the_order_and_every_number_is_in_it() -> None:
    assert shuffle(20, seed=1).tolist() == shuffle(20, seed=1).tolist()
    assert shuffle(20, seed=1).tolist() != shuffle(20, seed=2).tolist()
    assert sorted(shuffle(20, seed=1)) == list(range(20))


def test_arrays_come_back_as_they_were_whatever_their_order_in_memory(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays: Arrays = {"turned": matrix.T, "strided": np.arange(10)[::3], "none": np.zeros((0, 4))}
    save_arrays(arrays, tmp_path / "arrays.safetensors")
    found = load_arrays(tmp_path / "arrays.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
