"""Hold some thousands of a table's rows at a time, as raw columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 32_768  # held at a time


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
    """The names of a table's columns, its rows in chunks, and what its numbers count."""

    names: tuple[str, ...]
    chunks: Iterator[Chunk]
    unit: str = "line"
