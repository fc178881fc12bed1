"""Turn what a caller gives into rows of JSON: lists into batches, files into base64."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

from pydantic import BaseModel, JsonValue

from lepton._fields import Field
from lepton._files import is_binary, to_base64
from lepton.errors import BadType, BadValue

Fields = Mapping[str, Field]
Row = Mapping[str, object]


class Frame(Protocol):
    """A table with named columns: of pandas, Polars or Arrow."""

    @property
    def shape(self) -> tuple[int, int]:
        """Its rows and columns."""


def named(values: Sequence[object], arguments: Row, fields: Fields, task: str) -> Row:
    """The arguments, with the one value that has no name under the name of the first field.

    Raises:
        BadType: there are several such values, or the first field is given by its name as well.
    """
    if not values:
        return arguments
    first = next(iter(fields), "")
    if len(values) > 1 or not first:
        raise BadType(
            f"{task} was given {len(values)} values without a name. Give at most "
            f"the first of its fields so, and the others by name: {', '.join(fields) or 'none'}."
        )
    if first in arguments:
        raise BadType(f"{task} was given {first} with its name and without. Give it once.")
    return {first: values[0], **arguments}


def batch_of(arguments: Row, fields: Fields) -> list[Row] | None:
    """Spread arguments over the inputs of a batch; None if they are one input.

    An argument with one value per input makes a batch; every other argument holds for all of it.

    Raises:
        BadValue: two arguments have different numbers of values.
    """
    plain = {name: _unwrap(value, _field(name, fields)) for name, value in arguments.items()}
    columns = {
        name: value
        for name, value in plain.items()
        if isinstance(value, list | tuple) and _field(name, fields).is_column(value)
    }
    if not columns:
        return None
    (first, values), *others = columns.items()
    for name, column in others:
        if len(column) != len(values):
            raise BadValue(
                f"{first} has {len(values)} values but {name} has {len(column)}. Give lists of "
                "equal length, or one value to use it for all inputs."
            )
    return [
        plain | {name: column[at] for name, column in columns.items()} for at in range(len(values))
    ]


def rows_of(given: object, what: str) -> Sequence[Row]:
    """The rows of a list of dicts, or of a DataFrame or table, where an empty cell is no field.

    Args:
        given: also of pandas, Polars and Arrow, which are known by their methods.
        what: its name in errors.

    Raises:
        BadType: it is none of these, or a column has no name.
        BadValue: two columns have one name.
    """
    for method in ("to_dicts", "to_pylist"):  # of Polars and Arrow, whose empty cells are None
        if callable(convert := getattr(given, method, None)):
            _check_names(getattr(given, "column_names", ()), what)
            return [_filled(row) for row in convert()]
    if callable(getattr(given, "to_dict", None)) and callable(getattr(given, "isna", None)):
        frame: Any = given  # of pandas, whose empty cells are NaN, NaT, NA or None
        if not hasattr(frame, "columns"):
            raise BadType(f"{what} is a Series. Give a DataFrame, or a list of dicts.")
        _check_names(frame.columns, what)
        cells = zip(frame.to_dict("records"), frame.isna().to_dict("records"), strict=True)
        return [{name: v for name, v in row.items() if not empty[name]} for row, empty in cells]
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        raise BadType(
            f"{what} is of type {type(given).__name__}. Give a list of dicts, or a DataFrame."
        )
    return given


def _check_names(names: Iterable[object], what: str) -> None:
    """See that every column has a name of its own, which is a str: others would be left out."""
    known: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise BadType(
                f"{what} has the column {name!r}, whose name is no str. Name it as a field."
            )
        if name in known:
            raise BadValue(f"{what} has two columns called {name!r}. Drop or rename one.")
        known.add(name)


def _filled(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


def to_wire(row: Row, fields: Fields) -> dict[str, JsonValue]:
    """Write one input as JSON can carry it.

    Raises:
        BadType: JSON cannot carry that kind of value, or the row is no dict.
        BadValue: a value that JSON cannot carry (NaN), or a file of another kind than is taken.
        MissingFile: the path of a binary field leads to no file.
    """
    if not isinstance(row, Mapping):
        raise BadType(f"An input is of type {type(row).__name__}. Give a dict of its fields.")
    return {name: _to_json(value, _field(name, fields)) for name, value in row.items()}


def _field(name: str, fields: Fields) -> Field:
    return fields.get(name) or Field(name)


def _unwrap(value: object, field: Field) -> object:
    """Turn arrays, series and NumPy's numbers into lists and Python's numbers."""
    if isinstance(value, memoryview) or (field.is_binary and is_binary(value)):
        return value
    for method in ("tolist", "to_list"):
        if callable(convert := getattr(value, method, None)):
            unwrapped: object = convert()
            return unwrapped
    return value


def _to_json(value: object, field: Field) -> JsonValue:
    value = _unwrap(value, field)
    if value is None:
        return None
    if isinstance(value, list | tuple) and ("array" in field.kinds or not field.is_binary):
        element = field.element
        return [_to_json(one, element) for one in value]
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {_key(key, field): _to_json(one, field.member(key)) for key, one in value.items()}
    return to_base64(value, field) if field.is_binary else _scalar(value, field.name)


def _key(key: object, field: Field) -> str:
    if not isinstance(key, str):
        raise BadType(f"{field.name} has the key {key!r}, but keys in JSON are str. Convert it.")
    return key


def _scalar(value: object, name: str) -> JsonValue:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue(
            f"{name} is {value}, not a finite number: JSON cannot carry it. "
            "Leave the field out, or give a number."
        )
    if isinstance(value, str) and not value.isascii():
        _check_text(value, name)
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise BadType(
        f"{name} is of type {type(value).__name__}, which JSON cannot carry. "
        "Give a str, a number, a bool, a list or a dict."
    )


def _check_text(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadValue(
            f"{name} holds half a character, {value[error.start : error.end]!a}, at place "
            f"{error.start}. Decode its bytes with their encoding, or leave it out."
        ) from None
