"""Read tables whose values have types: Parquet, Arrow and Feather, and sheets of Excel."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import too_large
from cluster.features.intake.files.table import ROWS, Chunk, Table, rows_at_once
from cluster.features.schema.raw import word

SAVE_AGAIN = "Save it again, or name another file."
_BROKEN = (pa.ArrowException, OSError)
_UNPACKED_BYTES = 1_000_000_000  # of a workbook, which is a zip and read whole


def sentence(error: Exception) -> str:
    """An error's words with one full stop: some of Arrow's have one, and some none."""
    return f"{str(error).rstrip('.')}."


def open_parquet(where: str, file: BinaryIO) -> Table:
    """A table of Parquet.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        source = pq.ParquetFile(file)
    except _BROKEN as error:
        raise InvalidInput(
            f"{where} cannot be read as Parquet: {sentence(error)}", hint=SAVE_AGAIN
        ) from None
    about, schema = source.metadata, source.schema_arrow
    size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
    batches = source.iter_batches(rows_at_once(about.num_rows, size))
    chunks = _arrow_chunks(where, batches)
    return Table(tuple(schema.names), chunks, unit="row", metadata=schema.metadata or {})


def open_arrow(where: str, file: BinaryIO) -> Table:
    """A table of Arrow's files, Arrow's streams, or Feather.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        magic = file.read(6)
        file.seek(0)
        if magic == b"ARROW1":
            source = pa.ipc.open_file(file)
            batches = (source.get_batch(number) for number in range(source.num_record_batches))
        elif magic.startswith(b"FEA1"):
            raise InvalidInput(
                f"{where} is Feather of version 1, which nothing writes today.",
                hint="Write it again, as Parquet or as Feather of version 2.",
            )
        else:
            source = pa.ipc.open_stream(file)
            batches = iter(source)
    except _BROKEN as error:
        raise InvalidInput(
            f"{where} cannot be read as Arrow: {sentence(error)}", hint=SAVE_AGAIN
        ) from None
    chunks, schema = _arrow_chunks(where, _pieces(batches)), source.schema
    return Table(tuple(schema.names), chunks, unit="row", metadata=schema.metadata or {})


def open_sheet(where: str, data: bytes, *, numbered: bool = False) -> Table:
    """The table on the one sheet of a workbook.

    Raises:
        InvalidInput: it cannot be read, is empty, or has several sheets with cells.
        TooLarge: unpacked it has more than a billion bytes.
    """
    try:
        if sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(data)).infolist()) > (
            _UNPACKED_BYTES
        ):
            raise too_large(where, _UNPACKED_BYTES)
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        shown = [
            book.get_sheet_by_name(sheet.name)
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
        ]
        sheets = [sheet for sheet in shown if sheet.height]
        if len(sheets) > 1:
            names = ", ".join(repr(sheet.name) for sheet in sheets)
            raise InvalidInput(
                f"{where} holds several sheets: {names}.",
                hint="Save the one to read in a file of its own.",
            )
        rows: list[list[Any]] = sheets[0].to_python() if sheets else []
        first = sheets[0].start if sheets else None
    except (CalamineError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{where} cannot be read as Excel: {sentence(error)}", hint=SAVE_AGAIN
        ) from None
    if not rows or first is None:
        raise InvalidInput(f"{where} is empty.", hint="Name a file with rows.")
    head = range(len(rows[0])) if numbered else rows.pop(0)
    names_of = tuple((word(cell) or "").strip() for cell in head)
    begin = first[0] + (1 if numbered else 2)
    return Table(names_of, _sheet_chunks(len(names_of), rows, begin), unit="row")


def _sheet_chunks(width: int, rows: Iterable[list[Any]], begin: int) -> Iterator[Chunk]:
    filled = (
        (number, row)
        for number, row in enumerate(rows, begin)
        if any(cell not in ("", None) for cell in row)
    )
    while some := list(islice(filled, ROWS)):
        columns = tuple(objects(row[at] for _, row in some) for at in range(width))
        yield Chunk(columns, np.asarray([number for number, _ in some], np.int64), {})


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = rows_at_once(batch.num_rows, batch.nbytes)
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def _arrow_chunks(where: str, batches: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
    number = 1
    try:
        for batch in batches:
            numbers = np.arange(number, number + batch.num_rows)
            yield Chunk(tuple(map(_raw, batch.columns)), numbers, {})
            number += batch.num_rows
    except _BROKEN as error:
        raise InvalidInput(
            f"{where} cannot be read to its end: {sentence(error)}", hint="Fetch it again."
        ) from None


def _raw(values: pa.Array) -> NDArray[Any]:
    """An Arrow column as raw values; integers with gaps stay integers."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        values = _microseconds(values)
        if kind.tz is not None:
            moments: NDArray[Any] = values.to_numpy(zero_copy_only=False)
            return moments
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(values)
    if pa.types.is_timestamp(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = values.dictionary_encode()
        meanings = objects([*_listed(coded.dictionary), None])  # the last one stands for gaps
        picked: NDArray[Any] = meanings[np.asarray(coded.indices.fill_null(len(meanings) - 1))]
        return picked
    return objects(_listed(values))


def _microseconds(values: pa.Array) -> pa.Array:
    """Moments to the microsecond, without a zone: finer ones are cut, which no other unit needs."""
    naive = values.cast(pa.timestamp(values.type.unit))
    return naive.cast(pa.timestamp("us"), safe=values.type.unit != "ns")


def _numbers(values: pa.Array) -> NDArray[Any]:
    if not values.null_count:
        whole: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return whole
    if pa.types.is_integer(values.type):
        return objects(values.to_pylist())
    # each keeps its own size, which says how many of its digits are exact
    numbers = values.to_numpy(zero_copy_only=False)
    return objects(
        number if known else None
        for number, known in zip(numbers, values.is_valid().to_pylist(), strict=True)
    )


def _listed(values: pa.Array) -> list[Any]:
    """As Python's values; one that Python has none for, such as the year 12000, as words."""
    try:
        listed: list[Any] = values.to_pylist()
    except (ValueError, OverflowError):
        return [_python(value) for value in values]
    return listed


def _python(value: pa.Scalar) -> object:
    try:
        found: object = value.as_py()
    except (ValueError, OverflowError):
        # never digits alone: they would be read as unix time
        return f"{value.type} {value.cast(pa.int64()).as_py()}"
    return found
