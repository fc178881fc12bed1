"""Keep of each key the events that windows still need, packed as one value."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Self

import msgpack
import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.batch import Arrays, objects
from cluster.features.aggregates import Aggregate, Last, Since
from cluster.features.online.packing import (
    CREATED,
    TIME,
    Layout,
    Types,
    moments,
    sortable,
    types_of,
)
from cluster.features.view import View
from cluster.features.windows import Windows

Ints = NDArray[np.int64]
_HEAD = struct.Struct("<II")  # how many events, and how many bytes their ragged columns take
_KEY, _ID, _ROW, _NUMBER = "__key", "__id", "__row", "__number"
_KINDS = {"double": pl.Float64(), "int64": pl.Int64(), "string": pl.String()}


@dataclass(frozen=True)
class Kept:
    """Which events are kept for windows, and what of them.

    Args:
        types: the columns of the events that are looked at, and their Arrow types.
        within: how many microseconds back windows look.
        last: how many of the newest events are looked at, however old: at least one, which tells
            that there were any.
        every: whether all events are looked at.
    """

    types: Types
    within: int = 0
    last: int = 1
    every: bool = False

    @classmethod
    def of(cls, view: Windows) -> Self:
        """What the columns of a view look at; a narrowed view needs less."""
        used = [view.aggregates[name] for name in view.columns]
        lengths = [a.within // timedelta(microseconds=1) for a in used if a.within is not None]
        always = [a for a in used if a.within is None]
        types = types_of(view.event_columns)
        wanted = {a.column for a in used}
        return cls(
            {name: kind for name, kind in types.items() if name in wanted},
            max(lengths, default=0),
            max(map(_last, always), default=1),
            any(not isinstance(a, Last | Since) for a in always),
        )

    @classmethod
    def read(cls, declaration: str) -> Self:
        """What `declaration` wrote."""
        return cls(**json.loads(declaration))

    @property
    def declaration(self) -> str:
        """As a text, the same for the same."""
        held = {"types": dict(sorted(self.types.items())), "within": self.within}
        return json.dumps({**held, "last": self.last, "every": self.every})

    def covers(self, other: "Kept") -> bool:
        """Whether who needs the other finds all of it here."""
        deep = not other.every and self.within >= other.within and self.last >= other.last
        return (self.every or deep) and other.types.items() <= self.types.items()

    def joined(self, other: "Kept") -> "Kept":
        """What covers both; a column of two types has the other's."""
        return Kept(
            {**self.types, **other.types},
            max(self.within, other.within),
            max(self.last, other.last),
            self.every or other.every,
        )


Streams = Mapping[str, tuple[tuple[str, ...], Kept]]
"""By shelf the key that events are kept by, and what is kept of them."""


def shelf_of(over: View, key: Sequence[str]) -> str:
    """Where the events of a view by a part of their key are kept: once for all windows."""
    return f"{over.name}/{','.join(key)}"


def events_of(rows: pl.DataFrame, key: pl.Expr, own: pl.Expr, kept: Kept) -> pl.DataFrame:
    """Rows of the view of the events as they are merged.

    Args:
        rows: the columns that are looked at, `event_time` and `created` in microseconds.
        key: the text of the windows' key.
        own: the text of the events' own key.
        kept: what is kept of them.
    """
    return rows.select(
        key.alias(_KEY),
        own.alias(_ID),
        pl.col("event_time").alias(TIME),
        pl.col("created").alias(CREATED),
        *kept.types,
    )


def merged(
    kept: Kept,
    keys: Sequence[str],
    values: Sequence[bytes | None],
    events: pl.DataFrame,
    now: int,
) -> list[bytes]:
    """The events of some keys with others added.

    An event counts once: of those with the same own key and event time the one that was created
    last. Events that no window can need any more are left out: those that were too old when the
    newest one happened.

    Args:
        kept: what is kept.
        keys: `[n]`.
        values: `[n]`, the packed events of each key, or None.
        events: as `events_of` gives them, of these keys, in the order in which they came.
        now: the moment in microseconds; later events make no others too old.

    Returns:
        The packed events `[n]`.
    """
    order = pl.DataFrame({_KEY: pl.Series(keys, dtype=pl.String)}).with_row_index(_NUMBER)
    fresh = events.join(order, on=_KEY, how="inner", maintain_order="left").drop(_KEY)
    every = pl.concat([_held(kept, values).select(fresh.columns), fresh]).with_row_index(_ROW)
    every = every.sort(_NUMBER, TIME, CREATED, _ROW)
    live = every.filter(pl.struct(_NUMBER, TIME, _ID).is_last_distinct())
    if not kept.every:
        live = live.filter(_needed(kept, now))
    return _packed(kept, live, len(keys))


def read_events(
    layout: Layout, values: Sequence[bytes | None], columns: Sequence[str]
) -> tuple[Arrays, Ints]:
    """The events of some keys as the windows' kernel takes them.

    Args:
        layout: how they are packed.
        values: `[n]`, the packed events of each key, or None.
        columns: which columns are wanted beside `event_time`.

    Returns:
        The events' columns, and of each event the number of its key.
    """
    fixed, tails, numbers = _opened(layout, values, ids=False)
    events: Arrays = {"event_time": moments(fixed[TIME])}
    for name in columns:
        if name in layout.ragged:
            events[name] = objects(tails[layout.ragged.index(name)])
        else:
            events[name] = fixed[name].astype(fixed[name].dtype.newbyteorder("="))
    return events, numbers


def streams_of(views: Sequence[Windows]) -> Streams:
    """The events that some windows need: once for those over the same events by the same key."""
    found: dict[str, tuple[tuple[str, ...], Kept]] = {}
    for view in views:
        shelf, kept = shelf_of(view.over, view.key), Kept.of(view)
        found[shelf] = (view.key, found[shelf][1].joined(kept) if shelf in found else kept)
    return found


def keys_of(events: pl.DataFrame) -> list[str]:
    """The keys that `events_of` are about, each once, in order."""
    return events[_KEY].unique().sort().to_list()


def _last(aggregate: Aggregate) -> int:
    return aggregate.n if isinstance(aggregate, Last) else 1


def _needed(kept: Kept, now: int) -> pl.Expr:
    """Which of sorted events a window can still need."""
    past = pl.col(TIME) <= now
    newest = pl.col(TIME).filter(past).max().over(_NUMBER)
    later = past.sum().over(_NUMBER) - past.cum_sum().over(_NUMBER)
    return (~past) | (pl.col(TIME) > newest - kept.within) | (later < kept.last)


def _held(kept: Kept, values: Sequence[bytes | None]) -> pl.DataFrame:
    """Packed events as a frame."""
    layout = Layout(kept.types)
    fixed, (ids, *tails), numbers = _opened(layout, values, ids=True)
    columns: dict[str, Any] = {
        _ID: pl.Series(ids, dtype=pl.String),
        TIME: moments(fixed[TIME]).view(np.int64),
        CREATED: moments(fixed[CREATED]).view(np.int64),
    }
    for name, kind in kept.types.items():
        if name in layout.ragged:
            column = tails[layout.ragged.index(name)]
            columns[name] = pl.Series(column, dtype=_KINDS[kind])
        else:
            columns[name] = np.ascontiguousarray(fixed[name])
    return pl.DataFrame({**columns, _NUMBER: numbers.astype(np.uint32)})


def _opened(
    layout: Layout, values: Sequence[bytes | None], *, ids: bool
) -> tuple[NDArray[Any], list[list[Any]], Ints]:
    """The fixed parts and the ragged columns of packed events, and the number of each one's key.

    The events' own keys stand first among the ragged columns where they are wanted.
    """
    width = layout.record.itemsize
    heads: list[bytes | memoryview] = []
    tails: list[list[Any]] = [[] for _ in range(len(layout.ragged) + ids)]
    numbers, counts = [], []
    for number, value in enumerate(values):
        if value is None:
            continue
        count, size = _HEAD.unpack_from(value)
        view = memoryview(value)
        start = _HEAD.size + count * width
        heads.append(view[_HEAD.size : start])
        numbers.append(number)
        counts.append(count)
        if ids:
            tails[0] += msgpack.unpackb(view[start + size :])
        if layout.ragged:
            columns = msgpack.unpackb(view[start : start + size])
            for tail, column in zip(tails[ids:], columns, strict=True):
                tail.extend(column)
    fixed = np.frombuffer(b"".join(heads), layout.record)
    return fixed, tails, np.repeat(np.array(numbers, dtype=np.int64), counts)


def _packed(kept: Kept, live: pl.DataFrame, keys: int) -> list[bytes]:
    """Sorted events as one value for each key."""
    layout = Layout(kept.types)
    fixed = np.zeros(len(live), dtype=layout.record)
    fixed[TIME] = sortable(live[TIME].to_numpy())
    fixed[CREATED] = sortable(live[CREATED].to_numpy())
    for name in kept.types:
        if name not in layout.ragged:
            fixed[name] = live[name].to_numpy()
    raw, width = fixed.tobytes(), layout.record.itemsize
    ragged = [live[name].to_list() for name in layout.ragged]
    ids = live[_ID].to_list()
    bounds = np.searchsorted(live[_NUMBER].to_numpy(), np.arange(keys + 1)).tolist()
    values = []
    for start, end in pairwise(bounds):
        tail = msgpack.packb([column[start:end] for column in ragged]) if ragged else b""
        parts = (_HEAD.pack(end - start, len(tail)), raw[start * width : end * width], tail)
        values.append(b"".join((*parts, msgpack.packb(ids[start:end]))))
    return values
