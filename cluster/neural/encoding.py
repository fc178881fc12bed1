"""Encode a worker's rows in memory once, if batches of them equal batches encoded alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, concat, length, take
from cluster.contract.rows import Rows

if TYPE_CHECKING:
    from cluster.neural.task import NeuralTask  # whose `fit` runs the loop, which encodes

Encoded = tuple[Arrays, Arrays]
Task: TypeAlias = "NeuralTask[Any, Any, Any]"
Numbers = NDArray[np.int64]

PROBED_ROWS = 32


def resident(task: Task, rows: Rows) -> Callable[[Numbers], Encoded]:
    """Return a function from row numbers to their encoded batch, equal to encoding them alone.

    If all rows have one shape, or the task gives their lengths, every row is encoded now and a
    batch is cut to its longest row. Otherwise only `encode` knows the padding, so each batch is
    encoded when it is needed, as in a stream.
    """
    if _ragged(task, rows):
        whole = rows.whole()
        return lambda numbers: encode(task, take(whole, numbers))
    arrays, truth = encode_all(task, rows)
    lengths, of_truth = task.lengths(arrays), task.lengths(truth)
    return lambda numbers: (
        trim(take(arrays, numbers), take(lengths, numbers)),
        trim(take(truth, numbers), take(of_truth, numbers)),
    )


def encode(task: Task, batch: Batch) -> Encoded:
    """Rows and their truth as arrays."""
    return task.encode(batch), task.encode_truth(batch)


def encode_all(task: Task, rows: Rows, size: int = 4_096) -> Encoded:
    """Every row of the shard, encoded once; padded axes are made as long as the longest."""
    parts = [encode(task, batch) for batch in rows.batches(size)]
    return stack([arrays for arrays, _ in parts]), stack([truth for _, truth in parts])


def trim(arrays: Arrays, lengths: Arrays) -> Arrays:
    """Cut what lies behind the longest row of a batch, along the axes after the first.

    Args:
        arrays: `[n, ...]`.
        lengths: by the names of some of them, `[n]` along one axis or `[n, axes]`.
    """
    trimmed = dict(arrays)
    for name, each in lengths.items():
        longest = each.reshape(len(each), -1).max(axis=0, initial=1)
        trimmed[name] = trimmed[name][(slice(None), *map(slice, longest.tolist()))]
    return trimmed


def stack(parts: list[Arrays]) -> Arrays:
    """Concatenate encoded parts, padding with zeros where they differ in length."""
    if len(parts) == 1:
        return parts[0]
    padded = []
    longest = {name: np.max([part[name].shape for part in parts], axis=0) for name in parts[0]}
    for part in parts:
        padded.append({name: pad(array, longest[name]) for name, array in part.items()})
    return dict(concat(padded))


def pad(array: NDArray[Any], shape: NDArray[np.int64]) -> NDArray[Any]:
    """The array with zeros after it, its first axis left as it is."""
    room = [(0, 0), *((0, n - m) for n, m in zip(shape[1:], array.shape[1:], strict=True))]
    return np.pad(array, room)


def _ragged(task: Task, rows: Rows) -> bool:
    """Whether the shape of a row depends on its neighbours in a way that only `encode` knows."""
    if not rows.count or task.gives_lengths():
        return False
    if task.varying:
        return True
    places = np.linspace(0, rows.count, min(rows.count, PROBED_ROWS), endpoint=False)
    some = take(rows.whole(), places.astype(np.int64))
    together = _shapes(encode(task, some))
    alone = (take(some, slice(row, row + 1)) for row in range(length(some)))
    return any(_shapes(encode(task, row)) != together for row in alone)


def _shapes(encoded: Encoded) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, array.shape[1:]) for part in encoded for name, array in part.items()]
