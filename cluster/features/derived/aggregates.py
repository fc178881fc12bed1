"""Say what a column of windows holds: how many events, how much, the last ones, since when."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, numbered, objects
from cluster.base.errors import InvalidInput, nearest
from cluster.features.schema.column import Column, Number, Text, Whole
from cluster.features.schema.ragged import Numbers, Texts
from cluster.features.schema.view import View

FEW = 16  # questions that are answered one by one: a replica asks about one key or a few
MOST_EXPANDED = 4_000_000  # events that are looked at together, so that memory stays bounded
Ints = NDArray[np.int64]
GROUP = "__group"
"""The column of sorted events that says which key they are about, as a number from 0."""


@dataclass(frozen=True)
class Span:
    """Of each question the events `[start, end)` that its window holds, oldest first.

    Attributes:
        start: `[n]`, the first event of the window.
        end: `[n]`, one past the last event.
        time: `[n]`, the moments that are asked about, in microseconds.
    """

    start: Ints
    end: Ints
    time: Ints


@dataclass(frozen=True)
class Aggregate(ABC):
    """One column of a view of windows, or of outcomes.

    Args:
        column: which column of the events it looks at; empty for the events themselves.
        within: how far back from the moment asked about it looks; None for all events before.
            An event that is exactly so old is outside. Of outcomes: how far forward; an event that
            comes exactly so much later is inside.
    """

    backward: ClassVar[bool] = True
    """Whether it may be a column of windows, which look back."""
    forward: ClassVar[bool] = True
    """Whether it may be a column of outcomes, which look forward."""

    column: str = ""
    within: timedelta | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse a window that holds nothing, and a column without a name.

        Raises:
            InvalidInput: it is not longer than nothing, or what names the column is no string.
        """
        if not isinstance(self.column, str):
            raise InvalidInput(
                f"{self.column!r} is no name of a column.",
                hint="Lengths of windows are named: within=timedelta(days=7).",
            )
        if self.within is not None and (
            not isinstance(self.within, timedelta) or self.within <= timedelta()
        ):
            raise InvalidInput(
                f"{self.within!r} is no length of a window.",
                hint="Write within=timedelta(days=7), or leave it out for all events.",
            )

    @abstractmethod
    def kind(self, over: View) -> Column:
        """The type of the column that it gives, over events of that view.

        Raises:
            InvalidInput: it cannot be had of a column of that type.
        """

    @abstractmethod
    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """The value of each question `[n]`, from events sorted by key and time."""

    def events(self, over: View) -> Column:
        """The type of the column that it looks at.

        Raises:
            InvalidInput: the view has no such column.
        """
        known = {name: column for name, column in over.schema.items() if name != "split"}
        if self.column not in known:
            raise InvalidInput(
                f"View {over.name!r} has no column {self.column!r}.",
                hint=nearest(self.column, known),
            )
        return known[self.column]


@dataclass(frozen=True)
class Count(Aggregate):
    """How many events there were."""

    def kind(self, over: View) -> Column:
        """A whole number."""
        return Whole()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Ends less starts."""
        return span.end - span.start


@dataclass(frozen=True)
class Sum(Aggregate):
    """What a number of the events adds up to; 0 where there are none."""

    def kind(self, over: View) -> Column:
        """A number, of a number."""
        if not isinstance(self.events(over), Number | Whole):
            raise InvalidInput(
                f"Column {self.column!r} of view {over.name!r} holds no numbers to add up.",
                hint="Name a column of numbers.",
            )
        return Number()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Sums of slices, in the order of the events."""
        return _sums(events[self.column].astype(np.float64), span)


@dataclass(frozen=True)
class Mean(Sum):
    """The mean of a number of the events; 0 where there are none."""

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """The sum over the count."""
        counts: Ints = span.end - span.start
        means: NDArray[Any] = super().of(events, span) / np.maximum(counts, 1)
        return means


@dataclass(frozen=True)
class Last(Aggregate):
    """The values of the last `n` events, newest first; fewer where there were fewer."""

    forward: ClassVar[bool] = False

    n: int = 1

    def __post_init__(self) -> None:
        """Refuse a list of nothing.

        Raises:
            InvalidInput: `n` is below 1, or no whole number.
        """
        super().__post_init__()
        if not isinstance(self.n, int) or self.n < 1:
            raise InvalidInput(
                f"The {type(self).__name__.lower()} {self.n!r} events are none.",
                hint="Write n=1 or another whole number.",
            )

    def kind(self, over: View) -> Column:
        """A list, of words or of numbers."""
        match self.events(over):
            case Text():
                return Texts()
            case Number() | Whole():
                return Numbers()
        raise InvalidInput(
            f"Column {self.column!r} of view {over.name!r} cannot be listed.",
            hint=f"{type(self).__name__} takes columns of words and of numbers.",
        )

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Slices, turned round."""
        starts = np.maximum(span.start, span.end - self.n)
        values = events[self.column]
        return objects(
            values[start:end][::-1].tolist() for start, end in zip(starts, span.end, strict=True)
        )


@dataclass(frozen=True)
class Distinct(Aggregate):
    """How many different values the events had."""

    def kind(self, over: View) -> Column:
        """A whole number, of words or numbers."""
        if not isinstance(self.events(over), Text | Number | Whole):
            raise InvalidInput(
                f"Values of column {self.column!r} of view {over.name!r} cannot be told apart.",
                hint="Name a column of words or of numbers.",
            )
        return Whole()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Events whose value did not occur since the start of the window."""
        if len(span.start) <= FEW:
            slices = zip(span.start.tolist(), span.end.tolist(), strict=True)
            values = events[self.column]
            return np.array(
                [len(set(values[start:end].tolist())) for start, end in slices], np.int64
            )
        before = _before(events[self.column], events[GROUP])
        counts = np.zeros(len(span.start), dtype=np.int64)
        for part in _parts(span):
            lengths = span.end[part] - span.start[part]
            asked = np.repeat(np.arange(len(lengths)), lengths)
            event = _expand(span.start[part], lengths)
            fresh = before[event] < np.repeat(span.start[part], lengths)
            counts[part] = np.bincount(asked[fresh], minlength=len(lengths))
        return counts


@dataclass(frozen=True)
class Since(Aggregate):
    """Seconds since the last event; 0 where there was none: see the view's mask and defaults."""

    forward: ClassVar[bool] = False

    def kind(self, over: View) -> Column:
        """A number."""
        return Number()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """The moment less the time of the last event."""
        known = span.end > span.start
        since = np.zeros(len(known))
        last = events["event_time"].astype(np.int64)[span.end[known] - 1]
        since[known] = (span.time[known] - last) / 1e6
        return since


def _sums(values: NDArray[np.float64], span: Span) -> NDArray[np.float64]:
    """Sums of slices, each added up from its own values.

    Differences of running sums would be quicker, but depend on the events before the window, which
    are not all there online.
    """
    order = np.argsort(span.start, kind="stable")  # else `reduceat` adds up what lies between, too
    order = order[span.end[order] > span.start[order]]
    sums = np.zeros(len(span.start))
    if len(order):
        bounds = np.stack([span.start[order], span.end[order]], axis=1).ravel()
        # the last bound may be one past the end, which needs a value to stand there
        sums[order] = np.add.reduceat(np.append(values, 0.0), bounds)[::2]
    return sums


def _before(values: NDArray[Any], group: Ints) -> Ints:
    """Of each event the event before it of the same key with the same value, or -1."""
    named = values.dtype == object
    value = numbered(values)[1] if named else np.unique(values, return_inverse=True)[1]
    order = np.lexsort((np.arange(len(value)), value, group))
    same = (np.diff(value[order]) == 0) & (np.diff(group[order]) == 0)
    before = np.full(len(value), -1, dtype=np.int64)
    before[order[1:][same]] = order[:-1][same]
    return before


def _expand(starts: Ints, lengths: Ints) -> Ints:
    """The numbers of all events of all slices, one slice after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    expanded: Ints = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return expanded


def _parts(span: Span, most: int = MOST_EXPANDED) -> Iterator[slice]:
    """The questions in pieces that together look at a bounded number of events."""
    total = np.cumsum(span.end - span.start)
    begin = 0
    while begin < len(total):
        seen = total[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(total, seen + most, side="right")))
        yield slice(begin, stop)
        begin = stop
