"""Join views to examples point in time: each row as of its own moment."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Batch
from cluster.base.errors import InvalidInput, nearest
from cluster.features.derived.computed import Computed
from cluster.features.joins.asof import Ints
from cluster.features.joins.held import (
    Asked,
    AsOf,
    among,
    computed,
    held,
    history_of,
    leaves,
    micros,
)
from cluster.features.joins.history import History
from cluster.features.schema.times import SAY_ZONE, read_times
from cluster.features.schema.view import Inputs, View, columns_of


def join(
    examples: Batch, views: Sequence[View], history: History, *, inputs: Inputs | None = None
) -> Batch:
    """Examples with the columns of views beside them, each as of its row's own moment.

    The value of a view for a row is that of the newest event of the row's key with an event time at
    or before the row's. Of several with the same event time it is the one that was created last,
    and of several created together the one that came last. Where there is none, or it is older
    than the view's time-to-live, the columns hold the view's defaults, and the mask column
    `<view>_missing` is true. No row is lost, doubled or moved.

    A column has its own name; one whose name two of the views share, or a view and the examples,
    is named `<view>__<column>`.

    Args:
        examples: has the key columns of every view, and `event_time`: `datetime64`, which is UTC,
            or an object array of moments with a zone, as `datetime` or ISO 8601.
        views: whose columns are wanted, of any kind; model views at a version.
        history: the stored rows of the views, and of those that they are made from.
        inputs: what computed views are made from: `Graph.inputs`. Without it, they must be among
            the views.

    Raises:
        InvalidInput: the examples lack a column, a moment is missing or has no zone, or a name is
            taken.
    """
    names = columns_of(views, examples)
    keys = {name: _strings(name, examples[name]) for name in _keys(views, examples)}
    asked = Asked(pl.DataFrame(keys), moments_of(examples["event_time"]))
    found = all_held(views, asked, _read(asked, history), inputs)
    joined: dict[str, Any] = {**examples}
    for view in views:
        rows, places = _unpacked(view, found[view.name])
        for name, column in beside(view, rows, places).items():
            joined[names[view.name].get(name, name)] = column
    return joined


def join_frame(
    examples: pl.DataFrame, views: Sequence[View], history: History, *, inputs: Inputs | None = None
) -> pl.DataFrame:
    """The same for frames; only words that windows look at are ever made Python objects.

    Args:
        examples: has the key columns of every view, of strings, and `event_time` with a zone.
        views: whose columns are wanted.
        history: the stored rows.
        inputs: what computed views are made from.

    Raises:
        InvalidInput: as for `join`.
    """
    asked = asked_of(examples, views)
    return finish(examples, views, all_held(views, asked, _read(asked, history), inputs))


def asked_of(examples: pl.DataFrame, views: Sequence[View]) -> Asked:
    """What a frame of examples asks about.

    Raises:
        InvalidInput: it lacks a column, or one is not of the right type.
    """
    names = _keys(views, examples.columns)
    for name in names:
        if examples[name].dtype != pl.String:
            raise InvalidInput(
                f"The examples' column {name!r} is of type {examples[name].dtype}; keys are text.",
                hint="Cast it to strings.",
            )
    return Asked(examples.select(names), micros(examples["event_time"]))


def all_held(
    views: Sequence[View],
    asked: Asked,
    leaf: Callable[[View], AsOf],
    inputs: Inputs | None = None,
) -> dict[str, AsOf]:
    """What each of the views held, by its name; each is made once, however many are made from it.

    Args:
        views: which views.
        asked: the questions.
        leaf: what a view held that is not a function of others.
        inputs: what computed views are made from.
    """
    inputs = inputs or among(views)
    found = {view.name: leaf(view) for view in leaves(views, inputs)}

    def visit(view: View) -> AsOf:
        if view.name not in found:
            assert isinstance(view, Computed)  # noqa: S101 - the others are leaves
            found[view.name] = computed(
                view, asked, {other.name: visit(other) for other in inputs(view)}
            )
        return found[view.name]

    return {view.name: visit(view) for view in views}


def finish(
    examples: pl.DataFrame, views: Sequence[View], found: Mapping[str, AsOf]
) -> pl.DataFrame:
    """Examples with what was found for them, defaults filled in, the columns by their names."""
    names = columns_of(views, examples.columns)
    joined = list(examples)
    for view in views:
        own, made = found[view.name], names[view.name]
        frame = own.frame()
        unknown = pl.Series(~own.known)
        for name in view.columns:
            joined.append(_filled(frame[name], view.empty(name)).alias(made[name]))
        joined.append(unknown.alias(f"{view.name}_missing"))
    return pl.DataFrame(joined)


def beside(view: View, stored: Batch, found: Ints) -> Batch:
    """A view's columns in the order of other rows, and the mask of those that it does not know.

    Args:
        view: whose columns are wanted.
        stored: what is known of them.
        found: `[n]`, for each other row the number of its row in `stored`, or -1.
    """
    columns = {name: _pick(stored[name], found, view.empty(name)) for name in view.columns}
    return {**columns, f"{view.name}_missing": found < 0}


def moments_of(column: NDArray[Any]) -> Ints:
    """Moments as microseconds since 1970, UTC.

    Raises:
        InvalidInput: one is missing, is no moment, or has no zone.
    """
    read, faults = read_times(column, "")
    for row, reason in sorted(faults.items()):
        raise InvalidInput(
            f"event_time of row {row} of the examples {reason.removesuffix(f': {SAY_ZONE}')}.",
            hint="Give moments with their zone, as in 2024-05-01T12:00:00Z, or datetime64 in UTC.",
        )
    return read.astype(np.int64)


def _keys(views: Sequence[View], columns: Iterable[str]) -> list[str]:
    """The key columns that the examples must have."""
    for view in views:
        for name in (*view.key, "event_time"):
            if name not in columns:
                raise InvalidInput(
                    f"The examples have no column {name!r}, which view {view.name!r} is joined by.",
                    hint=nearest(name, columns),
                )
    return list(dict.fromkeys(name for view in views for name in view.key))


def _strings(name: str, column: NDArray[Any]) -> pl.Series:
    try:
        return pl.Series(column.tolist(), dtype=pl.String)
    except TypeError:
        odd = next(value for value in column.tolist() if not isinstance(value, str | None))
        raise InvalidInput(
            f"The examples' column {name!r} holds a {type(odd).__name__}; keys are text.",
            hint="Make it str.",
        ) from None


def _read(asked: Asked, history: History) -> Callable[[View], AsOf]:
    def read(view: View) -> AsOf:
        keys = {name: asked.keys[name].to_numpy() for name in view.key}
        stored, columns = history_of(view)
        return held(view, asked, history.frame(stored, columns, keys), history.newest(stored))

    return read


def _unpacked(view: View, own: AsOf) -> tuple[Batch, Ints]:
    """The rows that any question found, each once, in memory; and of each question its row."""
    places, again = np.unique(own.found[own.known], return_inverse=True)
    rows = own.rows.select(pl.all().gather(places)).to_arrow()
    found = np.full(len(own.found), -1, dtype=np.int64)
    found[own.known] = again
    return {name: column.unpack(rows[name]) for name, column in view.columns.items()}, found


def _filled(column: pl.Series, empty: object) -> pl.Series:
    """The column with something in place of nulls; a picture has nothing that could stand there."""
    if not column.null_count() or column.dtype == pl.Binary:
        return column
    plain = empty.tolist() if isinstance(empty, np.ndarray | np.generic) else empty
    return column.zip_with(column.is_not_null(), pl.Series([plain], dtype=column.dtype))


def _pick(column: NDArray[Any], found: Ints, empty: object) -> NDArray[Any]:
    picked: NDArray[Any] = np.empty((len(found), *column.shape[1:]), dtype=column.dtype)
    known = found >= 0
    picked[known] = column[found[known]]
    for row in np.flatnonzero(~known):
        picked[row] = empty
    return picked
