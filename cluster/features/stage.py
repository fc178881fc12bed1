"""Put rows on the disk before they count: files that no commit names yet."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.batch import Batch
from cluster.durable import make_folder, new_file, remove
from cluster.features.digest import digest_rows
from cluster.features.snapshot import EXTRA, DataFile
from cluster.features.view import View
from cluster.writers import writing

FILE_BYTES = 64_000_000  # of rows at rest, after which the next file begins
FILE_ROWS = 1_000_000
GROUP_ROWS = 65_536  # rows that a reader must take at once


@dataclass
class Stage:
    """New rows of a view in files of their own, and what a merge must know of them.

    Args:
        view: whose rows they are.
        folder: where the view's rows lie.
        created: when they came in, in UTC.
        sweep: removes what dead writers left in the folder.
    """

    view: View
    folder: Path
    created: datetime
    sweep: Callable[[], None]
    files: list[DataFile] = field(default_factory=list)
    indexes: list[pl.DataFrame] = field(default_factory=list)
    _held: list[pa.Table] = field(default_factory=list)
    _begun: ExitStack | None = None

    @property
    def key(self) -> list[str]:
        """What identifies a row: the view's key and the event time."""
        return [*self.view.key, "event_time"]

    def begin(self) -> None:
        """Counts as a writer of the folder from now on, until `discard`.

        Raises:
            Conflict: the folder cannot be written to.
        """
        if self._begun is None:
            self._begun = ExitStack()
            self._begun.enter_context(writing(self.folder, self.sweep))

    def add(self, batch: Batch) -> None:
        """Takes rows; they may be on the disk when it returns, or at the next call."""
        table = self.view.pack(batch)
        if not table.num_rows:
            return
        # By name, so that a view which lists its columns in another order has the same digests.
        names = sorted(name for name in table.column_names if name not in self.key)
        values = [_whole(table[name]) for name in names]
        extra = {
            "created": pa.array([self.created] * table.num_rows, type=EXTRA["created"]),
            "digest": digest_rows(values, table.num_rows),
        }
        for name, column in extra.items():
            table = table.append_column(name, column)
        self._held.append(table)
        rows = sum(held.num_rows for held in self._held)
        if rows >= FILE_ROWS or sum(held.nbytes for held in self._held) >= FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Puts all rows on the disk that are not there yet."""
        if self._held:
            table = pa.concat_tables(self._held)
            self._held = []
            self.files.append(self.write(table))
            self.indexes.append(index(table, self.key))

    def write(self, table: pa.Table) -> DataFile:
        """One durable data file, whose name is not yet: see `sync`.

        Raises:
            Conflict: the folder cannot be written to.
            NotEnough: the disk is full.
        """
        self.begin()
        name = f"{uuid4().hex}.parquet"
        make_folder(self.folder / "data")
        types = self.view.schema
        compression = {
            n: types[n].compression if n in types else "zstd" for n in table.column_names
        }
        parquet = pa.BufferOutputStream()
        pq.write_table(
            table,
            parquet,
            row_group_size=GROUP_ROWS,
            compression=compression,
            use_dictionary=[n for n, column in types.items() if column.arrow == pa.string()],
            write_page_checksum=True,
        )
        data = parquet.getvalue()
        with new_file(self.folder / "data" / name) as file:
            file.write(data)
        size = sum(types[n].size_bytes(_whole(table[n])) for n in types)
        newest = types["event_time"].unpack(table["event_time"]).max()
        digest = hashlib.sha256(data).hexdigest()
        return DataFile(name, table.num_rows, size, newest, digest)

    def discard(self) -> None:
        """Removes what was staged: no commit will name it."""
        remove([self.folder / "data" / file.name for file in self.files])
        self.files, self.indexes, self._held = [], [], []
        if self._begun is not None:
            self._begun.close()
            self._begun = None


def index(table: pa.Table, key: list[str]) -> pl.DataFrame:
    """Per row its key and event time, and its digest."""
    return pl.DataFrame(pl.from_arrow(table.select([*key, "digest"])))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.combine_chunks()
    return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks
