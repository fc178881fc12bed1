"""Pack rows into bytes that are read back many at a time: numbers at fixed places, the rest behind.

A packed row is its event time and creation time, as bytes that sort like the moments; then the
numbers, moments and vectors, each at its place; then what has no fixed size, as one msgpack list.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.schema.column import Column, Time
from cluster.features.schema.view import View

TIME, CREATED = "__time", "__created"
ORDER_BYTES = 16
"""How many bytes at the start of a packed row say which of two counts: the larger ones."""
Ints = NDArray[np.int64]
Types = Mapping[str, str]
"""Columns and the names of their Arrow types."""

_FIXED = {"double": "<f8", "int64": "<i8", "timestamp[us, tz=UTC]": "<i8"}
_VECTOR = re.compile(r"fixed_size_list<\w+: float>\[(\d+)\]")
_SIGN = np.uint64(1 << 63)


def types_of(columns: Mapping[str, Column]) -> dict[str, str]:
    """Columns and the names of their types, as they are declared online."""
    return {name: str(column.arrow) for name, column in columns.items()}


class Layout:
    """Where each column stands in a packed row.

    Args:
        types: the packed columns.
    """

    def __init__(self, types: Types) -> None:
        self.types = dict(types)
        fixed: list[tuple[Any, ...]] = [(TIME, ">u8"), (CREATED, ">u8")]
        ragged: list[str] = []
        for name, kind in types.items():
            if vector := _VECTOR.fullmatch(kind):
                fixed.append((name, "<f4", (int(vector[1]),)))
            elif kind in _FIXED:
                fixed.append((name, _FIXED[kind]))
            else:
                ragged.append(name)
        self.record = np.dtype(fixed)
        self.ragged = tuple(ragged)

    def fixed(self, rows: pa.Table) -> NDArray[Any]:
        """The fixed part of rows `[n]`; they have `event_time` and `created` too."""
        made = np.zeros(rows.num_rows, dtype=self.record)
        made[TIME] = sortable(microseconds(rows["event_time"]))
        made[CREATED] = sortable(microseconds(rows["created"]))
        for name in self.types:
            if name not in self.ragged:
                made[name] = _plain(rows[name])
        return made

    def pack(self, rows: pa.Table) -> list[bytes]:
        """Rows `[n]` as bytes."""
        width, raw = self.record.itemsize, self.fixed(rows).tobytes()
        heads = [raw[start : start + width] for start in range(0, len(raw), width)]
        if not self.ragged:
            return heads
        columns = zip(*(rows[name].to_pylist() for name in self.ragged), strict=True)
        return [head + tail for head, tail in zip(heads, map(msgpack.packb, columns), strict=True)]


class Reader:
    """Reads packed rows as the columns of one view, which may have fewer than are packed.

    Args:
        view: whose columns are wanted.
        layout: how rows are packed.
    """

    def __init__(self, view: View, layout: Layout) -> None:
        self._view = view
        self._layout = layout
        self._blank = self._packed_blank()
        self._tails = bool(set(layout.ragged) & set(view.columns))

    def read(self, values: Sequence[bytes | None]) -> tuple[Arrays, NDArray[np.datetime64]]:
        """The view's columns `[n]`, defaults where there is no row, and the event times."""
        record = self._layout.record
        known: Sequence[Any] = values
        if None in values:
            known = [self._blank if value is None else value for value in values]
        heads = [value[: record.itemsize] for value in known] if self._layout.ragged else known
        fixed = np.frombuffer(b"".join(heads), record)
        ragged: dict[str, list[Any]] = {}
        if self._tails:
            tails = [msgpack.unpackb(memoryview(value)[record.itemsize :]) for value in known]
            ragged = {
                name: [tail[place] for tail in tails]
                for place, name in enumerate(self._layout.ragged)
            }
        columns: Arrays = {}
        for name, column in self._view.columns.items():
            if name in ragged:
                columns[name] = self._loose(name, column, ragged[name])
            elif isinstance(column, Time):
                columns[name] = fixed[name].astype(np.int64).view("M8[us]")
            else:
                columns[name] = fixed[name].astype(column.dtype)
        return columns, moments(fixed[TIME])

    def _loose(self, name: str, column: Column, values: list[Any]) -> NDArray[Any]:
        if _is_plain(column):
            return objects(values)
        made = objects(values)
        held = [row for row, value in enumerate(values) if value is not None]
        there = column.unpack(pa.array([values[row] for row in held], type=column.arrow))
        for row, value in zip(held, there, strict=True):
            made[row] = value
        for row in sorted(set(range(len(values))) - set(held)):
            made[row] = self._view.empty(name)
        return made

    def _packed_blank(self) -> bytes:
        """A row of defaults; what a type decodes for itself is none, and filled in later."""
        record, tail = np.zeros(1, dtype=self._layout.record), []
        record[[TIME, CREATED]] = _SIGN  # the moment 0
        for name in self._view.columns:
            if name not in self._layout.ragged:
                empty = self._view.empty(name)
                moment = isinstance(empty, np.datetime64)
                record[name] = empty.astype("M8[us]").astype(np.int64) if moment else empty
        for name in self._layout.ragged:
            column = self._view.columns.get(name)
            plain = column is not None and _is_plain(column)
            tail.append(self._view.empty(name) if plain else None)
        return record.tobytes() + (msgpack.packb(tail) if tail else b"")


def key_texts(view: str, names: Sequence[str], keys: Batch) -> list[str]:
    """Each row's key as one text.

    Raises:
        InvalidInput: a column of it is not there, or a key is empty or no text.
    """
    columns = [_texts(view, name, keys) for name in names]
    if len(columns) == 1:
        return columns[0]
    *first, last = columns
    parts = [[f"{len(word)}:{word}" for word in column] for column in first]
    return ["".join(row) for row in zip(*parts, last, strict=True)]


def key_text(names: Sequence[str]) -> pl.Expr:
    """The same for the rows of a frame."""
    *first, last = (pl.col(name) for name in names)
    if not first:
        return last
    sizes = [pl.concat_str(part.str.len_chars(), pl.lit(":"), part) for part in first]
    return pl.concat_str(*sizes, last)


def sortable(times: Ints) -> NDArray[np.uint64]:
    """Microseconds as numbers whose bytes, the highest first, sort like the moments."""
    return times.view(np.uint64) ^ _SIGN


def moments(packed: NDArray[Any]) -> NDArray[np.datetime64]:
    """What `sortable` made, as moments."""
    return (packed.astype(np.uint64) ^ _SIGN).view("M8[us]")


def microseconds(times: pa.Array | pa.ChunkedArray) -> Ints:
    """Arrow timestamps as microseconds since 1970."""
    found: Ints = times.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def _is_plain(column: Column) -> bool:
    """Whether msgpack gives back what the column holds in memory."""
    return bool(pa.types.is_string(column.arrow) or pa.types.is_list(column.arrow))


def _plain(values: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(values.type):
        flat = [chunk.flatten().to_numpy() for chunk in values.chunks]
        rows: NDArray[Any] = np.concatenate(flat) if flat else np.zeros(0, np.float32)
        return rows.reshape(-1, values.type.list_size)
    if pa.types.is_timestamp(values.type):
        return microseconds(values)
    plain: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return plain


def _texts(view: str, name: str, keys: Batch) -> list[str]:
    if name not in keys:
        raise InvalidInput(
            f"View {view!r} is looked up by {name!r}, which the keys lack.",
            hint=f"They have {', '.join(keys)}." if keys else "",
        )
    words: list[str] = keys[name].tolist()
    try:
        "".join(words).encode()
    except TypeError:
        other = next(word for word in words if not isinstance(word, str))
        raise InvalidInput(
            f"The key {name} {other!r} is no text.", hint="Send keys as text."
        ) from None
    except UnicodeEncodeError:
        raise InvalidInput(f"A key {name} is not valid UTF-8.") from None
    if "" in words:
        raise InvalidInput(
            f"The key {name} in row {words.index('')} is empty.", hint="Leave such rows out."
        )
    return words
