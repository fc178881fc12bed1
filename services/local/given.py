"""Take rows in whatever people hold them in, and answer in the same."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.schema.column import Column, Key
from cluster.registry.model import as_rows

LISTS = (list, tuple, np.ndarray)


@dataclass(frozen=True)
class Given:
    """Rows as somebody gave them.

    Attributes:
        columns: what they hold, `[n]` each; a missing value is None or NaN.
        beside: what came of them, in what they were given in: takes the new columns and their
            types, of which a type that is None stands for what NumPy says.
    """

    columns: Batch
    beside: Callable[[Batch, Mapping[str, Column | None]], Any]


def given(rows: Any) -> Given:
    """Rows out of a Polars or pandas DataFrame, a dict of columns, a list of dicts, or one dict.

    Raises:
        InvalidInput: it holds no rows, or columns differ in length.
    """
    if isinstance(rows, pl.DataFrame):
        found = Given({one.name: _series(one) for one in rows}, _beside_polars(rows))
    elif hasattr(rows, "to_dict"):
        found = Given({name: _pandas(rows[name]) for name in rows}, _beside_pandas(rows))
    elif isinstance(rows, Mapping):
        single = any(not (isinstance(v, LISTS) or _is_series(v)) for v in rows.values())
        found = _dicts([rows], one=True) if single else _columns(rows)
    else:
        found = _dicts(as_rows(rows), one=False)
    return _checked(found)


def key_texts(names: Sequence[str], columns: Batch, *, gaps: bool) -> Arrays:
    """Those of the key columns that are there, as text: whole numbers become their digits.

    Args:
        names: of the key columns.
        columns: what was given.
        gaps: whether a key may be missing; then None stands for it.

    Raises:
        InvalidInput: a key is empty, too long or no id.
    """
    keys: Arrays = {}
    for name in (name for name in names if name in columns):
        raw = columns[name]
        keys[name], faults = Key().admit(raw)
        for row, reason in faults.items():
            if not gaps or not _is_gap(raw[row]):
                raise InvalidInput(
                    f"{name} of row {row} {reason}.", hint="A key is text or a whole number."
                )
            keys[name][row] = None
    return keys


def _is_series(value: object) -> bool:
    """A column of Polars, pandas or Arrow."""
    return hasattr(value, "to_list") or hasattr(value, "to_pylist")


def _is_gap(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _checked(found: Given) -> Given:
    sizes = {name: len(column) for name, column in found.columns.items()}
    first = next(iter(sizes), "")
    for name, size in sizes.items():
        if not isinstance(name, str):
            raise InvalidInput(
                f"There is a column named {name!r}, a {type(name).__name__}.",
                hint="Columns are named by strings.",
            )
        if size != sizes[first]:
            raise InvalidInput(
                f"Column {name!r} has {size:,} values, and {first!r} has {sizes[first]:,}.",
                hint="Give every column a value for each row.",
            )
    return found


def _columns(rows: Mapping[str, Any]) -> Given:
    columns = {name: _listed(column) for name, column in rows.items()}
    return Given(columns, lambda made, _: {**columns, **made})


def _dicts(rows: Sequence[object], *, one: bool) -> Given:
    held: list[Mapping[str, Any]] = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidInput(
                f"Row {number} is a {type(row).__name__}, not a dict of columns.",
                hint='Write a row as {"item_id": "42"}.',
            )
        held.append(row)
    names = dict.fromkeys(name for row in held for name in row)

    def beside(made: Batch, types: Mapping[str, Column | None]) -> Any:
        rows_made = _table(made, types).to_pylist() or [{}] * len(held)  # of no columns
        answer = [{**row, **new} for row, new in zip(held, rows_made, strict=True)]
        return answer[0] if one else answer

    return Given({name: _listed([row.get(name) for row in held]) for name in names}, beside)


def _beside_polars(rows: pl.DataFrame) -> Callable[[Batch, Mapping[str, Column | None]], Any]:
    return lambda made, types: rows.hstack(pl.DataFrame(pl.from_arrow(_table(made, types))))


def _beside_pandas(rows: Any) -> Callable[[Batch, Mapping[str, Column | None]], Any]:
    def beside(made: Batch, types: Mapping[str, Column | None]) -> Any:
        frame = _table(made, types).to_pandas()
        return rows.assign(**{name: frame[name].array for name in frame})  # whatever the index is

    return beside


def _table(made: Batch, types: Mapping[str, Column | None]) -> pa.Table:
    """Columns as Arrow; files are their bytes, and null where there is none."""
    columns = {
        name: pa.array(made[name]) if kind is None else kind.pack(made[name])
        for name, kind in types.items()
    }
    return pa.table(columns)


def _listed(column: Any) -> NDArray[Any]:
    """A list or a series as an array; an array as it is."""
    if isinstance(column, np.ndarray):
        return column
    if isinstance(column, pl.Series):
        return _series(column)
    if hasattr(column, "notna"):
        return _pandas(column)
    if hasattr(column, "to_pylist"):
        return _series(pl.Series(pl.from_arrow(column)))
    values = list(column)
    if values and all(isinstance(value, np.datetime64) for value in values):
        return np.array(values)
    return objects(values)


def _series(column: pl.Series) -> NDArray[Any]:
    """Numbers, and moments with a zone, without a Python object for each."""
    kind = column.dtype
    if not column.null_count():
        if kind.is_numeric() and not kind.is_decimal():
            return column.to_numpy()
        if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
            return column.dt.epoch("us").to_numpy().view("M8[us]")
    return objects(column.to_list())


def _pandas(column: Any) -> NDArray[Any]:
    if getattr(column.dtype, "tz", None) is not None:  # moments with a zone, as UTC
        moments: NDArray[Any] = column.dt.tz_convert(None).to_numpy().astype("M8[us]")
        return moments
    try:
        return _series(pl.Series(pl.from_pandas(column)))
    except pa.ArrowException:  # objects of several kinds, or arrays of several axes
        return objects(column.astype(object).where(column.notna(), None).tolist())
