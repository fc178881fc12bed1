"""Add events to those that are kept of their keys, and drop what no window can need any more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.features.online.chunks import (
    NO_HEAD,
    Chunk,
    Events,
    Head,
    Ints,
    newest_chunk,
    packed,
    unpacked,
)
from cluster.features.online.events import Retention
from cluster.features.online.keeper import NAME_BYTES, Value, part_key, parts_of
from cluster.features.online.packing import CREATED, Layout, moments, sortable

CHUNK = 256
"""How many events are cut off a chunk that has more than twice as many."""


@dataclass(frozen=True)
class Merging:
    """Events on their way to the keys that they are about: a `keeper.Merger`.

    An event counts once: of those with the same own key and event time the one that was created
    last, of those the one that came last. They are in one chunk, as are all events of one time.

    Attributes:
        kept: what is kept of each key.
        keys: the keys, each once.
        fresh: the events by key, those of one in the order in which they came.
        now: the moment in microseconds; later events make no others too old.
    """

    kept: Retention
    keys: Sequence[str]
    fresh: Events
    now: int

    @classmethod
    def of(cls, kept: Retention, rows: pa.Table, keys: pl.Series, own: pl.Series, now: int) -> Self:
        """Of rows of the view of the events.

        Args:
            kept: what is kept.
            rows: `[n]`, the columns that are looked at, `event_time` and `created`.
            keys: `[n]`, of each the text of the windows' key.
            own: `[n]`, of each the text of its own key.
            now: the moment in microseconds.
        """
        layout, texts = Layout(kept.types), keys.to_list()
        known = sorted(set(texts))
        number = {key: place for place, key in enumerate(known)}
        group = np.array([number[key] for key in texts], dtype=np.int64)
        ragged = [rows[name].to_numpy() for name in layout.ragged]
        fresh = Events(group, layout.fixed(rows), [*ragged, own.to_numpy()])
        return cls(kept, known, fresh.take(np.argsort(group, kind="stable")), now)

    def touched(self, keys: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
        """The older chunks in whose time events happened."""
        found: list[bytes] = []
        for key, value in zip(keys, values, strict=True):
            if value is not None and (names := parts_of(key, value)):
                place = self._place[key]
                start, end = np.searchsorted(self.fresh.group, [place, place + 1])
                happened = sortable(self._times[start:end])
                into = np.unique(np.searchsorted(Head.of(value).names, happened))
                found += [names[part] for part in into.tolist() if part < len(names)]
        return found

    def merged(
        self,
        keys: Sequence[str],
        values: Sequence[bytes | None],
        parts: Mapping[bytes, bytes],
    ) -> list[Value]:
        """What is there and what is new, less what was replaced or is too old."""
        layout = Layout(self.kept.types)
        olds = [_Old.of(key, value, parts) for key, value in zip(keys, values, strict=True)]
        chunks = [(number, chunk) for number, old in enumerate(olds) for chunk in old.read]
        held = unpacked(layout, chunks, len(layout.ragged) + 1)
        events = self._counting(held.then(self._about(keys)))
        times, bounds = events.times, np.searchsorted(events.group, np.arange(len(keys) + 1))
        cuts = [
            [*_cuts(times, start, end, old.ends), end]
            for old, (start, end) in zip(olds, pairwise(bounds.tolist()), strict=True)
        ]
        begins = [place for some in cuts for place in some[:-1]]
        made = iter(packed(layout, events, [*begins, len(times)]))
        return [
            self._value(old, times, some, [next(made) for _ in some[:-1]])
            for old, some in zip(olds, cuts, strict=True)
        ]

    @cached_property
    def _place(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.keys)}

    @cached_property
    def _times(self) -> Ints:
        return self.fresh.times

    def _about(self, keys: Sequence[str]) -> Events:
        """The new events of some of the keys, which get numbers of their own."""
        if len(keys) == len(self.keys):
            return self.fresh
        number = np.full(len(self.keys), -1)
        number[[self._place[key] for key in keys]] = np.arange(len(keys))
        group = number[self.fresh.group]
        some = self.fresh.take(group >= 0)
        return Events(group[group >= 0], some.fixed, some.ragged)

    def _counting(self, events: Events) -> Events:
        """Those that count and can still be needed, by key and time."""
        created = moments(events.fixed[CREATED]).view(np.int64)
        events = events.take(np.lexsort((created, events.times, events.group)))
        events = events.take(_not_replaced(events))
        return events if self.kept.every else events.take(self._needed(events))

    def _needed(self, events: Events) -> NDArray[np.bool_]:
        """Which a window can still need, as far as these tell: older chunks may not be here."""
        times = events.times
        past, place = times <= self.now, np.arange(len(times))
        first = np.flatnonzero(np.diff(events.group, prepend=-1))
        passed = np.add.reduceat(past, first, dtype=np.int64)  # of each key
        newest = np.where(passed > 0, times[first + passed - 1], self.now)
        lengths = np.diff(first, append=len(times))
        later = np.repeat(first + passed, lengths) - place - 1
        young = times > np.repeat(newest, lengths) - self.kept.within
        needed: NDArray[np.bool_] = ~past | young | (later < self.kept.last)
        return needed

    def _value(self, old: "_Old", times: Ints, cuts: list[int], chunks: list[bytes]) -> Value:
        """The value of a key of which some chunks were made anew, the newest among them."""
        *older, newest = chunks
        if not older and not old.parts:  # as of nearly all keys
            return Value(Head(old.head.names, old.head.counts, old.head.writes + 1).packed + newest)
        names = sortable(times[np.array(cuts[1:-1], dtype=np.int64) - 1])
        head = old.head.renewed(old.is_read, names, np.diff(cuts[:-1]))
        if not self.kept.every:
            head = head.without(self._needless(head, times[cuts[-2] : cuts[-1]]))
        whole = head.packed + newest
        after = set(parts_of(old.key, whole))
        written = {
            part_key(old.key, int(name).to_bytes(NAME_BYTES)): chunk
            for name, chunk in zip(names.tolist(), older, strict=True)
        }
        return Value(
            whole,
            {name: chunk for name, chunk in written.items() if name in after},
            [name for name in old.parts if name not in after],
        )

    def _needless(self, head: Head, newest: Ints) -> int:
        """How many of the oldest chunks no window needs any more.

        Args:
            head: the older chunks.
            newest: the times of the newest chunk.
        """
        passed = int(np.searchsorted(newest, self.now, side="right"))
        if not passed:
            return 0
        ends = moments(head.names).view(np.int64)
        counts = np.where(ends <= self.now, head.counts, 0)  # some of the others may be to come
        later = passed + counts.sum() - np.cumsum(counts)
        old = ends <= newest[passed - 1] - self.kept.within
        return int(np.sum(old & (later >= self.kept.last)))


@dataclass(frozen=True)
class _Old:
    """What there is of a key.

    Attributes:
        key: the key.
        head: names the older chunks.
        parts: where they are kept.
        is_read: `[parts]`, which of them were read.
        read: the chunks that were read, the newest among them.
    """

    key: str
    head: Head
    parts: Sequence[bytes]
    is_read: NDArray[np.bool_]
    read: Sequence[Chunk]

    @classmethod
    def of(cls, key: str, value: bytes | None, parts: Mapping[bytes, bytes]) -> "_Old":
        if value is None:
            return cls(key, NO_HEAD, [], np.zeros(0, dtype=bool), [])
        names = parts_of(key, value)
        is_read = np.array([name in parts for name in names], dtype=bool)
        read = [parts[name] for name in names if name in parts]
        return cls(key, Head.of(value), names, is_read, [*read, newest_chunk(value)])

    @property
    def ends(self) -> Ints:
        """When the older chunks end that were read."""
        return moments(self.head.names[self.is_read]).view(np.int64)


def _not_replaced(events: Events) -> NDArray[np.bool_]:
    """Which of sorted events are the last of their time and own key."""
    counts = np.ones(len(events.group), dtype=bool)
    same = (np.diff(events.times) == 0) & (np.diff(events.group) == 0)
    near = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(near):
        own = pl.Series(events.ragged[-1][near].tolist(), dtype=pl.String)
        place = {"group": events.group[near], "time": events.times[near], "own": own}
        last = pl.DataFrame(place).select(pl.struct(pl.all()).is_last_distinct())
        counts[near] = last.to_series().to_numpy()
    return counts


def _cuts(times: Ints, start: int, end: int, ends: Ints) -> Iterator[int]:
    """Where chunks begin in the events `[start, end)` of a key.

    They end where those ended that were read, and where they would get too long.
    """
    after = start + np.searchsorted(times[start:end], ends, side="right")
    for begin, stop in pairwise([*sorted({start, *after.tolist()} - {end}), end]):
        place = begin
        while place is not None:
            yield place
            place = _cut(times, place, stop)


def _cut(times: Ints, start: int, end: int) -> int | None:
    """Where a chunk that is too long is cut, if anywhere: never between events of one time."""
    if end - start <= 2 * CHUNK:
        return None
    moment = times[start + CHUNK]
    for side in ("left", "right"):
        place = start + int(np.searchsorted(times[start:end], moment, side=side))
        if start < place < end:
            return place
    return None
