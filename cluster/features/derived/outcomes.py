"""Label a moment by the events that came after it; for training and evaluation alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, objects, without
from cluster.base.errors import InvalidInput
from cluster.features.derived.aggregates import Aggregate, Ints, Last, Span
from cluster.features.derived.windows import (
    KNOWN,
    Finder,
    OverEvents,
    check_events,
    column_of,
    group_of,
    micros_of,
)
from cluster.features.schema.column import ALWAYS, Column, Number, Text, Whole
from cluster.features.schema.view import About, Sample, View

FORWARD = "Next(...), Followed(within=...), Until(within=...), Count(within=...) or Sum(...)"
NEVER = np.iinfo(np.int64).max
UNTIL = "__until"
"""The column that `ahead` adds: the last moment that an outcome looks at."""


@dataclass(frozen=True)
class Next(Last):
    """The values of the next `n` events, the first of them first.

    Without `within` they are known once there are `n` events, and are always so many. With it they
    are those that came in time, known once the time has passed.
    """

    backward: ClassVar[bool] = False
    forward: ClassVar[bool] = True

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Slices."""
        ends = np.minimum(span.end, span.start + self.n)
        values = events[self.column]
        return objects(
            values[start:end].tolist() for start, end in zip(span.start, ends, strict=True)
        )


@dataclass(frozen=True)
class Followed(Aggregate):
    """Whether an event followed, as 1 or 0; with `value`, one whose column holds it.

    `Followed("kind", value="click", within=timedelta(hours=1))`
    """

    backward: ClassVar[bool] = False

    value: str | float | None = None

    def __post_init__(self) -> None:
        """Refuse a column without a value, and a value without a column.

        Raises:
            InvalidInput: one of both is missing.
        """
        super().__post_init__()
        if bool(self.column) != (self.value is not None):
            raise InvalidInput(
                f"Followed looks for the value {self.value!r} of the column {self.column!r}.",
                hint='Give both, as in Followed("kind", value="click", within=...), or none.',
            )

    def kind(self, over: View) -> Column:
        """A whole number, of words or numbers."""
        if self.column and not isinstance(self.events(over), Text | Number | Whole):
            raise InvalidInput(
                f"Values of column {self.column!r} of view {over.name!r} cannot be told apart.",
                hint="Name a column of words or of numbers.",
            )
        return Whole()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """Whether more such events came by the end than by the start."""
        if not self.column:
            return (span.end > span.start).astype(np.int64)
        hits = np.asarray(events[self.column] == self.value, dtype=np.int64)
        before = np.append(0, np.cumsum(hits))
        return (before[span.end] > before[span.start]).astype(np.int64)


@dataclass(frozen=True)
class Until(Aggregate):
    """Seconds until the next event; the length of `within` where none came in that time."""

    backward: ClassVar[bool] = False

    def kind(self, over: View) -> Column:
        """A number."""
        return Number()

    def of(self, events: Batch, span: Span) -> NDArray[Any]:
        """The time of the first event less the moment."""
        assert self.within is not None  # noqa: S101 - `outcomes` has refused it
        until = np.full(len(span.start), self.within.total_seconds())
        came = span.end > span.start
        times = events["event_time"].astype("datetime64[us]").astype(np.int64)
        until[came] = (times[span.start[came]] - span.time[came]) / 1e6
        return until


@dataclass(frozen=True)
class Outcomes(OverEvents):
    """A view whose columns are declared over the events that come after a moment.

    Nothing of it is stored, and it is never looked up: at the moment of a question its outcome is
    not there yet. It is joined to examples, as their truth.

    An event at the very moment of a row is not after it. A row's outcome is known once every column
    is: one with `within` when so much time has passed, by the newest stored event of any key, even
    where something followed earlier (or what is quick to happen would be known first, and be
    learnt to be frequent); `Next` without it when there are `n` events of the key.
    """


def outcomes(
    name: str,
    *,
    over: View,
    key: tuple[str, ...],
    columns: Mapping[str, Aggregate],
    **about: Unpack[About],
) -> Outcomes:
    """A view of what events of another view followed.

    ```python
    next_day = outcomes(
        "next_day",
        over=readings,
        key=("series_id",),
        columns={"next": Next("value", n=24)},
    )
    ```

    Args:
        name: the view's name.
        over: the view of the events.
        key: which part of the events' key a row is about.
        columns: what each column holds.
        about: description, owner, tags.

    Raises:
        InvalidInput: a column or key is not among those of the events, or of the wrong type; a
            column looks back, or forward without an end.
    """
    check_events(name, over, key, columns)
    kinds = {
        column: column_of(name, over, column, one, known=FORWARD, usable=_looks_ahead)
        for column, one in columns.items()
    }
    _check(name, columns, about)
    sample = _of_events(over, key, columns)
    return Outcomes(name, key, kinds, sample, over=over, aggregates=columns, **about)


def _looks_ahead(one: Aggregate) -> bool:
    return one.forward


def _check(name: str, columns: Mapping[str, Aggregate], about: About) -> None:
    for column, one in columns.items():
        if one.within is None and not isinstance(one, Next):
            raise InvalidInput(
                f"Column {column!r} of view {name!r} looks forward without an end: it would never "
                "be known.",
                hint="Say for how long: within=timedelta(days=7).",
            )
    if "ttl" in about or "defaults" in about:
        raise InvalidInput(
            f"View {name!r} is of outcomes: it has no time-to-live and no defaults, since rows "
            "whose outcome is not known are left out.",
            hint="Leave them out, too.",
        )


def ahead(
    columns: Mapping[str, Aggregate],
    events: Batch,
    group: Ints,
    asked: Ints,
    moments: Ints,
    *,
    newest: int,
) -> Arrays:
    """The columns of an `Outcomes` view for some questions.

    Args:
        columns: what each column holds.
        events: as for `windows.aggregate`.
        group: of each event the number of its key.
        asked: `[n]`, the number of the key that each question is about; -1 for none.
        moments: `[n]`, the moment of each question.
        newest: when the newest event of any key was, in microseconds since 1970, UTC.

    Returns each column `[n]`; in `KNOWN` whether all of them are known, in `UNTIL` the last moment
    that any looks at, or 0 where they are not.
    """
    finder = Finder(events, group)
    known = (asked >= 0) & (moments != ALWAYS.astype(np.int64))  # which nothing could come after
    until = np.array(moments)
    made: Arrays = {}
    for name, column in columns.items():
        span, reach = _looked_at(column, finder, asked, moments)
        made[name] = column.of(finder.events, span)
        known = known & (reach <= newest)
        until = np.maximum(until, reach)
    return {**made, KNOWN: known, UNTIL: np.where(known, until, 0)}


def _looked_at(column: Aggregate, finder: Finder, asked: Ints, moments: Ints) -> tuple[Span, Ints]:
    """The events that a column looks at, and the last moment; `NEVER` where they are too few."""
    start = finder.after(asked, moments)
    if isinstance(column, Next) and column.within is None:
        end, reach = finder.end(asked), np.full(len(moments), NEVER)
        full = end - start >= column.n
        reach[full] = finder.times[start[full] + column.n - 1]
        return Span(start, end, moments), reach
    assert column.within is not None  # noqa: S101 - `outcomes` has refused it
    reach = moments + micros_of(column.within)
    return Span(start, finder.after(asked, reach), moments), reach


def _of_events(over: View, key: tuple[str, ...], columns: Mapping[str, Aggregate]) -> Sample:
    """Made-up rows: what drawn events give, each key once, as of the first of them."""

    def sample(n: int, rng: np.random.Generator) -> Batch:
        events = over.sample(n, rng)
        keys, group = group_of(events, key)
        moment = np.full(len(keys[key[0]]), np.min(events["event_time"]))
        newest = int(np.max(events["event_time"]).astype("datetime64[us]").astype(np.int64))
        asked = np.arange(len(moment))
        made = ahead(columns, events, group, asked, moment.astype(np.int64), newest=newest)
        return {**keys, **without(made, (KNOWN, UNTIL)), "event_time": moment}

    return sample
