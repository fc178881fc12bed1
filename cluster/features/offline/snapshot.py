"""See the rows of a view as its commits left them, however many are written after."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch
from cluster.base.errors import InvalidInput, nearest
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.datafile import DataFile, between, read_file, read_some
from cluster.features.offline.shape import ARRIVED, EXTRA, Shape
from cluster.features.schema.column import ALWAYS, Time
from cluster.features.schema.view import View

__all__ = ["EXTRA", "DataFile", "Snapshot", "winners"]

PIECE_ROWS = 500_000  # about as many rows as one of `partitions` holds


@dataclass(frozen=True)
class Snapshot:
    """The live rows of a view after some writes.

    A row is identified by its key and event time. Of several that share both, the one with the
    latest `created` counts; of those, the one that arrived last: by the order of commits, of the
    files in a commit, of the rows in a file. Rows come by event time, then by arrival, and that
    is the same however they lie in files.

    Args:
        view: the view's name.
        bucket: where all views' rows lie.
        commit: how many writes led to it; 0 where nothing was ever written. Merging files leaves
            it as it is, since it leaves the rows as they are.
        shape: the stored columns, key first.
        files: the files that together hold the live rows, and some that others took the place of.
        erased: how often rows were erased.
    """

    view: str
    bucket: Bucket
    commit: int
    shape: Shape
    files: tuple[DataFile, ...]
    erased: int = 0

    @property
    def schema(self) -> int:
        """The version of the columns, from 1; each column that is added makes the next."""
        return self.shape.number

    @property
    def columns(self) -> Mapping[str, str]:
        """The stored columns and their Arrow types, key first."""
        return self.shape.columns

    @property
    def rows(self) -> int:
        """How many live rows there are; reads the keys of files whose days overlap."""
        return sum(file.rows for file in self.files) - sum(map(len, self.superseded.values()))

    @property
    def size_bytes(self) -> int:
        """The memory that all rows take once read, those included that others took the place of."""
        return sum(file.size_bytes for file in self.files)

    @property
    def newest(self) -> np.datetime64:
        """The latest event time."""
        return max((file.newest for file in self.files), default=ALWAYS)

    @property
    def paths(self) -> list[Path]:
        """The Parquet files on a local folder; they may hold superseded rows: see `rows_of`.

        Raises:
            Conflict: the rows do not lie on a local folder.
        """
        return [self.path(file) for file in self.files]

    def path(self, file: DataFile) -> Path:
        """Where one of the files lies on a local folder."""
        return self.bucket.path(f"{self.view}/data/{file.name}")

    def seen(self, view: View) -> Self:
        """The same rows with the columns that a view has beside them by default.

        Raises:
            Conflict: the stored columns are not the view's.
        """
        return replace(self, shape=self.shape.seen(view))

    def read(self, view: View, columns: Sequence[str] | None = None) -> Arrays:
        """All rows, in an order that is the same each time.

        Args:
            view: the view, or one with fewer of its columns.
            columns: names of the view's schema, or `created`; by default the whole schema.

        Raises:
            InvalidInput: the view has no such column.
            Conflict: the stored columns are not the view's.
            Corrupt: a file is damaged or gone.
        """
        known = {**view.schema, "created": Time()}
        names = list(view.schema) if columns is None else list(columns)
        for name in names:
            if name not in known:
                raise InvalidInput(
                    f"View {view.name!r} has no column {name!r}.", hint=nearest(name, known)
                )
        seen = replace(self, shape=self.shape.seen(view.only(*(set(names) & set(view.columns)))))
        return view.unpack(seen.table(names))

    def table(
        self,
        names: Sequence[str],
        since: np.datetime64 | None = None,
        until: np.datetime64 | None = None,
        keys: Batch | None = None,
    ) -> pa.Table:
        """Stored columns of the live rows as Arrow, every byte that is read checked.

        Args:
            names: of stored columns.
            since: the earliest event time that is wanted.
            until: the latest one.
            keys: the key columns `[m]` of those that are wanted, or some of them; by default all
                rows are.

        Raises:
            Corrupt: a file is damaged or gone.
        """
        chosen, asked = self._chosen(since, until), self._asked(keys)
        parts = [self._resolved(files, names, since, until, asked) for files in overlapping(chosen)]
        return pa.concat_tables(parts) if parts else self.shape.empty(names)

    def partitions(
        self,
        names: Sequence[str],
        since: np.datetime64 | None = None,
        until: np.datetime64 | None = None,
        keys: Batch | None = None,
        *,
        rows: int = PIECE_ROWS,
    ) -> Iterator[pa.Table]:
        """The same rows in the same order, whole days at a time; no day is parted.

        Takes about the memory of so many rows, or of those of the day with the most.

        Args:
            names: of stored columns.
            since: the earliest event time that is wanted.
            until: the latest one.
            keys: the key columns `[m]` of those that are wanted, or some of them; by default all
                rows are.
            rows: about how many are in one part.

        Raises:
            Corrupt: a file is damaged or gone.
        """
        chosen, asked = self._chosen(since, until), self._asked(keys)
        for begin, end in _spans(chosen, rows):
            first = begin if since is None else max(begin, since)
            last = end - 1 if until is None else min(end - 1, until)
            files = [f for f in chosen if f.oldest <= last and f.newest >= first]
            yield self._resolved(files, names, first, last, asked)

    def table_of(self, file: DataFile, names: Sequence[str]) -> pa.Table:
        """Stored columns of one file as Arrow, superseded rows included, every byte checked.

        Raises:
            Corrupt: it is damaged or gone.
        """
        wanted = list(dict.fromkeys([*names, "event_time"]))
        return self.shape.filled(read_file(self.bucket, self.view, file, wanted), names)

    def rows_of(self, file: DataFile, names: Sequence[str]) -> pa.Table:
        """The same without superseded rows: those of all files together are the live rows.

        Raises:
            Corrupt: it is damaged or gone.
        """
        table = self.table_of(file, names)
        lost = self.superseded.get(file.name)
        if lost is None:
            return table
        keep = np.ones(file.rows, dtype=bool)
        keep[lost] = False
        return table.filter(pa.array(keep))

    @cached_property
    def superseded(self) -> dict[str, NDArray[np.int64]]:
        """By file the numbers of the rows that others took the place of; reads keys alone."""
        lost: dict[str, NDArray[np.int64]] = {}
        for files in overlapping(self.files):
            if len(files) == 1:
                continue
            index = self.index(files)
            live = winners(index, self.shape.key).select("file", "row")
            gone = index.join(live, on=["file", "row"], how="anti", maintain_order="left")
            for (number,), rows in gone.group_by("file"):
                lost[files[int(number)].name] = rows["row"].cast(pl.Int64).to_numpy()
        return lost

    def index(self, files: Sequence[DataFile], names: Sequence[str] = ()) -> pl.DataFrame:
        """What tells which rows count, and where they stand: numbers of the file and the row.

        Args:
            files: those to look into.
            names: more columns that are wanted.
        """
        wanted = [*self.shape.key, "event_time", "created", ARRIVED, *names]
        frames = []
        for number, file in enumerate(files):
            table = read_some(self.bucket, self.view, file, wanted).select(wanted)
            frames.append(_frame(table).with_columns(file=pl.lit(number, pl.UInt32)))
        if not frames:
            frames = [_frame(self.shape.empty(wanted)).with_columns(file=pl.lit(0, pl.UInt32))]
        return pl.concat(frames)

    def _chosen(self, since: np.datetime64 | None, until: np.datetime64 | None) -> list[DataFile]:
        return [
            file
            for file in self.files
            if (since is None or file.newest >= since) and (until is None or file.oldest <= until)
        ]

    def _asked(self, keys: Batch | None) -> pl.DataFrame | None:
        """The keys that are wanted, each once."""
        if keys is None:
            return None
        names = [name for name in self.shape.key if name in keys]
        asked = {name: pl.Series(list(keys[name]), dtype=pl.String) for name in names}
        return pl.DataFrame(asked).unique()

    def _resolved(
        self,
        files: Sequence[DataFile],
        names: Sequence[str],
        since: np.datetime64 | None,
        until: np.datetime64 | None,
        asked: pl.DataFrame | None,
    ) -> pa.Table:
        """The live rows of files whose days no other file shares, in order."""
        identity = [*self.shape.key, "event_time", "created", ARRIVED]
        one = len(files) == 1
        wanted = list(dict.fromkeys([*names, "event_time", *([] if one else identity)]))
        if asked is not None:
            wanted = list(dict.fromkeys([*wanted, *asked.columns]))
        parts = []
        for file in files:
            table = between(read_file(self.bucket, self.view, file, wanted), since, until)
            parts.append(_among(self.shape.filled(table, wanted), asked))
        table = pa.concat_tables(parts) if parts else self.shape.empty(wanted)
        if not one and table.num_rows:
            live = winners(_frame(table.select(identity)), self.shape.key)
            order = live.sort("event_time", ARRIVED, "row")["row"]
            table = table.take(order.to_arrow())
        return table.select(list(names))


def winners(index: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Of rows that share key and event time the one that counts, in whatever order.

    Args:
        index: has the key columns, `event_time`, `created` and `arrived`; rows that share all of
            these stand in the order in which they came.
        key: the key columns.
    """
    ordered = index.sort("created", ARRIVED, maintain_order=True)
    return ordered.unique([*key, "event_time"], keep="last", maintain_order=True)


def overlapping(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Files in groups of which no two share a day, by time; in a group as they came."""
    group: list[DataFile] = []
    end = ALWAYS.astype("M8[D]")
    for file in sorted(files, key=lambda file: file.oldest):
        first, last = file.days
        if group and first > end:
            yield sorted(group, key=lambda file: (file.arrived, file.name))
            group = []
        end = max(end, last) if group else last
        group.append(file)
    if group:
        yield sorted(group, key=lambda file: (file.arrived, file.name))


def _spans(files: Sequence[DataFile], rows: int) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    """Whole days, as [begin, end), that together hold all rows and each about so many."""
    if not files:
        return
    starts = sorted({file.days[0] for file in files})
    ends = [*starts[1:], max(file.days[1] for file in files) + 1]
    begin, held = starts[0], 0.0
    for start, end in zip(starts, ends, strict=True):
        here = sum(_share(file, start, end) for file in files)
        if held and held + here > rows:
            yield begin.astype("M8[us]"), start.astype("M8[us]")
            begin, held = start, 0.0
        held += here
    yield begin.astype("M8[us]"), ends[-1].astype("M8[us]")


def _share(file: DataFile, start: np.datetime64, end: np.datetime64) -> float:
    """About how many of a file's rows are of the days in [start, end)."""
    first, last = (int(day.astype(int)) for day in file.days)
    shared = min(last + 1, int(end.astype(int))) - max(first, int(start.astype(int)))
    return file.rows * max(0, shared) / (last + 1 - first)


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table)).with_row_index("row")


def _among(table: pa.Table, asked: pl.DataFrame | None) -> pa.Table:
    """The rows whose key is one of some."""
    if asked is None:
        return table
    found = _frame(table.select(asked.columns)).join(asked, on=asked.columns, how="semi")
    return table.take(found["row"].sort().to_arrow())
