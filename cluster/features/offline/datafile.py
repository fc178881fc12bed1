"""Write rows as immutable Parquet files, and read them back with every byte checked."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.base.errors import Corrupt
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.shape import ARRIVED
from cluster.features.schema.column import ALWAYS
from cluster.features.schema.view import View

FILE_BYTES = 64_000_000  # of rows at rest, after which the next file begins
FILE_ROWS = 1_000_000
SPAN_ROWS = 65_536  # days with fewer rows share a file with the next day
GROUP_ROWS = 65_536  # rows that a reader must take at once
FEW_ROWS = 64  # fewer are written and read twice as fast as they are, neither packed nor coded

Lineage = tuple[tuple[str, tuple[str, ...]], ...]
"""Names of merged files, and what each was merged from."""


@dataclass(frozen=True)
class DataFile:
    """One immutable Parquet file of rows of one day, or of several days that follow each other.

    No two of its rows have the same key and event time; they stand in the order of event times,
    those of one time in the order in which they came.

    Args:
        name: its name in the view's `data` folder, `day=<its first day>/<unique>.parquet`.
        rows: how many it holds.
        size_bytes: the memory they take once read.
        oldest: the earliest event time among them.
        newest: the latest.
        sha256: of its bytes, in hexadecimal.
        arrived: the number of its arrival: of two rows that were created at one moment, the one
            with the larger number came later. Nanoseconds since 1970, more than all before.
        parents: the files that it was merged from, if it was: then it holds a column `arrived`.
        lineage: for a while, of those that were merged themselves, and of theirs, the name and
            from which: whoever took in only the oldest of them is known to have all its rows. What
            another was merged from comes after it.
    """

    name: str
    rows: int
    size_bytes: int
    oldest: np.datetime64
    newest: np.datetime64
    sha256: str
    arrived: int = 0
    parents: tuple[str, ...] = ()
    lineage: Lineage = ()

    @property
    def days(self) -> tuple[np.datetime64, np.datetime64]:
        """The first and the last UTC day that it has rows of."""
        return self.oldest.astype("M8[D]"), self.newest.astype("M8[D]")

    def to_json(self) -> dict[str, Any]:
        """What a commit says of it."""
        held = {**asdict(self), "oldest": str(self.oldest), "newest": str(self.newest)}
        return {name: value for name, value in held.items() if value != ()}

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> Self:
        """Reads it back; a ValueError, KeyError or TypeError where it is something else."""
        times = {name: np.datetime64(held[name], "us") for name in ("oldest", "newest")}
        lineage = tuple((name, tuple(parents)) for name, parents in held.get("lineage", ()))
        parents = tuple(held.get("parents", ()))
        return cls(**{**held, **times, "parents": parents, "lineage": lineage})


def in_order(table: pa.Table) -> pa.Table:
    """The rows by event time, those of one time as they stood."""
    moments = _moments(table)
    if (moments[1:] >= moments[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(moments, kind="stable")))


def pieces(table: pa.Table) -> Iterator[pa.Table]:
    """Rows in order as the tables of files: cut between days, and within a day that is too large.

    Rows that have held always stand apart from those of days.
    """
    days = _moments(table).astype("M8[D]")
    starts = np.flatnonzero(days[1:] != days[:-1]) + 1
    most = max(1, min(FILE_ROWS, int(FILE_BYTES * table.num_rows / max(table.nbytes, 1))))
    begun = 0
    for end in [*starts.tolist(), table.num_rows]:
        while end - begun > most:
            yield table.slice(begun, most)
            begun += most
        held = end - begun
        last = end == table.num_rows
        if held and (last or held >= min(SPAN_ROWS, most) or days[begun] == ALWAYS):
            yield table.slice(begun, held)
            begun = end


def write_file(
    bucket: Bucket, view: View, table: pa.Table, parents: tuple[str, ...] = ()
) -> DataFile:
    """One data file, durable once a commit names it.

    Raises:
        Conflict: the folder cannot be written to.
        NotEnough: the disk is full.
    """
    types = view.schema
    parquet = pa.BufferOutputStream()
    few = table.num_rows < FEW_ROWS
    pq.write_table(
        table,
        parquet,
        row_group_size=GROUP_ROWS,
        compression={name: _compression(view, name, few=few) for name in table.column_names},
        use_dictionary=[f.name for f in table.schema if f.type == pa.string() and not few],
        write_page_checksum=True,
    )
    data = parquet.getvalue()
    moments = _moments(table)
    name = f"day={moments[0].astype('M8[D]')}/{uuid4().hex}.parquet"
    bucket.put(f"{view.name}/data/{name}", data)
    size = sum(types[n].size_bytes(whole(table[n])) for n in types if n in table.column_names)
    digest = hashlib.sha256(data).hexdigest()
    return DataFile(name, table.num_rows, size, moments[0], moments[-1], digest, parents=parents)


def read_file(bucket: Bucket, view: str, file: DataFile, names: Sequence[str]) -> pa.Table:
    """Those of the named columns that a file has, every byte of it checked.

    Raises:
        Corrupt: it is damaged or gone.
    """
    place = f"{view}/data/{file.name}"
    try:
        data = bucket.read(place)
    except FileNotFoundError as error:
        raise _damaged(bucket, place, str(error)) from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _damaged(bucket, place, "its bytes are not those that were written")
    with pq.ParquetFile(pa.BufferReader(data)) as source:
        return _arrived(_columns(source, names), file, names)


def read_some(bucket: Bucket, view: str, file: DataFile, names: Sequence[str]) -> pa.Table:
    """The same for small columns of a large file, of which nothing else is read or checked.

    Raises:
        Corrupt: a page of them is damaged, or the file gone.
    """
    place = f"{view}/data/{file.name}"
    try:
        with pq.ParquetFile(bucket.source(place), page_checksum_verification=True) as source:
            table = _columns(source, names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(bucket, place, str(error)) from None
    if table.num_rows != file.rows:
        raise _damaged(bucket, place, f"it holds {table.num_rows} rows and not {file.rows}")
    return _arrived(table, file, names)


def between(table: pa.Table, since: np.datetime64 | None, until: np.datetime64 | None) -> pa.Table:
    """The rows in order whose event time is in [since, until]."""
    moments = _moments(table)
    begin = 0 if since is None else int(np.searchsorted(moments, since, "left"))
    end = len(moments) if until is None else int(np.searchsorted(moments, until, "right"))
    return table.slice(begin, max(0, end - begin))


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    chunks = column.combine_chunks()
    return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks


def _compression(view: View, name: str, *, few: bool) -> str:
    column = view.schema.get(name)
    return "none" if few else "zstd" if column is None else column.compression


def _moments(table: pa.Table) -> Any:
    plain = pc.cast(table["event_time"], pa.int64()).to_numpy()
    return plain.view("M8[us]")


def _columns(source: pq.ParquetFile, names: Sequence[str]) -> pa.Table:
    have = set(source.schema_arrow.names)
    # To start threads for a few rows takes longer than to read them.
    many = source.metadata.num_rows > SPAN_ROWS
    return source.read(columns=[name for name in names if name in have], use_threads=many)


def _arrived(table: pa.Table, file: DataFile, names: Sequence[str]) -> pa.Table:
    """The table with the number of each row's arrival, where that is asked for and not in it."""
    if ARRIVED not in names or ARRIVED in table.column_names:
        return table
    return table.append_column(ARRIVED, pa.array(np.full(table.num_rows, file.arrived)))


def _damaged(bucket: Bucket, place: str, why: str) -> Corrupt:
    return Corrupt(
        f"The data file {bucket.where(place)} is damaged or gone: {why}.",
        hint="Restore it from a backup, or move the view's folder away and ingest again.",
    )
