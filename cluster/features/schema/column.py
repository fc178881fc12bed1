"""Say what one column of a view holds: raw, in memory and at rest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import objects
from cluster.features.schema.raw import (
    exact_below,
    exact_whole,
    gone,
    key_text,
    read_numbers,
    truths,
    unwritable,
    word,
)
from cluster.features.schema.times import read_times

Faults = dict[int, str]
"""Why a value was not let in, by row: a predicate that follows the column's name."""
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
"""What sources call their parts, and what we call them."""
WORD_CHARACTERS = 40  # longer ones on average are texts, of which the length alone is measured


@dataclass(frozen=True)
class Column:
    """The type of a column. In memory it is a NumPy array; at rest it is an Arrow array."""

    arrow: ClassVar[pa.DataType]
    dtype: ClassVar[type]
    compression: ClassVar[str] = "zstd"
    measure: ClassVar[str] = ""

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Raw to memory: whatever a source gave `[n]` to NumPy `[n]`, and per bad row the reason.

        What stands in a bad row is not defined.
        """
        raise NotImplementedError(f"{type(self).__name__} says how raw values are let in.")

    def pack(self, values: NDArray[Any]) -> pa.Array:
        """Memory to rest: NumPy `[n]` to Arrow `[n]`."""
        return pa.array(values, type=self.arrow)

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Rest to memory: Arrow `[n]` to NumPy `[n]`."""
        plain: NDArray[Any] = values.to_numpy(zero_copy_only=False).astype(self.dtype, copy=False)
        return plain

    def size_bytes(self, packed: pa.Array) -> int:
        """How much memory the values take once unpacked."""
        return int(packed.nbytes)

    def to_json(self, values: NDArray[Any]) -> list[Any]:
        """Memory to JSON: a value for each row; arrays among them are left for orjson."""
        return list(values) if values.ndim > 1 else values.tolist()

    def from_json(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """JSON to raw, for `admit` to judge: `[n]`, and per bad row the reason."""
        return values, {}

    def example(self, value: Any) -> Any:
        """A value of memory as JSON that is short enough for documentation."""
        return self.to_json(objects([value]))[0]

    def drift_measure(self, values: NDArray[Any]) -> str:
        """Which of `drift.MEASURES` is taken of each value, for its drift; by default `measure`.

        Args:
            values: of the training rows, at least one.
        """
        del values
        return self.measure

    def gap(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Which values `[n]` are missing; None for a column that refuses rows without a value."""
        del values
        return None

    def empty(self) -> Any:
        """The value that stands where nothing is known."""
        if pa.types.is_list(self.arrow):
            return []
        return "" if pa.types.is_string(self.arrow) else np.zeros((), self.dtype)[()]


@dataclass(frozen=True)
class Text(Column):
    """A string: words, a label, an id. In memory an object array of `str`.

    Args:
        blank: whether it may be empty.
    """

    blank: bool = False
    arrow = pa.string()
    dtype = object

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Strings as they are; whole numbers as their digits, since ids are often numbers."""
        # the digits of a 32-bit float are those of its own size: 4.1, not 4.099999904632568
        narrow = values.dtype.kind == "f" and values.dtype.itemsize < 8
        raw = list(values) if narrow else values.tolist()
        words = [value if type(value) is str else word(value) for value in raw]
        faults: Faults = {}
        for row, text in enumerate(words):
            if text is None:
                faults[row] = f"is a {type(values[row]).__name__}, not text"
                words[row] = ""
            elif not self.blank and not text.strip():
                faults[row] = "is empty"
        for row, fault in unwritable(words).items():
            faults[row] = fault
            words[row] = ""
        return objects(words), faults

    def drift_measure(self, values: NDArray[Any]) -> str:
        """Which word, of short ones that come again; else the number of characters."""
        few = len(set(values)) * 2 <= len(values)
        short = sum(map(len, values)) <= WORD_CHARACTERS * len(values)
        return "word" if few and short else "characters"

    def size_bytes(self, packed: pa.Array) -> int:
        """The characters, and what Python takes for a string and a pointer to it."""
        return int(packed.nbytes) + 57 * len(packed)


@dataclass(frozen=True)
class Key(Text):
    """A part of a key: an id, as text of at most `KEY_CHARACTERS`."""

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Each as `key_text` reads it, the same at every door."""
        below = exact_below(values.dtype)
        read = [key_text(value, exact_below=below) for value in values.tolist()]
        faults = {row: fault for row, (_, fault) in enumerate(read) if fault}
        return objects(text for text, _ in read), faults


@dataclass(frozen=True)
class Split(Column):
    """The part of the data that its source puts a row in: train, valid, test, or nothing."""

    arrow = pa.string()
    dtype = object

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Any of the usual words for a part, as ours."""
        words = ["" if value is None else str(value).strip().lower() for value in values.tolist()]
        known = {**SPLITS, "": ""}
        faults = {
            row: f"{word[:40]!r} is none of train, valid, test"
            for row, word in enumerate(words)
            if word not in known
        }
        return objects(known.get(word, "") for word in words), faults

    def size_bytes(self, packed: pa.Array) -> int:
        """A pointer a row: the three words stand in memory once."""
        return 8 * len(packed)


@dataclass(frozen=True, repr=False)
class Number(Column):
    """A 64-bit float.

    Args:
        gaps: whether nothing, "" and NaN are a gap, stored as NaN; a model is asked zero there.
    """

    gaps: bool = False
    arrow = pa.float64()
    dtype = np.float64
    measure = "value"

    def __repr__(self) -> str:
        """As it is declared: the definition of a view without gaps is that of earlier releases."""
        return "Number(gaps=True)" if self.gaps else "Number()"

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Numbers and text that reads as one; NaN and infinity are no numbers."""
        faults: Faults = truths(values)
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            numbers, bad = read_numbers(values)
            faults = bad | faults
        for row in np.flatnonzero(~np.isfinite(numbers)).tolist():
            missing = values[row] is None
            faults.setdefault(
                row, "is missing" if missing else f"is {numbers[row]}, not a finite number"
            )
        for row in [row for row in faults if self.gaps and gone(values[row])]:
            numbers[row] = np.nan
            del faults[row]
        return numbers, faults

    def gap(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where NaN stands."""
        return np.isnan(values) if self.gaps else None

    def empty(self) -> Any:
        """Zero, or a gap where there may be some."""
        return np.float64(np.nan if self.gaps else 0)


@dataclass(frozen=True)
class Whole(Column):
    """A 64-bit integer."""

    arrow = pa.int64()
    dtype = np.int64
    measure = "value"

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Integers, and numbers or text without a fraction."""
        numbers, faults = Number().admit(values)
        whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (abs(numbers) < 2**63)
        for row in np.flatnonzero(~whole).tolist():
            faults.setdefault(row, f"is {values[row]!r}, not a 64-bit integer")
        if values.dtype.kind in "iu":
            return values.astype(np.int64), faults
        # Python reads digits that a float would round.
        exact = np.zeros(len(values), dtype=np.int64)
        for row in np.flatnonzero(whole).tolist():
            exact[row] = 0 if row in faults else exact_whole(values[row])
        return exact, faults


@dataclass(frozen=True)
class Time(Column):
    """A moment in UTC, to the microsecond. In memory `datetime64[us]`.

    Args:
        zone: where raw times that name no zone were written; empty to refuse them.
    """

    zone: str = ""
    arrow = pa.timestamp("us", tz="UTC")
    dtype = np.datetime64

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """Unix time, ISO 8601 with a zone, or `datetime64`, which is UTC."""
        return read_times(values, self.zone)

    def to_json(self, values: NDArray[Any]) -> list[Any]:
        """ISO 8601 in UTC."""
        return list(np.datetime_as_string(values.astype("M8[us]"), timezone="UTC"))

    def empty(self) -> Any:
        """The epoch."""
        return np.datetime64(0, "us")

    def unpack(self, values: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
        """Arrow timestamps to `datetime64[us]`, which has no zone: it is UTC by definition."""
        plain: NDArray[Any] = values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
        return plain


ALWAYS = np.datetime64(0, "us")
"""The event time of rows that come without one: they are taken to have held always."""


def times(values: Sequence[object]) -> NDArray[Any]:
    """Event times as the store keeps them: `datetime64[us]`, UTC."""
    return np.asarray(values, dtype="datetime64[us]")
