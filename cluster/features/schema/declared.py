"""Refuse what a view may not be declared with, in a sentence that names the view."""

from collections.abc import Mapping
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.schema.column import Column, Number, Text, Time, Whole
from cluster.features.schema.ragged import Numbers, Texts, Vector

LISTS = (list, tuple, np.ndarray)
GIVEN_AS: Mapping[type[Column], tuple[type, ...]] = {
    Text: (str, int),
    Number: (float, int),
    Whole: (int, float),
    Texts: (list,),
    Numbers: (list,),
    Vector: (list,),
}
"""What a model's field may be for a column of each type."""


def check_columns(view: str, columns: object) -> None:
    """Refuse columns without a type.

    Raises:
        InvalidInput: they are no mapping, or one is of no type.
    """
    if not isinstance(columns, Mapping):
        raise _no_columns(view, columns)
    for name, kind in columns.items():
        if not isinstance(kind, Column):
            raise InvalidInput(
                f"Column {name!r} of view {view!r} is {shown(kind)}, which is no type of a column.",
                hint=f"Write {as_called(kind, Column) or 'Number(), Text() or another'}.",
            )


def check_some(view: str, columns: object) -> None:
    """Refuse a view that is made and holds nothing; a source view may be of keys alone.

    Raises:
        InvalidInput: there are no columns.
    """
    if not columns:
        raise _no_columns(view, columns)


def _no_columns(view: str, columns: object) -> InvalidInput:
    return InvalidInput(
        f"View {view!r} has the columns {columns!r}, which are none.",
        hint='Write columns={"price": Number()}.',
    )


def check_defaults(view: str, columns: Mapping[str, Column], defaults: object) -> None:
    """Refuse a default that its column could not hold.

    Raises:
        InvalidInput: one is of another type, or no finite number.
    """
    if not isinstance(defaults, Mapping):
        raise InvalidInput(
            f"View {view!r} has the defaults {defaults!r}, which name no columns.",
            hint='Write defaults={"price": 1.0}.',
        )
    for name, value in defaults.items():
        if name in columns and not _holds(columns[name], value):
            raise InvalidInput(
                f"The default {value!r} of column {name!r} of view {view!r} cannot stand there: "
                f"the column is {columns[name]}.",
                hint="Give a finite value of that type, or leave the default out.",
            )


def check_about(view: str, ttl: object, tags: object) -> None:
    """Refuse a time-to-live that is no length of time, and tags that are no words.

    Raises:
        InvalidInput: one is not.
    """
    if ttl is not None and not isinstance(ttl, timedelta):
        raise InvalidInput(
            f"View {view!r} has a time-to-live of {ttl!r}, which is no timedelta.",
            hint="Write ttl=timedelta(days=7), or leave it out.",
        )
    if ttl is not None and ttl <= timedelta():
        raise InvalidInput(
            f"View {view!r} has a time-to-live of {ttl}, so that nothing ever holds.",
            hint="Write one that is longer than nothing, or leave it out.",
        )
    if not isinstance(tags, tuple | list) or not all(isinstance(tag, str) for tag in tags):
        one = tags if isinstance(tags, str) else "shop"
        raise InvalidInput(
            f"View {view!r} has the tags {tags!r}, which are no tuple of words.",
            hint=f'Write tags=("{one}",).',
        )


def shown(value: object) -> str:
    """A value as it was written: a class by its name."""
    return value.__name__ if isinstance(value, type) else repr(value)


def as_called(value: object, kind: type) -> str:
    """How a class is written where one of its kind is wanted: `Count()`; nothing for others."""
    return f"{value.__name__}()" if isinstance(value, type) and issubclass(value, kind) else ""


def gives(annotation: Any, column: Column) -> bool:
    """Whether a field of a model's Output, by its type, can be such a column; if in doubt, it can.

    Args:
        annotation: the type of the field.
        column: what a view declares.
    """
    wanted = next((types for kind, types in GIVEN_AS.items() if isinstance(column, kind)), None)
    found = _plain(annotation)
    if wanted is None or not found:
        return True
    return any(one in wanted for one in found)


def _plain(annotation: Any) -> list[type]:
    """The plain types that a field may be; none where they are not told."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        each = [_plain(one) for one in inner if one is not NoneType]
        return [one for several in each for one in several] if all(each) else []
    if origin is Literal:
        return [type(value) for value in inner]
    if origin in (list, tuple) or annotation in (list, tuple):
        return [list]
    return [annotation] if annotation in (str, int, float, bool, dict) else []


def _holds(column: Column, value: object) -> bool:
    """Whether a column can hold a value as it is, without reading it first."""
    if isinstance(column, Text):  # also the empty text, where a row of it must say something
        return isinstance(value, str)
    if isinstance(column, Time):
        return isinstance(value, np.datetime64) and not np.isnat(value)
    if isinstance(column, Number | Whole) and isinstance(value, str | bool | np.bool_):
        return False
    if isinstance(column, Texts | Numbers) and not isinstance(value, LISTS):
        return False
    return not column.admit(objects([value]))[1]
