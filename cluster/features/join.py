"""Put the columns of views beside examples: for each row the newest value of its own time."""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.batch import Batch, length
from cluster.features.column import Column
from cluster.features.view import View


def join(examples: Batch, view: View, rows: Batch | None) -> Batch:
    """Examples with the columns of a view: the newest with event time at or before the row's.

    No row is lost, doubled or moved. Where the view knows nothing of a row's key at its time, the
    columns hold what is empty in their type, and the mask column `<view>_missing` is true.

    Args:
        examples: has the view's key columns and `event_time`.
        view: whose columns are wanted.
        rows: the view's stored rows, with key and `event_time`; None where there are none.
    """
    found = np.full(length(examples), -1) if rows is None else _newest(examples, view, rows)
    stored = rows or {
        name: column.unpack(pa.array([], type=column.arrow))
        for name, column in view.columns.items()
    }
    return {**examples, **beside(view, stored, found)}


def beside(view: View, stored: Batch, found: NDArray[np.int64]) -> Batch:
    """A view's columns in the order of other rows, and the mask of those that it does not know.

    Args:
        view: whose columns are wanted.
        stored: what is known of them.
        found: `[n]`, for each other row the number of its row in `stored`, or -1.
    """
    columns = {
        name: _pick(stored[name], found, _empty(column)) for name, column in view.columns.items()
    }
    return {**columns, f"{view.name}_missing": found < 0}


def _newest(examples: Batch, view: View, rows: Batch) -> NDArray[np.int64]:
    """For each example the number of the row that holds at its time, or -1."""
    columns = [*view.key, "event_time"]
    left = pl.DataFrame({name: _series(examples[name]) for name in columns}).with_row_index("left")
    right = pl.DataFrame({name: _series(rows[name]) for name in columns}).with_row_index("right")
    matched = left.sort("event_time").join_asof(
        right.sort("event_time", "right"),
        on="event_time",
        by=list(view.key),
        strategy="backward",
        check_sortedness=False,  # both were sorted just now
    )
    found = np.full(length(examples), -1, dtype=np.int64)
    matched = matched.drop_nulls("right")
    found[matched["left"].to_numpy()] = matched["right"].to_numpy()
    return found


def _empty(column: Column) -> object:
    """What stands where nothing is known; the mask column says that it means nothing."""
    if pa.types.is_list(column.arrow):
        return []
    return "" if pa.types.is_string(column.arrow) else np.zeros((), column.dtype)[()]


def _series(column: NDArray[Any]) -> pl.Series:
    # the type is said because a column without rows does not tell it
    return (
        pl.Series(column.tolist(), dtype=pl.String) if column.dtype == object else pl.Series(column)
    )


def _pick(column: NDArray[Any], found: NDArray[np.int64], empty: object) -> NDArray[Any]:
    picked: NDArray[Any] = np.empty((len(found), *column.shape[1:]), dtype=column.dtype)
    known = found >= 0
    picked[known] = column[found[known]]
    for row in np.flatnonzero(~known):
        picked[row] = empty
    return picked
