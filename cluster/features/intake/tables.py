"""Read CSV, TSV, JSON lines and Parquet into raw columns, some thousands of rows at a time."""

import csv
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.batch import objects
from cluster.errors import InvalidInput
from cluster.features.intake.tree import Tree, lines, suffix

TABLES = frozenset((".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"))
ROWS = 32_768  # held at a time
_BOM = "\ufeff"  # the byte order mark that some programs begin a file with
_UTF_16 = tuple(mark.decode(errors="surrogateescape") for mark in (BOM_UTF16_LE, BOM_UTF16_BE))
_BLANK: tuple[list[str], ...] = ([], [""], ["\r"])


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table: raw values by column, the number of each row's line, broken lines."""

    columns: Mapping[str, NDArray[Any]]
    lines: NDArray[np.int64]
    broken: Mapping[int, str]


@dataclass(frozen=True)
class Table:
    """The names of a table's columns, its rows in chunks, and what its numbers count."""

    names: tuple[str, ...]
    chunks: Iterator[Chunk]
    unit: str = "line"


_Line = tuple[int, list[str] | csv.Error]


def open_table(tree: Tree, name: str, file: BinaryIO, *, numbered: bool = False) -> Table:
    """One table from an open file.

    Lines end at a newline only. CSV may be parted by commas, semicolons or tabs, as its first line
    is; TSV has no quotes. A `numbered` table has no header: its columns are "0", "1" and so on.

    Raises:
        InvalidInput: it is empty, or Parquet that cannot be read.
    """
    kind = suffix(name)
    if kind == ".parquet":
        packed = name.lower().endswith(".gz")  # Parquet is read from its end: unpacked whole
        return _parquet(tree.where(name), io.BytesIO(tree.read(name)) if packed else file)
    # What is no UTF-8 stays recognisable, so that its row alone is refused, with the reason.
    said = (
        line.decode("utf-8", errors="surrogateescape") for line in lines(file, tree.where(name))
    )
    first = next(said, "").removeprefix(_BOM)
    if not first.strip():
        raise InvalidInput(f"{tree.where(name)} is empty.", hint="Name a file with rows.")
    if first.startswith(_UTF_16):
        raise InvalidInput(f"{tree.where(name)} is UTF-16.", hint="Save it as UTF-8.")
    everything = chain([first], said)
    if kind in (".jsonl", ".ndjson"):
        return _json(everything)
    rows = _quoted(everything, first) if kind == ".csv" else _unquoted(everything)
    line, head = next(rows)
    if isinstance(head, csv.Error):
        raise InvalidInput(f"The header of {tree.where(name)} cannot be read: {head}.")
    if numbered:
        rows = chain([(line, head)], rows)
        head = [str(index) for index in range(len(head))]
    return Table(tuple(head), _chunks(tuple(head), rows))


def _unquoted(said: Iterable[str]) -> Iterator[_Line]:
    for number, line in enumerate(said, 1):
        yield number, line.rstrip("\r\n").split("\t")


def _quoted(said: Iterable[str], first: str) -> Iterator[_Line]:
    reader = csv.reader(said, delimiter=max(",;\t", key=first.count), strict=True)
    while True:
        number = reader.line_num + 1  # where the row begins: quotes may hold line ends
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # a quote that never closes swallows the lines after it: each of them is lost
            yield from ((lost, error) for lost in range(number, reader.line_num + 1))


def _chunks(head: tuple[str, ...], rows: Iterator[_Line]) -> Iterator[Chunk]:
    width = len(head)
    while some := list(islice(rows, ROWS)):
        good = [row for _, row in some if not isinstance(row, csv.Error) and len(row) == width]
        broken = {}
        lines = []
        for number, row in some:
            if isinstance(row, csv.Error):
                broken[number] = f"the line cannot be read: {row}"
            elif len(row) == width:
                lines.append(number)
            elif row not in _BLANK:
                broken[number] = f"the line has {len(row)} values, the table {width} columns"
        values = zip(*good, strict=True) if good else [()] * width
        columns = {name: objects(column) for name, column in zip(head, values, strict=True)}
        yield Chunk(columns, np.asarray(lines, dtype=np.int64), broken)


def _json(said: Iterable[str]) -> Table:
    numbered = ((number, line) for number, line in enumerate(said, 1) if line.strip())
    start = [(number, _object(line)) for number, line in islice(numbered, ROWS)]
    names = tuple(dict.fromkeys(chain.from_iterable(row or () for _, row in start)))

    def chunks() -> Iterator[Chunk]:
        some = start
        while some:
            good = [row for _, row in some if row is not None]
            columns = {name: objects(row.get(name) for row in good) for name in names}
            held = [number for number, row in some if row is not None]
            broken = {number: "the line is no JSON object" for number, row in some if row is None}
            yield Chunk(columns, np.asarray(held, dtype=np.int64), broken)
            some = [(number, _object(line)) for number, line in islice(numbered, ROWS)]

    return Table(names, chunks())


def _object(line: str) -> dict[str, object] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _parquet(where: str, file: BinaryIO) -> Table:
    try:
        source = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{where} cannot be read as Parquet: {error}.") from None

    def chunks() -> Iterator[Chunk]:
        number = 1
        try:
            for batch in source.iter_batches(ROWS):
                named = zip(batch.schema.names, batch.columns, strict=True)
                numbers = np.arange(number, number + batch.num_rows)
                yield Chunk({name: _raw(column) for name, column in named}, numbers, {})
                number += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(
                f"{where} cannot be read to its end: {error}.", hint="Fetch it again."
            ) from None

    return Table(tuple(source.schema_arrow.names), chunks(), unit="row")


def _raw(values: pa.Array) -> NDArray[Any]:
    """An Arrow column as raw values; integers with gaps stay integers."""
    kind = values.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        moments: NDArray[Any] = values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
        return moments
    if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not values.null_count:
        numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return numbers
    if pa.types.is_timestamp(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = values.dictionary_encode()
        meanings = objects([*coded.dictionary.to_pylist(), None])  # the last one stands for gaps
        picked: NDArray[Any] = meanings[np.asarray(coded.indices.fill_null(len(meanings) - 1))]
        return picked
    return objects(values.to_pylist())
