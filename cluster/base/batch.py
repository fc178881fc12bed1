"""Hold rows as named NumPy columns: the one shape of data everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Batch = Mapping[str, NDArray[Any]]
"""Columns by name, the rows along the first axis. Ragged columns (pictures of many sizes, lists)
are one-dimensional object arrays; a missing value is a mask column of its own, not a NaN."""
Arrays = dict[str, NDArray[Any]]
"""What `encode` gives and a network takes: dense, numeric, the rows along the first axis."""


def objects(values: Iterable[object]) -> NDArray[Any]:
    """A one-dimensional object array with one element per value.

    `np.array` guesses: it makes three pictures of one size a four-dimensional array, and lists of
    one length a matrix. This never guesses.
    """
    items = list(values)
    column = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        column[row] = item
    return column


def length(batch: Batch) -> int:
    """How many rows a batch has; a batch without columns has none."""
    return len(next(iter(batch.values()), ()))


def take(batch: Batch, rows: Any) -> dict[str, NDArray[Any]]:
    """The rows that an index array, a mask or a slice picks, in its order."""
    return {name: column[rows] for name, column in batch.items()}


def concat(batches: Sequence[Batch]) -> dict[str, NDArray[Any]]:
    """All rows of all batches, which have the same columns, in their order."""
    if not batches:
        return {}
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def without(batch: Batch, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """The batch less some columns: how the truth is hidden from `predict`."""
    hidden = set(names)
    return {name: column for name, column in batch.items() if name not in hidden}


def chunks(batch: Batch, size: int) -> Iterable[dict[str, NDArray[Any]]]:
    """The batch in pieces of `size` rows, the last one shorter."""
    for start in range(0, length(batch), size):
        yield take(batch, slice(start, start + size))


def shuffle(count: int, *, seed: int) -> NDArray[np.int64]:
    """The numbers below `count` in an order that the seed decides."""
    return np.random.default_rng(seed).permutation(count)


def numbered(column: NDArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct words of a column in order, and which of them each row has `[n]`.

    As `np.unique(column.astype(str), return_inverse=True)`, which takes memory for the longest
    word in every row and loses NULs at the end of words.
    """
    coded = pa.array(map(str, column.tolist()), pa.string(), size=len(column)).dictionary_encode()
    words = objects(coded.dictionary.to_pylist())
    order = np.argsort(words)
    place = np.empty(len(words), np.int64)
    place[order] = np.arange(len(words))
    return words[order].tolist(), place[np.asarray(coded.indices)]


def save_arrays(arrays: Batch, path: Path) -> None:
    """Write arrays to a safetensors file; it keeps no memory order, so they are made C-ordered."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def load_arrays(path: Path) -> Arrays:
    """Read what `save_arrays` wrote."""
    return dict(load_file(path))
