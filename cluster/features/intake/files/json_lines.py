"""Read JSON lines or an array of objects: every field of each, and all digits of whole numbers."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import orjson

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import decode
from cluster.features.intake.files.delimited import Lines
from cluster.features.intake.files.table import FIELD_BYTES, Chunk, Table, in_chunks

_LONG = re.compile(r"\d{16}")  # orjson makes floats of numbers over 64 bits
MOST_FIELDS = 10_000
"""With more different fields than that, their names are likely ids."""
_SOLID = re.compile(r"[^ \t\r\n]")
ONE_A_LINE = "Write one object a line (JSON lines)."
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


def begins_array(head: bytes) -> bool:
    """Whether the first bytes of a file, in any encoding, begin a JSON array."""
    first = re.search(rb"[^\s\0\xef\xbb\xbf\xfe\xff]", head)
    return first is not None and first[0] == b"["


def open_array(data: bytes, where: str, encoding: str = "") -> Table:
    """The table of a JSON array of objects, which are read as `open_json` reads lines.

    Args:
        data: the whole file.
        where: how errors name the file.
        encoding: what the user says that it is.

    Raises:
        InvalidInput: it is no JSON array to its end, is empty, or is not in its encoding.
    """
    text = decode(data, where, encoding)
    try:
        elements = list(_elements(text))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is no JSON array: {error}.", hint=ONE_A_LINE) from None
    return replace(open_json(lambda: iter(elements), where), unit="object")


def check_lines(lines: Iterable[str], where: str) -> None:
    """Refuse a file whose first line that is not blank holds no whole JSON object.

    Raises:
        InvalidInput: it is likely one value over many lines.
    """
    first = next((line for line in lines if line.strip()), None)
    if first is not None and isinstance(_object(first), str):
        raise InvalidInput(
            f"{where} is no table: its first line is no JSON object.", hint=ONE_A_LINE
        )


def _elements(text: str) -> Iterator[str]:
    """The text of each element of an array, so that none of its digits is lost."""
    decoder = json.JSONDecoder()
    at = _next(text, text.index("[") + 1)
    while text[at : at + 1] != "]":
        _, end = decoder.raw_decode(text, at)
        yield text[at:end]
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
    if (rest := _next(text, at + 1)) < len(text):
        raise json.JSONDecodeError("Extra data", text, rest)


def _next(text: str, at: int) -> int:
    """Where the next character stands that is not blank."""
    found = _SOLID.search(text, at)
    return found.start() if found else len(text)


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
