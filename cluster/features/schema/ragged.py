"""Columns of many values a row: lists of texts or numbers, and vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import objects
from cluster.features.schema.column import Column, Faults, Number
from cluster.features.schema.raw import (
    narrowed,
    not_finite,
    unwritable,
)


@dataclass(frozen=True)
class Texts(Column):
    """A list of strings per row. In memory an object array of `list[str]`."""

    arrow = pa.list_(pa.string())
    dtype = object
    measure = "length"

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Lists of words, or one text with `|` between them, as in flat files."""
        lists, faults = [], {}
        for row, value in enumerate(values):
            parts = value.split("|") if isinstance(value, str) else value
            if parts is None:
                parts = []
            if not isinstance(parts, list | tuple | np.ndarray):
                faults[row] = f"is a {type(value).__name__}, not a list of words"
                parts = []
            words = [word.strip() for word in map(str, parts)]
            lists.append([word for word in words if word])
            if broken := unwritable(lists[-1]):
                faults[row] = next(iter(broken.values()))
                lists[-1] = []
        return objects(lists), faults

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Arrow lists to an object array of Python lists."""
        return objects(values.to_pylist())

    def size_bytes(self, packed: pa.Array) -> int:
        """The characters, and what Python takes for the strings and the lists."""
        return int(packed.nbytes) + 57 * len(packed.flatten()) + 64 * len(packed)


@dataclass(frozen=True)
class Numbers(Column):
    """A list of finite numbers per row. In memory an object array of `list[float]`."""

    arrow = pa.list_(pa.float64())
    dtype = object
    measure = "length"

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Lists of what reads as a number."""
        lists, faults = [], {}
        for row, value in enumerate(values):
            parts = [] if value is None else value
            if not isinstance(parts, list | tuple | np.ndarray):
                faults[row] = f"is a {type(value).__name__}, not a list of numbers"
                parts = []
            numbers, bad = Number().admit(objects(parts))
            if bad:
                faults[row] = f"has a value that {next(iter(bad.values()))}"
            lists.append(numbers.tolist())
        return objects(lists), faults

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Arrow lists to an object array of Python lists."""
        return objects(values.to_pylist())


@dataclass(frozen=True)
class Vector(Column):
    """A vector of 32-bit floats, finite and of one size. In memory a float32 array `[n, size]`.

    Args:
        size: how many numbers each has.
    """

    size: int
    dtype = np.float32
    measure = "norm"

    @property
    def arrow(self) -> pa.DataType:
        """Fixed-size lists of 32-bit floats."""
        return pa.list_(pa.float32(), self.size)

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Lists and arrays of finite numbers, as many as the size says."""
        rows, faults = np.zeros((len(values), self.size), np.float32), {}
        if values.ndim == 2 and values.shape[1] == self.size and values.dtype.kind in "fiu":
            rows = narrowed(values)
        else:
            for row, value in enumerate(values):
                if reason := self._fault(value):
                    faults[row] = reason
                else:
                    rows[row] = narrowed(np.asarray(value))
        for row in np.flatnonzero(~np.isfinite(rows).all(axis=1)).tolist():
            place = int(np.flatnonzero(~np.isfinite(rows[row]))[0])
            faults[row] = f"holds {values[row][place]}, not a finite 32-bit number"
        return rows, faults

    def empty(self) -> Any:
        """Zeros."""
        return np.zeros(self.size, np.float32)

    def pack(self, values: NDArray[Any]) -> pa.Array:
        """Memory to rest: float32 `[n, size]` to Arrow `[n]`."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=self.arrow)

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Rest to memory: Arrow `[n]` to float32 `[n, size]`."""
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        flat = [chunk.flatten().to_numpy() for chunk in chunks]
        rows: NDArray[Any] = np.concatenate(flat) if flat else np.zeros(0, np.float32)
        return rows.reshape(-1, self.size)

    def _fault(self, value: object) -> str:
        """Why a raw value is no vector of this size, but for what an array holds."""
        if not isinstance(value, list | tuple | np.ndarray):
            return "is missing" if value is None else f"is a {type(value).__name__}, not a vector"
        if isinstance(value, np.ndarray) and value.ndim != 1:
            return f"has {value.ndim} axes, not one"
        if len(value) != self.size:
            return f"has {len(value)} numbers, not {self.size}"
        plain = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
        return "" if plain else next(filter(None, map(not_finite, value)), "")
