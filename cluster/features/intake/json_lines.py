"""Read JSON lines: every column of every line, and every digit of every whole number."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import orjson

from cluster.batch import objects
from cluster.errors import InvalidInput
from cluster.features.intake.delimited import Lines
from cluster.features.intake.table import FIELD_BYTES, Chunk, Table, in_chunks

_LONG = re.compile(r"\d{16}")  # orjson makes floats of numbers over 64 bits
MOST_FIELDS = 10_000
"""With more different fields than that, their names are likely ids."""
_WIDE = 50
_NO_OBJECT = "the line is no JSON object"


def open_json(lines: Lines, where: str) -> Table:
    """A table whose columns are the fields of all lines; a field that a line lacks is nothing.

    Args:
        lines: begins to read them.
        where: how errors name the file.

    Raises:
        InvalidInput: it is empty, or has more than `MOST_FIELDS` different fields.
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
            if len(names) > MOST_FIELDS:
                raise InvalidInput(
                    f"{where} has more than {MOST_FIELDS:,} different fields.",
                    hint="If their names are ids, write a line for each, with the id as a value.",
                )
    if blank:
        raise InvalidInput(f"{where} is empty.", hint="Name a file with rows.")
    return Table(tuple(names), _chunks(tuple(names), lines()))


def _chunks(names: tuple[str, ...], lines: Iterable[str]) -> Iterator[Chunk]:
    def size_bytes(some: Sequence[tuple[int, str]]) -> int:
        return sum(len(line) for _, line in some) + FIELD_BYTES * len(names) * len(some)

    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for chunk in in_chunks(numbered, size_bytes):
        some = [(number, _object(line)) for number, line in chunk]
        good = [row for _, row in some if isinstance(row, dict)]
        numbers = [number for number, row in some if isinstance(row, dict)]
        broken = {number: row for number, row in some if isinstance(row, str)}
        columns = tuple(objects(row.get(name) for row in good) for name in names)
        yield Chunk(columns, np.asarray(numbers, dtype=np.int64), broken)


Row = dict[str, object]


def _object(line: str) -> Row | str:
    """The object of a line, or why it is none."""
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
    """Whether a name may stand in the line more than once, as a field or otherwise."""
    many = line.count(":") > len(row)  # quick to see, and so of few lines
    # to look for each of many names takes longer than to read the line again
    return many and (len(row) > _WIDE or any(line.count(f'"{name}"') > 1 for name in row))


def _once(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidInput(f"the line gives {twice[:40]!r} more than once")
    return row
