"""Keep nothing but events, and tell of any moment what they came to: windows over event time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Unpack

import numpy as np

from cluster.base.batch import Arrays, Batch, objects, without
from cluster.base.errors import InvalidInput, nearest
from cluster.features.derived.aggregates import GROUP, Aggregate, Ints, Span
from cluster.features.schema.column import Column
from cluster.features.schema.declared import as_called, shown
from cluster.features.schema.view import About, Sample, View

BACKWARD = "Count(), Sum(...), Mean(...), Last(...), Distinct(...) or Since()"
KNOWN, NEWEST = "__known", "__newest"
"""What the kernel says of each question beside the columns."""


@dataclass(frozen=True)
class OverEvents(View):
    """A view whose columns are declared over the events of another, and made when they are read.

    Args:
        over: the view of the events.
        aggregates: what each column holds.
    """

    over: View = field(kw_only=True)
    aggregates: Mapping[str, Aggregate] = field(kw_only=True)

    @property
    def needs(self) -> tuple[str, ...]:
        """The view of the events."""
        return (self.over.name,)

    @property
    def stored(self) -> bool:
        """Nothing is."""
        return False

    @property
    def definition(self) -> tuple[object, ...]:
        """The aggregates too."""
        return (*super().definition, self.over.version, repr(dict(self.aggregates)))

    @cached_property
    def event_columns(self) -> dict[str, Column]:
        """The columns of the events that are looked at."""
        aggregates = [self.aggregates[name] for name in self.columns]  # fewer where it is narrowed
        used = {a.column for a in aggregates if a.column} - {"event_time"}
        return {name: self.over.schema[name] for name in sorted(used)}


@dataclass(frozen=True)
class Windows(OverEvents):
    """A view whose columns are declared over the events of another, as of any moment.

    Nothing of it is stored: it is made from the events when it is read, by the same code offline
    and online, so that both agree to the last bit. A key has a row from its first event on, which
    stays though the windows get empty.
    """

    @property
    def horizon(self) -> timedelta | None:
        """How far back any column looks; None where one looks at all events."""
        lengths = [a.within for a in self.aggregates.values()]
        return None if None in lengths else max(filter(None, lengths))


def windows(
    name: str,
    *,
    over: View,
    key: tuple[str, ...],
    columns: Mapping[str, Aggregate],
    **about: Unpack[About],
) -> Windows:
    """A view of windows over the events of another.

    ```python
    user_activity = windows(
        "user_activity",
        over=interactions,
        key=("user_id",),
        columns={"orders_30d": Count(within=timedelta(days=30)), "last": Last("item_id", 50)},
    )
    ```

    Args:
        name: the view's name.
        over: the view of the events.
        key: which part of the events' key a row is about.
        columns: what each column holds.
        about: time-to-live (after the last event), defaults, description, owner, tags.

    Raises:
        InvalidInput: a column or key is not among those of the events, or of the wrong type.
    """
    check_events(name, over, key, columns)
    kinds = {
        column: column_of(name, over, column, one, known=BACKWARD, usable=_looks_back)
        for column, one in columns.items()
    }
    sample = _of_events(over, key, columns)
    return Windows(name, key, kinds, sample, over=over, aggregates=columns, **about)


def _looks_back(one: Aggregate) -> bool:
    return one.backward


def check_events(name: str, over: View, key: tuple[str, ...], columns: object) -> None:
    """Refuse what cannot be declared over events.

    Raises:
        InvalidInput: they are no view, lack a part of the key, or no column is declared.
    """
    if not isinstance(over, View):
        raise InvalidInput(
            f"View {name!r} is over {over!r}, which is no view.", hint="Give the view itself."
        )
    for part in [key] if isinstance(key, str) else key:
        if part not in over.key:
            raise InvalidInput(
                f"View {name!r} has the key {part!r}, which {over.name!r} lacks.",
                hint=nearest(part, over.key),
            )
    if not isinstance(columns, Mapping) or not columns:
        raise InvalidInput(
            f"View {name!r} has the columns {columns!r}, which are none.",
            hint='Write columns={"events": Count()}.',
        )


def column_of(
    name: str,
    over: View,
    column: str,
    aggregate: object,
    *,
    known: str,
    usable: Callable[[Aggregate], bool],
) -> Column:
    """The type of a column of a view, of what its aggregate finds in the events.

    Args:
        name: the view's name.
        over: the events.
        column: the column's name.
        aggregate: what was declared for it.
        known: what may be declared, in words.
        usable: whether an aggregate may be.

    Raises:
        InvalidInput: it may not, or not over such a column.
    """
    if not isinstance(aggregate, Aggregate) or not usable(aggregate):
        raise InvalidInput(
            f"Column {column!r} of view {name!r} is {shown(aggregate)}, which says nothing of "
            "events.",
            hint=f"Write {as_called(aggregate, Aggregate) or known}.",
        )
    try:
        return aggregate.kind(over)
    except InvalidInput as error:
        raise InvalidInput(
            f"Column {column!r} of view {name!r}: {error.message}", hint=error.hint
        ) from None


def _of_events(over: View, key: tuple[str, ...], columns: Mapping[str, Aggregate]) -> Sample:
    """Made-up rows: what drawn events give, each key once, as of the last of them."""

    def sample(n: int, rng: np.random.Generator) -> Batch:
        events = over.sample(n, rng)
        keys, group = group_of(events, key)
        moment = np.full(len(keys[key[0]]), np.max(events["event_time"]))
        made = aggregate(columns, events, group, np.arange(len(moment)), moment.astype(np.int64))
        return {**keys, **without(made, (KNOWN, NEWEST)), "event_time": moment}

    return sample


def group_of(rows: Batch, key: tuple[str, ...]) -> tuple[Arrays, Ints]:
    """The different keys of some rows, in order, and of each row the number of its key."""
    parts = zip(*(rows[name].tolist() for name in key), strict=True)
    numbers: dict[tuple[str, ...], int] = {}
    group = np.fromiter((numbers.setdefault(part, len(numbers)) for part in parts), np.int64)
    keys = {name: objects(part[place] for part in numbers) for place, name in enumerate(key)}
    return keys, group


def aggregate(
    columns: Mapping[str, Aggregate], events: Batch, group: Ints, asked: Ints, moments: Ints
) -> Arrays:
    """The columns of a `Windows` view for some questions: the one kernel, offline and online.

    Args:
        columns: what each column holds.
        events: the events, in any order but for those of one key and time, where the one that
            came later stands later; `event_time` and the columns that are looked at.
        group: of each event the number of its key, from 0.
        asked: `[n]`, the number of the key that each question is about; -1 for one without events.
        moments: `[n]`, the moment of each question, in microseconds since 1970, UTC.

    Returns:
        Each column `[n]`; in `KNOWN` whether there was any event by then, and in `NEWEST` when the
        last one was (0 where there was none).
    """
    finder = Finder(events, group)
    first, end = finder.first(asked), finder.after(asked, moments)
    starts: dict[timedelta | None, Ints] = {None: first}
    made: Arrays = {}
    for name, column in columns.items():
        if column.within is not None and column.within not in starts:
            starts[column.within] = finder.after(asked, moments - micros_of(column.within))
        start = starts[column.within]
        made[name] = column.of(finder.events, Span(start, np.maximum(end, start), moments))
    known = end > first
    newest = np.zeros(len(asked), dtype=np.int64)
    newest[known] = finder.times[end[known] - 1]
    return {**made, KNOWN: known, NEWEST: newest.astype("datetime64[us]")}


def micros_of(length: timedelta) -> int:
    """A length of time in microseconds."""
    return length // timedelta(microseconds=1)


class Finder:
    """Events sorted by key and time; finds where those after a moment begin.

    Args:
        events: in any order but for those of one key and time, where the one that came later
            stands later; `event_time` and other columns.
        group: of each event the number of its key, from 0.

    Attributes:
        events: the same, sorted; `GROUP` is the number of the key.
        times: when each of them was, in microseconds.
    """

    def __init__(self, events: Batch, group: Ints) -> None:
        times = events["event_time"].astype("datetime64[us]").astype(np.int64)
        order = np.lexsort((times, group))
        self.events = {name: column[order] for name, column in events.items()}
        self.events[GROUP] = group[order]
        self.times: Ints = times[order]
        ordered = np.sort(times)  # `np.unique` hashes, which takes several times as long
        self._times = ordered[np.append(np.diff(ordered) > 0, True)[: len(ordered)]]
        self._width = len(self._times) + 1
        ranks = np.searchsorted(self._times, self.times)
        self._places = self.events[GROUP] * self._width + ranks

    def first(self, asked: Ints) -> Ints:
        """Of each key its first event; 0 for a key without a number, -1, whose span is empty."""
        return np.where(asked < 0, 0, np.searchsorted(self.events[GROUP], asked))

    def after(self, asked: Ints, moments: Ints) -> Ints:
        """Of each key the first event after the moment, or one past its last; 0 for -1."""
        rank = np.searchsorted(self._times, moments, side="right")
        found = np.searchsorted(self._places, asked * self._width + rank)
        return np.where(asked < 0, 0, found)

    def end(self, asked: Ints) -> Ints:
        """Of each key one past its last event; 0 for -1."""
        return np.where(asked < 0, 0, np.searchsorted(self.events[GROUP], asked, side="right"))
