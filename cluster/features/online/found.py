"""Tell from packed values what views hold for some keys: values, since when, and whether at all."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, length, objects
from cluster.base.errors import Conflict, InvalidInput, NotFound
from cluster.features.derived.computed import Computed, frame
from cluster.features.derived.outcomes import Outcomes
from cluster.features.derived.windows import KNOWN, NEWEST, Windows, aggregate
from cluster.features.online.chunks import read_events
from cluster.features.online.events import Retention, shelf_of
from cluster.features.online.keeper import Got, Want
from cluster.features.online.packing import Layout, Reader, key_texts, types_of
from cluster.features.schema.column import ALWAYS
from cluster.features.schema.view import View, columns_of

Inputs = Callable[[View], Sequence[View]]
"""The views that a computed view is made from, in the order of its parameters: `Graph.inputs`."""

Names = Mapping[str, Mapping[str, str]]

PRESENT, MISSING, STALE = range(3)
STATUSES = objects(["present", "missing", "stale"])
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_READERS = 256


@dataclass(frozen=True)
class LookupResult:
    """What a view holds for `n` keys.

    Attributes:
        columns: each `[n]`, the view's defaults where nothing holds.
        times: `[n]`, when what is known became true; 0 where nothing is.
        status: `[n]`, `PRESENT`, `MISSING` or `STALE`.
    """

    columns: Arrays
    times: NDArray[np.datetime64]
    status: NDArray[np.int8]


class Readers:
    """Remembers how the rows of the views that are asked for are read, and their columns named.

    Views cannot be told apart by hash, so it knows them by their place in memory, and holds them
    so that no other gets that place.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[View, Reader]] = {}
        self._layouts: dict[tuple[int, str], tuple[View, Layout]] = {}
        self._named: dict[tuple[object, ...], tuple[Sequence[View], Names]] = {}

    def names(self, views: Sequence[View], keys: Batch) -> Names:
        """How the columns of views are named beside keys.

        Raises:
            InvalidInput: a view is asked for twice, or a name is taken.
        """
        place = (*map(id, views), *keys)
        held = self._named.get(place)
        if held is None:
            if len(self._named) >= MOST_READERS:
                self._named.clear()
            held = self._named[place] = list(views), columns_of(views, keys)
        return held[1]

    def of(self, view: View, declaration: str) -> Reader:
        """A reader for the view, of rows that were packed as declared.

        Raises:
            Conflict: they lack a column of it, or have it of another type.
        """
        place = (id(view), declaration)
        held = self._known.get(place)
        if held is not None:
            return held[1]
        types = json.loads(declaration)
        if not types_of(view.columns).items() <= types.items():
            raise other_columns(view, types)
        reader = Reader(view, Layout(types))
        if len(self._known) >= MOST_READERS:
            self._known.clear()
        self._known[place] = view, reader
        return reader

    def of_events(self, view: Windows, declaration: str) -> Layout:
        """How the events behind windows are packed that were declared so.

        Raises:
            Conflict: the windows need more of them than is kept.
        """
        place = (id(view), declaration)
        held = self._layouts.get(place)
        if held is not None:
            return held[1]
        kept = Retention.read(declaration)
        if not kept.covers(Retention.of(view)):
            raise Conflict(
                f"View {view.name!r} needs more events of {view.over.name!r} than are online.",
                hint=f"Bring them: python -m services materialize {view.over.name}",
            )
        if len(self._layouts) >= MOST_READERS:
            self._layouts.clear()
        layout = Layout(kept.types)
        self._layouts[place] = view, layout
        return layout


@dataclass
class Lookup:
    """One look at some views: what must be read for it, and what it comes to.

    Args:
        keys: the key columns, `[n]` of `str`.
        moment: as of when, in microseconds.
        inputs: what computed views are made from.
        readers: how rows are read.
    """

    keys: Batch
    moment: int
    inputs: Inputs | None
    readers: Readers
    _texts: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    _done: dict[str, LookupResult] = field(default_factory=dict)

    def wants(self, views: Sequence[View]) -> list[Want]:
        """What must be read, each shelf once.

        Raises:
            InvalidInput: a key is missing or bad, a computed view is asked for without inputs, or
                a view is of outcomes.
        """
        found: dict[str, Want] = {}

        def visit(view: View) -> None:
            if isinstance(view, Computed):
                for other in self._made_from(view):
                    visit(other)
            elif isinstance(view, Outcomes):
                raise InvalidInput(
                    f"View {view.name!r} tells what comes after a moment, so nobody knows it now.",
                    hint="Join it to examples offline, or name it in a capability's outcomes.",
                )
            elif (shelf := shelf_name(view)) not in found:
                found[shelf] = Want(shelf, self._keys(view), isinstance(view, Windows))

        for view in views:
            visit(view)
        return list(found.values())

    def found(self, view: View, got: Mapping[str, Got]) -> LookupResult:
        """What the view holds.

        Args:
            view: which one.
            got: what was read, by shelf.

        Raises:
            NotFound: it is not online.
            Conflict: it is online with other columns, or with less than its windows need.
        """
        if isinstance(view, Computed):
            return self._computed(view, got)
        shelf = got[shelf_name(view)]
        if shelf.declaration is None:
            raise never(view)
        if isinstance(view, Windows):
            return self._windows(view, shelf, shelf.declaration)
        return self._rows(view, shelf, shelf.declaration)

    def _rows(self, view: View, got: Got, declaration: str) -> LookupResult:
        reader = self.readers.of(view, declaration)
        columns, times = reader.read(got.values)
        status = np.zeros(len(times), dtype=np.int8)
        if None in got.values:
            status[[value is None for value in got.values]] = MISSING
        if view.ttl is not None:
            self._age(view, times, status)
            if (status == STALE).any():
                fresh = zip(got.values, (status == STALE).tolist(), strict=True)
                columns, _ = reader.read([None if old else value for value, old in fresh])
        return LookupResult(columns, times, status)

    def _windows(self, view: Windows, got: Got, declaration: str) -> LookupResult:
        layout = self.readers.of_events(view, declaration)
        count = len(got.values)
        status = np.full(count, MISSING, dtype=np.int8)
        times = np.full(count, ALWAYS)
        events, group = read_events(layout, got, list(view.event_columns))
        if not len(group):
            return _with_defaults(view, {}, times, status)
        moments = np.full(count, self.moment, dtype=np.int64)
        aggregates = {name: view.aggregates[name] for name in view.columns}
        made = aggregate(aggregates, events, group, np.arange(count), moments)
        status[made.pop(KNOWN)] = PRESENT
        times = made.pop(NEWEST)
        self._age(view, times, status)
        return _with_defaults(view, made, times, status)

    def _computed(self, view: Computed, got: Mapping[str, Got]) -> LookupResult:
        """What the function makes of what its inputs hold; null is what they do not."""
        found: dict[str, LookupResult] = {}
        frames: dict[str, pl.DataFrame] = {}
        for other in self._made_from(view):
            if other.name not in self._done:
                self._done[other.name] = self.found(other, got)
            one = found[other.name] = self._done[other.name]
            holds = pl.Series(one.status == PRESENT)
            frames[other.name] = frame(other, one.columns).select(pl.when(holds).then(pl.all()))
        status = np.stack([one.status for one in found.values()])
        worst = np.where((status == MISSING).all(axis=0), MISSING, STALE)
        made = np.where((status == PRESENT).any(axis=0), PRESENT, worst).astype(np.int8)
        known = [
            np.where(s == MISSING, ALWAYS, one.times)
            for s, one in zip(status, found.values(), strict=True)
        ]
        times: NDArray[np.datetime64] = np.max(known, axis=0)
        self._age(view, times, made)
        return _with_defaults(view, view.unpack(view.compute(frames)), times, made)

    def _age(self, view: View, times: NDArray[np.datetime64], status: NDArray[np.int8]) -> None:
        """Marks what is older than the view's time-to-live; what has held always never is."""
        if view.ttl is not None:  # a look-up of views without one need not ask
            status[view.too_old(times.view(np.int64), self.moment) & (status == PRESENT)] = STALE

    def _made_from(self, view: View) -> Sequence[View]:
        if self.inputs is None:
            raise InvalidInput(
                f"View {view.name!r} is made from {', '.join(view.needs)}.",
                hint="Say which views those are: lookup(..., inputs=graph.inputs).",
            )
        return self.inputs(view)

    def _keys(self, view: View) -> list[str]:
        if view.key not in self._texts:
            self._texts[view.key] = key_texts(view.name, view.key, self.keys)
        return self._texts[view.key]


def shelf_name(view: View) -> str:
    """Where the values of a view are kept that is no function of others."""
    if isinstance(view, Windows):
        return shelf_of(view.over, view.key)
    return view.rows_of.name


def nothing(views: Sequence[View], keys: Batch) -> dict[str, LookupResult]:
    """What is known of views where nothing can be read: all of it missing."""
    count = length(keys)
    times = np.full(count, ALWAYS)
    status = np.full(count, MISSING, dtype=np.int8)
    return {view.name: _with_defaults(view, {}, times, status) for view in views}


def moment_of(at: datetime | np.datetime64 | None) -> int:
    """A moment in microseconds since 1970; now for None.

    Raises:
        InvalidInput: it names no time zone.
    """
    if at is None:
        return time.time_ns() // 1000
    if isinstance(at, np.datetime64):  # UTC by definition
        return int(at.astype("M8[us]").astype(np.int64))
    if at.tzinfo is None:
        raise InvalidInput(
            f"The moment {at.isoformat(sep=' ')} has no time zone.",
            hint="Write it as in datetime(2024, 5, 1, tzinfo=UTC).",
        )
    return (at - EPOCH) // MICROSECOND


def never(view: View) -> NotFound:
    """The view is not online."""
    needed = view.over.name if isinstance(view, Windows) else view.name
    return NotFound(
        f"View {view.name!r} is not online.",
        hint=f"Bring it there: python -m services materialize {needed}",
    )


def other_columns(view: View, types: Mapping[str, str]) -> Conflict:
    """The view is online with other columns."""
    held = ", ".join(f"{name} ({kind})" for name, kind in types.items()) or "none"
    return Conflict(
        f"View {view.name!r} was materialized with other columns: {held}.",
        hint=f"Bring it up to date: python -m services materialize {view.name}",
    )


def _with_defaults(
    view: View, made: Batch, times: NDArray[np.datetime64], status: NDArray[np.int8]
) -> LookupResult:
    """Columns with the view's defaults where nothing holds."""
    unknown = np.flatnonzero(status != PRESENT).tolist()
    if made and not unknown:
        return LookupResult({name: made[name] for name in view.columns}, times, status)
    columns: Arrays = {}
    for name, column in view.columns.items():
        empty: Any = view.empty(name)
        if name in made:
            columns[name] = np.array(made[name]) if unknown else made[name]
        else:
            shape = (len(status), *np.shape(empty)) if column.dtype == np.float32 else len(status)
            kind = np.dtype("M8[us]") if column.dtype == np.datetime64 else column.dtype
            columns[name] = np.empty(shape, dtype=kind)
        for row in unknown:
            columns[name][row] = list(empty) if isinstance(empty, list) else empty
    return LookupResult(columns, times, status)
