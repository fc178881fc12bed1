"""Hold some thousands of a table's rows at a time, as raw columns."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

ROWS = 32_768
CHUNK_BYTES = 200_000_000
"""How many rows are held at a time: fewer than `ROWS` where they are large."""
FIELD_BYTES = 60
"""What Python needs for a text beside its letters."""
_BLOCK = 64  # rows are measured so many at a time
Row = TypeVar("Row")


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Args:
        columns: their raw values, in the order of the table's names.
        lines: the number of each row's line.
        broken: lines that are no rows, and why.
    """

    columns: Sequence[NDArray[Any]]
    lines: NDArray[np.int64]
    broken: Mapping[int, str]


@dataclass(frozen=True)
class Table:
    """A table that is read once, from its first row to its last.

    Args:
        names: of its columns.
        chunks: its rows.
        unit: what the numbers of its rows count.
        metadata: what its schema says beside the columns, where it has one.
    """

    names: tuple[str, ...]
    chunks: Iterator[Chunk]
    unit: str = "line"
    metadata: Mapping[bytes, bytes] = field(default_factory=dict)


def in_chunks(
    rows: Iterable[Row], size_bytes: Callable[[Sequence[Row]], int]
) -> Iterator[list[Row]]:
    """Rows in lists of at most `ROWS` rows and some more than `CHUNK_BYTES`.

    Args:
        rows: of any kind.
        size_bytes: about how much memory some of them take.
    """
    begun = iter(rows)
    chunk: list[Row] = []
    size = 0
    while block := list(islice(begun, _BLOCK)):
        chunk += block
        size += size_bytes(block)
        if len(chunk) >= ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def rows_at_once(rows: int, size_bytes: int) -> int:
    """How many rows to hold at a time of a table of known size."""
    return max(1, min(ROWS, CHUNK_BYTES * rows // max(1, size_bytes)))
