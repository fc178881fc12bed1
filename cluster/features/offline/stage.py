"""Put rows on the disk before they count: files that no commit names yet."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import polars as pl
import pyarrow as pa

from cluster.base.batch import Batch
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.datafile import (
    FILE_BYTES,
    FILE_ROWS,
    DataFile,
    in_order,
    pieces,
    read_file,
    whole,
    write_file,
)
from cluster.features.offline.digest import digest_rows
from cluster.features.offline.shape import ARRIVED, Shape
from cluster.features.schema.column import Time
from cluster.features.schema.view import View


@dataclass
class Stage:
    """New rows of a view, in files of their own where they are many, and what a merge must know.

    Args:
        view: whose rows they are.
        bucket: where all views' rows lie.
        shape: the columns that are stored once they count.
        created: when they came in, where they do not say it themselves.
        told: whether that was said by the source, and is thus part of what the rows say.
        sweep: removes what dead writers left in the folder.
    """

    view: View
    bucket: Bucket
    shape: Shape
    created: np.datetime64
    told: bool
    sweep: Callable[[], None]
    files: list[DataFile] = field(default_factory=list)
    indexes: list[pl.DataFrame] = field(default_factory=list)
    begun_s: float = field(default_factory=monotonic)
    _held: list[pa.Table] = field(default_factory=list)
    _begun: ExitStack | None = None

    def begin(self) -> None:
        """Counts as a writer of the folder from now on, until `discard`.

        Raises:
            Conflict: the folder cannot be written to.
        """
        if self._begun is None:
            self._begun = ExitStack()
            self._begun.enter_context(self.bucket.writing(self.view.name, self.sweep))

    def add(self, batch: Batch) -> None:
        """Takes rows; they may be on the disk when it returns, or at the next call.

        A column `created` `[n]`, if there is one, says when each was.
        """
        self.hold(batch)
        rows = sum(held.num_rows for held in self._held)
        if rows >= FILE_ROWS or sum(held.nbytes for held in self._held) >= FILE_BYTES:
            self.flush()

    def hold(self, batch: Batch) -> None:
        """Takes rows as `add` does and leaves them in memory, however large they are."""
        self.told = self.told or "created" in batch
        table = packed(self.view, batch, self.created)
        if table.num_rows:
            self._held.append(table)

    def flush(self) -> None:
        """Puts all rows on the disk that are not there yet."""
        if held := self.held():
            for table in pieces(in_order(held)):
                self.files.append(self.write(table))
                self.indexes.append(index(table, self.view.key))
            self._held = []

    def held(self) -> pa.Table | None:
        """The rows that are not on the disk, in the order in which they came."""
        return pa.concat_tables(self._held) if self._held else None

    def index(self) -> pl.DataFrame:
        """All rows: key, times, digest, the number of the file and of the row; the rest come last.

        Those that are not on the disk have the number after the last file's.
        """
        held = self.held()
        indexes = [*self.indexes, *([] if held is None else [index(held, self.view.key)])]
        if not indexes:
            empty = packed(self.view, {}, self.created)
            indexes = [index(empty, self.view.key)]
        return pl.concat(
            frame.with_columns(pl.lit(number, pl.UInt32).alias("file"))
            for number, frame in enumerate(indexes)
        )

    def keep(self, rows: dict[int, Sequence[int]]) -> list[DataFile]:
        """The files that hold those rows and no others.

        Args:
            rows: by number of the file, as `index` gave it, which of its rows are wanted.
        """
        kept = []
        for number, file in enumerate(list(self.files)):
            wanted = sorted(rows.get(number, ()))
            if len(wanted) == file.rows:
                kept.append(file)
            elif wanted:
                names = list(self.shape.types)
                table = read_file(self.bucket, self.view.name, file, names)
                kept.append(self.write(table.take(pa.array(wanted))))
                self.files.append(kept[-1])
        wanted = sorted(rows.get(len(self.indexes), ()))
        if (held := self.held()) is not None and wanted:
            for table in pieces(in_order(held.take(pa.array(wanted)))):
                kept.append(self.write(table))
                self.files.append(kept[-1])
        return kept

    def write(self, table: pa.Table) -> DataFile:
        """One data file, durable once a commit names it.

        Raises:
            Conflict: the folder cannot be written to.
            NotEnough: the disk is full.
        """
        self.begin()
        return write_file(self.bucket, self.view, table)

    def spare(self, files: Sequence[DataFile]) -> None:
        """Lets files be: a commit names them, or may."""
        self.files = [file for file in self.files if file not in files]

    def discard(self) -> None:
        """Removes what was staged: no commit will name it."""
        self.bucket.remove([f"{self.view.name}/data/{file.name}" for file in self.files])
        self.files, self.indexes, self._held = [], [], []
        if self._begun is not None:
            self._begun.close()
            self._begun = None


def packed(view: View, batch: Batch, created: np.datetime64) -> pa.Table:
    """Rows as they are stored, with when they came in and a digest of what they hold."""
    if not batch:
        batch = {name: np.array([], dtype=column.dtype) for name, column in view.schema.items()}
        batch = {n: c.astype("M8[us]") if c.dtype.kind == "M" else c for n, c in batch.items()}
    table = view.pack(batch)
    # By name, so that a view which lists its columns in another order has the same digests.
    names = sorted(name for name in table.column_names if name not in view.key)
    values = [whole(table[name]) for name in names]
    times = batch.get("created", np.full(table.num_rows, created))
    extra = {
        "created": Time().pack(times.astype("M8[us]")),
        "digest": digest_rows(values, table.num_rows),
    }
    for name, column in extra.items():
        table = table.append_column(name, column)
    return table


def index(table: pa.Table, key: Sequence[str]) -> pl.DataFrame:
    """Per row its key, its times, its digest, and its number."""
    wanted = table.select([*key, "event_time", "created", "digest"])
    frame = pl.DataFrame(pl.from_arrow(wanted)).with_row_index("row")
    return frame.with_columns(pl.lit(0, pl.Int64).alias(ARRIVED))
