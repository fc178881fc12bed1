"""Read CSV, TSV and their kin: a record as it was written, or the whole file refused.

After an error within quotes nobody knows where the next record begins, so none is guessed.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import MAX_LINE
from cluster.features.intake.files.quoting import has_quotes
from cluster.features.intake.files.table import FIELD_BYTES, Chunk, Table, in_chunks
from cluster.features.schema.raw import written_number

Lines = Callable[[], Iterator[str]]
"""Begins to read the lines of a file, each time anew."""
DELIMITERS = ("::", "\t", ";", "|", ",")
"""What may part the columns; of two that fit equally the first, which is rarer in words."""
_SAMPLE_LINES = 200
_SAMPLE_CHARACTERS = 1_000_000
_SAID = re.compile(r'"?sep=(.)"?\s*')  # how spreadsheets are told what parts the columns
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_BLANK: tuple[list[str], ...] = ([], [""])
_Line = tuple[int, list[str]]


@dataclass(frozen=True)
class _Start:
    """Where the rows of a file begin, after remarks, and what parts their columns."""

    number: int
    lines: Iterator[str]
    sample: Sequence[str]
    delimiter: str


def open_delimited(
    lines: Lines, where: str, kind: str, *, numbered: bool = False, quotes: str = ""
) -> Table:
    """A table of text whose columns are parted by a character, which its first lines show.

    Remarks (`# ...`) and blank lines before the header are skipped, and `sep=;` is obeyed. A column
    in which the first chunk with values has numbers alone is one of numbers: `17850.0` is 17850.

    Args:
        lines: begins to read them.
        where: how errors name the file.
        kind: how its name ends: quotes in a `.csv` have a meaning; in others where all have one.
        numbered: it has no header: its columns are "0", "1" and so on.
        quotes: "yes" or "no" where the user says whether quotes have a meaning.

    Raises:
        InvalidInput: it is empty, or a quote leaves open where records begin.
    """
    csv.field_size_limit(MAX_LINE)  # of the process; the default ends a field at 131,072
    start = _start(lines, where, kind, numbered=numbered)
    if start.delimiter == "::":
        quoted = False
    elif quotes or kind == ".csv":
        quoted = quotes != "no"
    else:
        again = islice(lines(), start.number - 1, None)
        quoted = has_quotes(again, start.delimiter, where, start.number)
    rows = _quoted(start, where) if quoted else _plain(start)
    line, head = next(rows)
    if not quoted and "\r" in "".join(head):
        raise InvalidInput(
            f"Line {line} of {where} holds a carriage return, and newlines follow: how its lines "
            "end cannot be told.",
            hint="Save it with one kind of line end.",
        )
    if numbered:
        rows = chain([(line, head)], rows)
        head = [str(index) for index in range(len(head))]
    names = tuple(name.strip() for name in head)
    return Table(names, _numeric(_chunks(len(names), rows)))


def _start(lines: Lines, where: str, kind: str, *, numbered: bool) -> _Start:
    said = ""
    remarks: list[tuple[int, str]] = []
    begun = iter(lines())
    for number, line in enumerate(begun, 1):
        if not line.strip():
            continue
        if not said and (found := _SAID.fullmatch(line)):
            said = found[1]
        elif line.startswith("#") and len(remarks) < _SAMPLE_LINES:
            remarks.append((number, line))
        else:
            sample = list(_few(chain([line], begun)))
            delimiter = said or _delimiter(sample, kind)
            kept = list(_rows(remarks, sample[0], delimiter, numbered=numbered))
            first = number - len(kept)
            sample = [*kept, *sample]
            return _Start(first, chain(sample, begun), sample, delimiter)
    if not remarks:
        raise InvalidInput(f"{where} is empty.", hint="Name a file with rows.")
    sample = [line for _, line in remarks]
    return _Start(remarks[0][0], iter(sample), sample, said or _delimiter(sample, kind))


def _rows(
    remarks: Sequence[tuple[int, str]], row: str, delimiter: str, *, numbered: bool
) -> Iterator[str]:
    """The lines with # just above a row that are rows, too: the header, or any where none is."""

    def width(line: str) -> int:
        return len(next(_split([line], delimiter)))

    def is_row(line: str) -> bool:
        return width(line) == width(row) > 1 and (numbered or not line.startswith("# "))

    lines = [line for _, line in remarks]
    first = len(lines)
    while first and is_row(lines[first - 1]) and (numbered or first == len(lines)):
        first -= 1
    yield from lines[first:]


def _few(lines: Iterable[str]) -> Iterator[str]:
    size = 0
    for line in islice(lines, _SAMPLE_LINES):
        yield line
        size += len(line)
        if size > _SAMPLE_CHARACTERS:
            return


def _delimiter(sample: Sequence[str], kind: str) -> str:
    if kind == ".tsv" or (kind != ".csv" and "\t" in sample[0]):
        return "\t"
    fits: dict[str, tuple[float, int]] = {}
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _split(sample, delimiter) if row not in _BLANK]
        if widths and widths[0] > 1:
            fits[delimiter] = (widths.count(widths[0]) / len(widths), widths[0])
    return max(fits, key=lambda one: fits[one], default=",")


def _split(sample: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    if len(delimiter) > 1:
        return (line.rstrip("\r\n").split(delimiter) for line in sample)
    try:
        return iter(list(csv.reader(sample, delimiter=delimiter)))
    except csv.Error:  # a carriage return within a line
        return (line.rstrip("\r\n").split(delimiter) for line in sample)


def _spaced(sample: Sequence[str], delimiter: str) -> bool:
    """Whether a space follows the delimiters, which then is none of the values.

    One between a delimiter and a quote is a sure sign: no writer leaves quotes within a value bare.
    """
    any_row, bare_row, spaced_row = (_row(delimiter, after=some) for some in (" *+", "", " ++"))
    text, at = "".join(sample), 0
    rows: list[str] = []
    while at < len(text) and (row := any_row.match(text, at)):
        if not bare_row.fullmatch(row[0]):  # without spaces before its quotes it is no row
            return True
        rows.append(row[0])
        at = row.end()
    rows = rows[1:] or rows
    gaps = any(f"{delimiter} " in row for row in rows)
    return gaps and all(spaced_row.fullmatch(row) for row in rows)


def _row(delimiter: str, *, after: str) -> re.Pattern[str]:
    """A whole row, with some spaces after each delimiter, or none before an empty value.

    It has no groups: Python 3.11 fails where one stands in a possessive repeat.
    """
    between = re.escape(delimiter)
    quoted, plain = r'"(?:[^"]++|"")*+"', rf'(?! *+")[^{between}\r\n]*+'
    rest = rf"(?:{after}(?:{quoted}|{plain})|(?={between}|[\r\n]|\Z))"
    return re.compile(rf" *+(?:{quoted}|{plain})(?:{between}{rest})*+(?:\r*\n|\r|\Z)")


def _plain(start: _Start) -> Iterator[_Line]:
    for number, line in enumerate(start.lines, start.number):
        yield number, line.rstrip("\r\n").split(start.delimiter)


def _quoted(start: _Start, where: str) -> Iterator[_Line]:
    newest: deque[str] = deque(maxlen=1)

    def noted(line: str) -> str:
        newest.append(line)
        return line

    reader = csv.reader(
        map(noted, start.lines),
        delimiter=start.delimiter,
        strict=True,
        skipinitialspace=_spaced(start.sample, start.delimiter),
    )
    while True:
        number = start.number + reader.line_num  # where the row begins: quotes may hold line ends
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _unreadable(where, number, str(error)) from None
        if newest[0].endswith("\n\r"):  # which the reader takes for one line end
            raise _unreadable(where, number, "new-line character")
        yield number, row


def _unreadable(where: str, number: int, why: str) -> InvalidInput:
    hint = (
        "Mend the line (a quote within quotes is written twice), or say that quotes "
        "have no meaning in this file: --map quotes=no."
    )
    if "end of data" in why:
        why = "a quote opens there that never closes"
    elif "new-line character" in why:
        why = "its line ends are newlines here and carriage returns there, outside of quotes"
        hint = "Save it with one kind of line end."
    return InvalidInput(
        f"{where} cannot be read from line {number:,} on: {why}. Where the rows after it "
        "begin is not known, so nothing of it was taken in.",
        hint=hint,
    )


def _chunks(width: int, rows: Iterator[_Line]) -> Iterator[Chunk]:
    for some in in_chunks(rows, _size_bytes):
        good = [row for _, row in some if len(row) == width]
        broken = {
            number: f"the line has {len(row)} values, the table {width} columns"
            for number, row in some
            if len(row) != width and row not in _BLANK
        }
        values = zip(*good, strict=True) if good else [()] * width
        numbers = [number for number, row in some if len(row) == width]
        columns = tuple(objects(column) for column in values)
        yield Chunk(columns, np.asarray(numbers, dtype=np.int64), broken)


def _size_bytes(rows: Sequence[_Line]) -> int:
    fields = list(chain.from_iterable(row for _, row in rows))
    return sum(map(len, fields)) + FIELD_BYTES * len(fields)


def _numeric(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The chunks, with whole numbers less their `.0` in the columns that hold numbers alone.

    The first chunk in which a column has values decides for it: a file is read once.
    """
    numeric: dict[int, bool] = {}
    for chunk in chunks:
        columns = list(chunk.columns)
        for at, values in enumerate(columns):
            if at not in numeric and any(values):
                numeric[at] = _all_numbers(values)
            if numeric.get(at):
                columns[at] = objects(map(written_number, values))
        yield Chunk(tuple(columns), chunk.lines, chunk.broken)


def _all_numbers(values: Iterable[str]) -> bool:
    return all(_NUMBER.fullmatch(value) for value in values if value)
