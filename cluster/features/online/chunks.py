"""Pack the events of a key in chunks of neighbours in time, so that a push rewrites one of them.

The newest chunk stands in the key's value, behind a head that names the older ones by the time of
their last event; those are the parts in which the value goes on. Most keys have one chunk.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import msgpack
import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Arrays
from cluster.features.online.keeper import COUNT_BYTES, NAME_BYTES, Got
from cluster.features.online.packing import TIME, Layout, moments

Ints = NDArray[np.int64]
Chunk = bytes | memoryview
_SIZES = struct.Struct("<II")  # how many events, and how many bytes their ragged columns take
_COUNT, _NAME = np.dtype("<u4"), np.dtype(">u8")


@dataclass(frozen=True)
class Head:
    """What the value of a key begins with.

    Attributes:
        names: `[n]`, the sortable time of the last event of each older chunk, rising.
        counts: `[n]`, how many events each has.
        writes: how often the value was written, so that no two states of it are equal.
    """

    names: NDArray[np.uint64]
    counts: NDArray[np.int64]
    writes: int

    @classmethod
    def of(cls, value: bytes) -> Self:
        """What a value begins with."""
        count = int.from_bytes(value[:COUNT_BYTES], "little")
        names = np.frombuffer(value, _NAME, count, COUNT_BYTES)
        counts = np.frombuffer(value, _COUNT, count + 1, COUNT_BYTES + names.nbytes)
        return cls(names.astype(np.uint64), counts[:-1].astype(np.int64), int(counts[-1]))

    @property
    def packed(self) -> bytes:
        """As bytes: the names come first, as `keeper.parts_of` reads them."""
        count = len(self.names).to_bytes(COUNT_BYTES, "little")
        writes = (self.writes % 2 ** (8 * COUNT_BYTES)).to_bytes(COUNT_BYTES, "little")
        names = self.names.astype(_NAME).tobytes()
        return b"".join((count, names, self.counts.astype(_COUNT).tobytes(), writes))

    def renewed(
        self, without: NDArray[np.bool_], names: NDArray[np.uint64], counts: Ints
    ) -> "Head":
        """The next one, without some of the chunks and with others."""
        every = np.concatenate([self.names[~without], names])
        order = np.argsort(every)
        held = np.concatenate([self.counts[~without], counts])
        return Head(every[order], held[order], self.writes + 1)

    def without(self, oldest: int) -> "Head":
        """The same without some of the oldest chunks."""
        return Head(self.names[oldest:], self.counts[oldest:], self.writes)


NO_HEAD = Head(np.zeros(0, np.uint64), np.zeros(0, np.int64), 0)


@dataclass(frozen=True)
class Events:
    """Some events, as they are packed.

    Attributes:
        group: `[n]`, of each the number of its key.
        fixed: `[n]`, what has a fixed size: records of the layout.
        ragged: each `[n]`, the columns that have none, then the events' own keys.
    """

    group: Ints
    fixed: NDArray[Any]
    ragged: Sequence[NDArray[Any]]

    @property
    def times(self) -> Ints:
        """When they happened, in microseconds."""
        return moments(self.fixed[TIME]).view(np.int64)

    def take(self, rows: Ints | NDArray[np.bool_]) -> "Events":
        """Some of them, in that order."""
        ragged = [column[rows] for column in self.ragged]
        return Events(self.group[rows], self.fixed[rows], ragged)

    def then(self, others: "Events") -> "Events":
        """These, and others behind them."""
        pairs = zip(self.ragged, others.ragged, strict=True)
        return Events(
            np.concatenate([self.group, others.group]),
            np.concatenate([self.fixed, others.fixed], dtype=self.fixed.dtype),  # big-endian stays
            [np.concatenate(pair) for pair in pairs],
        )


def newest_chunk(value: bytes) -> memoryview:
    """The chunk that stands in the value of a key."""
    parts = int.from_bytes(value[:COUNT_BYTES], "little")
    return memoryview(value)[2 * COUNT_BYTES + parts * (NAME_BYTES + COUNT_BYTES) :]


def read_events(layout: Layout, got: Got, columns: Sequence[str]) -> tuple[Arrays, Ints]:
    """The events of some keys as the windows' kernel takes them.

    Args:
        layout: how they are packed.
        got: the values of the keys, and their parts.
        columns: which columns are wanted beside `event_time`.

    Returns:
        The events' columns, those of each key by time, and of each event the number of its key.
    """
    events = unpacked(layout, list(_chunks(got)), len(layout.ragged))
    made: Arrays = {"event_time": moments(events.fixed[TIME])}
    for name in columns:
        if name in layout.ragged:
            made[name] = events.ragged[layout.ragged.index(name)]
        else:
            column = events.fixed[name]
            made[name] = column.astype(column.dtype.newbyteorder("="))
    return made, events.group


def unpacked(layout: Layout, chunks: Sequence[tuple[int, Chunk]], ragged: int) -> Events:
    """The events of chunks.

    Args:
        layout: how they are packed.
        chunks: of each the number of its key, and itself.
        ragged: how many ragged columns are read: all but the last are the events' own keys.
    """
    width = layout.record.itemsize
    fixed: list[Chunk] = []
    columns: list[list[Any]] = [[] for _ in range(ragged)]
    counts = []
    for _, chunk in chunks:
        count, size = _SIZES.unpack_from(chunk)
        start = _SIZES.size + count * width
        fixed.append(chunk[_SIZES.size : start])
        counts.append(count)
        read = msgpack.unpackb(chunk[start : start + size]) if layout.ragged else []
        if ragged > len(layout.ragged):
            read.append(msgpack.unpackb(chunk[start + size :]))
        for column, values in zip(columns, read, strict=True):
            column.extend(values)
    numbers = np.array([number for number, _ in chunks], dtype=np.int64)
    return Events(
        np.repeat(numbers, counts),
        np.frombuffer(b"".join(fixed), layout.record),
        [np.array(column, dtype=object) for column in columns],
    )


def packed(layout: Layout, events: Events, bounds: Sequence[int]) -> list[bytes]:
    """Chunks of events that are sorted, each from one bound to the next."""
    raw, width = events.fixed.tobytes(), layout.record.itemsize
    *ragged, ids = (column.tolist() for column in events.ragged)
    chunks = []
    for start, end in pairwise(bounds):
        tail = msgpack.packb([column[start:end] for column in ragged]) if ragged else b""
        sizes = _SIZES.pack(end - start, len(tail))
        body = raw[start * width : end * width]
        chunks.append(b"".join((sizes, body, tail, msgpack.packb(ids[start:end]))))
    return chunks


def _chunks(got: Got) -> Iterator[tuple[int, Chunk]]:
    """All chunks of each value that there is, the older ones first."""
    for number, value in enumerate(got.values):
        if value is not None:
            for part in got.parts.get(number, ()):
                yield number, part
            yield number, newest_chunk(value)
