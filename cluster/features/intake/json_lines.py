"""Read JSON lines: every column of every line, and every digit of every whole number."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import orjson

from cluster.batch import objects
from cluster.errors import InvalidInput
from cluster.features.intake.delimited import Lines
from cluster.features.intake.table import ROWS, Chunk, Table

_LONG = re.compile(r"\d{16}")  # orjson makes floats of numbers over 64 bits
_NO_OBJECT = "the line is no JSON object"


def open_json(lines: Lines, where: str) -> Table:
    """A table whose columns are the fields of all lines; a field that a line lacks is nothing.

    Args:
        lines: begins to read them.
        where: how errors name the file.

    Raises:
        InvalidInput: it is empty.
    """
    names: dict[str, None] = {}
    blank = True
    for line in lines():
        blank = blank and not line.strip()
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = _object(line)
        if isinstance(row, dict) and not row.keys() <= names.keys():
            names.update(dict.fromkeys(row))
    if blank:
        raise InvalidInput(f"{where} is empty.", hint="Name a file with rows.")
    return Table(tuple(names), _chunks(tuple(names), _rows(lines())))


def _chunks(names: tuple[str, ...], rows: Iterator[tuple[int, "Row | str"]]) -> Iterator[Chunk]:
    while some := list(islice(rows, ROWS)):
        good = [row for _, row in some if isinstance(row, dict)]
        numbers = [number for number, row in some if isinstance(row, dict)]
        broken = {number: row for number, row in some if isinstance(row, str)}
        columns = tuple(objects(row.get(name) for row in good) for name in names)
        yield Chunk(columns, np.asarray(numbers, dtype=np.int64), broken)


Row = dict[str, object]


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, Row | str]]:
    """The number of each line that is not blank, and its object or why it is none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, _object(line)


def _object(line: str) -> Row | str:
    try:
        value = None if _LONG.search(line) else orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None  # it may hold NaN, or bytes that are no UTF-8: a fault of one value
    if value is None or (isinstance(value, dict) and _may_repeat(value, line)):
        try:
            value = json.loads(line, object_pairs_hook=_once)
        except InvalidInput as error:
            return error.message
        except (ValueError, RecursionError):
            return _NO_OBJECT
    return value if isinstance(value, dict) else _NO_OBJECT


def _may_repeat(row: Row, line: str) -> bool:
    """Whether a name stands in the line more than once, as a field or otherwise."""
    many = line.count(":") > len(row)  # quick to see, and so of few lines
    return many and any(line.count(f'"{name}"') > 1 for name in row)


def _once(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the line gives {twice[:40]!r} more than once")
    return row
