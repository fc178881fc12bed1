"""Evaluate a view point in time: for some keys, each as of a moment of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Batch
from cluster.base.errors import InvalidInput
from cluster.features.derived.computed import Computed, frame
from cluster.features.derived.graph import Graph
from cluster.features.derived.outcomes import UNTIL, Outcomes, ahead
from cluster.features.derived.windows import KNOWN, NEWEST, OverEvents, aggregate
from cluster.features.joins.asof import Ints, newest, numbers_of
from cluster.features.joins.history import CREATED
from cluster.features.schema.column import ALWAYS
from cluster.features.schema.view import Inputs, View


@dataclass(frozen=True)
class Asked:
    """What is asked about: `n` keys, each at a moment.

    Args:
        keys: the key columns, of strings.
        moments: `[n]`, in microseconds since 1970, UTC.
    """

    keys: pl.DataFrame
    moments: Ints

    @property
    def frame(self) -> pl.DataFrame:
        """Keys and moments beside each other."""
        moments = pl.Series("event_time", self.moments).cast(pl.Datetime("us", "UTC"))
        return self.keys.with_columns(moments)


@dataclass(frozen=True)
class AsOf:
    """The values of a view for `n` keys and moments.

    Args:
        rows: the view's columns of some rows.
        found: `[n]`, of each question the number of its row; -1 where nothing is known, or what is
            known is too old.
        times: `[n]`, when what held became true, and of outcomes when they were known; 0 where
            nothing is known.
    """

    rows: pl.DataFrame
    found: Ints
    times: Ints

    @property
    def known(self) -> NDArray[np.bool_]:
        """`[n]`, whether anything holds."""
        known: NDArray[np.bool_] = self.found >= 0
        return known

    def frame(self) -> pl.DataFrame:
        """A row for each question, null where nothing holds."""
        if not len(self.rows):
            return self.rows.clear(len(self.found))
        places = pl.Series(self.found)
        return self.rows.select(pl.all().gather(places.replace(-1, None)))


def history_of(view: View) -> tuple[View, list[str]]:
    """The stored view and columns needed to evaluate a non-computed view as of a moment.

    Returns:
        The stored view that it comes from, and which of its columns, key and event time first.
    """
    if isinstance(view, OverEvents):
        events = view.over.rows_of
        names = [*view.key, "event_time", *view.event_columns]
    else:
        events, names = view.rows_of, [*view.key, "event_time", *view.columns]
    return events, list(dict.fromkeys(names))


def among(views: Sequence[View]) -> Inputs:
    """What computed views are made from, where all of it is among some views."""
    graph = cache(lambda: Graph(views))  # made only where a view is a function
    return lambda view: graph().inputs(view)


def leaves(views: Sequence[View], inputs: Inputs) -> list[View]:
    """The views that others are functions of, each whole and once; a view that is none is its own.

    A view that is asked for through fewer columns is read whole where a function needs it.
    """
    found: dict[str, View] = {}

    def visit(view: View) -> None:
        if isinstance(view, Computed):
            for other in inputs(view):
                visit(other)
        elif view.name not in found or len(view.columns) > len(found[view.name].columns):
            found[view.name] = view

    for view in views:
        visit(view)
    return list(found.values())


def held(
    view: View, asked: Asked, events: pl.DataFrame, newest_of_all: np.datetime64 = ALWAYS
) -> AsOf:
    """Evaluate a non-computed view as of the moment of each question.

    Args:
        view: which one.
        asked: the questions.
        events: the columns that `history_of` names, and `created` where it is known, in the order
            in which they came.
        newest_of_all: the latest event time of the stored view, of any key, up to which outcomes
            are known; other views do not need it.
    """
    keys, group = numbers_of(asked.keys, events, view.key)
    times = micros(events["event_time"])
    created = micros(events[CREATED]) if CREATED in events.columns else None
    if isinstance(view, OverEvents):
        if created is not None:  # of one moment the event that was created last counts as the last
            order = np.argsort(created, kind="stable")
            events, group, times = events[order], group[order], times[order]
        near = np.isin(group, keys[keys >= 0])
        if isinstance(view, Outcomes):
            near &= times > asked.moments.min(initial=np.iinfo(np.int64).max)
            seen = events.filter(pl.Series(near))
            return _outcomes(view, asked, keys, seen, group[near], newest=newest_of_all)
        near &= times <= asked.moments.max(initial=0)
        return _windows(view, asked, keys, events.filter(pl.Series(near)), group[near])
    found = newest(keys, asked.moments, group, times, created)
    if not len(events):
        return AsOf(events.select(list(view.columns)), found, np.zeros(len(found), np.int64))
    moments = np.where(found >= 0, times[found], 0)
    return _fresh(view, asked, events.select(list(view.columns)), found, moments)


def computed(view: Computed, asked: Asked, inputs: Mapping[str, AsOf]) -> AsOf:
    """Evaluate a computed view on its inputs as of the same moments.

    Where nothing is known of any of its inputs, nothing is known of it.
    """
    made = view.compute({name: inputs[name].frame() for name in view.needs})
    known = np.any([one.known for one in inputs.values()], axis=0)
    times = np.max([np.where(one.known, one.times, 0) for one in inputs.values()], axis=0)
    found = np.where(known, np.arange(len(known)), -1)
    return _fresh(view, asked, pl.DataFrame(pl.from_arrow(made)), found, times)


def _windows(view: OverEvents, asked: Asked, keys: Ints, events: pl.DataFrame, group: Ints) -> AsOf:
    """Windows over events, of which those of one moment stand in the order in which they came."""
    columns = {name: view.aggregates[name] for name in view.columns}
    made = aggregate(columns, _seen(view, events), group, keys, asked.moments)
    found = np.where(made[KNOWN], np.arange(len(keys)), -1)
    return _fresh(view, asked, frame(view, made), found, made[NEWEST].astype(np.int64))


def _outcomes(
    view: Outcomes,
    asked: Asked,
    keys: Ints,
    events: pl.DataFrame,
    group: Ints,
    *,
    newest: np.datetime64,
) -> AsOf:
    """What came after each question, of which events stand as for windows."""
    columns = {name: view.aggregates[name] for name in view.columns}
    until = int(newest.astype("M8[us]").astype(np.int64))
    made = ahead(columns, _seen(view, events), group, keys, asked.moments, newest=until)
    found = np.where(made[KNOWN], np.arange(len(keys)), -1)
    return AsOf(frame(view, made), found, made[UNTIL])


def _seen(view: OverEvents, events: pl.DataFrame) -> Batch:
    """The columns of events that the view looks at, in memory."""
    names = [*view.event_columns, "event_time"]
    packed = events.select(names).to_arrow()
    return {name: view.over.schema[name].unpack(packed[name]) for name in names}


def _fresh(view: View, asked: Asked, rows: pl.DataFrame, found: Ints, times: Ints) -> AsOf:
    """Drop values older than the view's time-to-live; rows without an event time never are."""
    return AsOf(rows, np.where(view.too_old(times, asked.moments), -1, found), times)


def micros(column: pl.Series) -> Ints:
    """Moments with a zone as microseconds since 1970, UTC.

    Raises:
        InvalidInput: they are of another type, or one is missing.
    """
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise InvalidInput(
            f"{column.name} of row {row} is missing.", hint="Give every row one, or leave it out."
        )
    if not isinstance(column.dtype, pl.Datetime) or column.dtype.time_zone is None:
        raise InvalidInput(
            f"Column {column.name!r} is of type {column.dtype}, not moments with a time zone.",
            hint='Say which zone it is in, as in dt.replace_time_zone("UTC").',
        )
    return column.dt.cast_time_unit("us").to_physical().to_numpy()
