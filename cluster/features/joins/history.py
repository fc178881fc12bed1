"""Say where a join finds the rows of a view: in a store, in files, or in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.base.batch import Batch
from cluster.base.errors import Conflict, nearest
from cluster.features.offline.snapshot import DataFile, Snapshot
from cluster.features.schema.column import ALWAYS, Time
from cluster.features.schema.view import View

CREATED = "created"
PIECE_ROWS = 131_072
PIECE_BYTES = 4_000_000
Piece = Callable[[], Iterator[pa.Table]]
"""Reads a part of a view's rows, some at a time."""


class History(Protocol):
    """All that was ever known of some views, in the order in which it came."""

    def frame(self, view: View, columns: Sequence[str], keys: Batch | None = None) -> pl.DataFrame:
        """All rows of a stored view.

        Args:
            view: whose rows.
            columns: which of its columns, key and `event_time` among them; `created` comes too
                where it is known.
            keys: some of its key columns `[m]`: only rows of these are wanted, and others come
                where they are at hand.
        """

    def pieces(self, view: View, columns: Sequence[str]) -> Sequence[Piece]:
        """The same in parts that together may be larger than memory."""

    def size_bytes(self, view: View, columns: Sequence[str]) -> int:
        """About how much memory all of it would take."""

    def newest(self, view: View) -> np.datetime64:
        """The latest event time of any row; `ALWAYS` where there is none."""


@dataclass(frozen=True)
class Stored:
    """The rows of some snapshots.

    Args:
        snapshots: gives those of a stored view; one that nothing was written to is empty.
    """

    snapshots: Callable[[View], Snapshot]

    def frame(
        self,
        view: View,
        columns: Sequence[str],
        keys: Batch | None = None,
        more: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Rows of the keys alone, every byte checked; takes the memory of these and one file.

        Args:
            view: whose rows.
            columns: which of its columns.
            keys: the view's key columns `[m]`, or some of them; None for all rows.
            more: what else is stored of a row; a view without rows has none of it.
        """
        snapshot = self._checked(view, columns)
        table = snapshot.table([*columns, CREATED, *more], keys=keys) if snapshot.files else None
        return framed(view, table, columns)

    def pieces(self, view: View, columns: Sequence[str]) -> Sequence[Piece]:
        """A part for each data file, in the order in which they came."""
        snapshot = self._checked(view, columns)
        snapshot.superseded  # noqa: B018 - looked up once, here, and sent along
        files = sorted(snapshot.files, key=lambda file: (file.arrived, file.name))
        return [_Live(snapshot, file, (*columns, CREATED)) for file in files]

    def size_bytes(self, view: View, columns: Sequence[str]) -> int:
        """What the snapshot says of the whole view."""
        del columns
        return self.snapshots(view).size_bytes

    def newest(self, view: View) -> np.datetime64:
        """What the snapshot says of its files."""
        return self.snapshots(view).newest

    def _checked(self, view: View, columns: Sequence[str]) -> Snapshot:
        wanted = view.only(*(name for name in view.columns if name in columns))
        return self.snapshots(view).seen(wanted)


@dataclass(frozen=True)
class Files:
    """Rows in Parquet files of any making.

    Args:
        paths: the files of each view, by its name, in the order in which their rows came. They
            have the view's columns by their names, `event_time` with a zone, and `created` or not.
    """

    paths: Mapping[str, Sequence[Path]]

    def frame(self, view: View, columns: Sequence[str], keys: Batch | None = None) -> pl.DataFrame:
        """All rows."""
        del keys
        frames = [
            pl.read_parquet(path, columns=_there(view, path, columns))
            for path in self.paths[view.name]
        ]
        return pl.concat(frames) if frames else framed(view, None, columns)

    def pieces(self, view: View, columns: Sequence[str]) -> Sequence[Piece]:
        """A part for each file."""
        return [_Read(path, tuple(_there(view, path, columns))) for path in self.paths[view.name]]

    def size_bytes(self, view: View, columns: Sequence[str]) -> int:
        """What the files' own notes say of the columns."""
        total = 0
        for path in self.paths[view.name]:
            with pq.ParquetFile(path) as file:
                total += size_of(file, columns)
        return total

    def newest(self, view: View) -> np.datetime64:
        """Reads the times of all rows."""
        frames = [pl.read_parquet(p, columns=["event_time"]) for p in self.paths[view.name]]
        times = pl.concat(frames)["event_time"] if frames else pl.Series([], dtype=pl.Datetime)
        return latest(times)


@dataclass(frozen=True)
class Cached:
    """Rows of another history, each view's read once and then held in memory.

    Args:
        history: where they come from.
    """

    history: History
    _frames: dict[str, pl.DataFrame] = field(default_factory=dict, init=False, repr=False)

    def frame(self, view: View, columns: Sequence[str], keys: Batch | None = None) -> pl.DataFrame:
        """The rows as they were when they were first asked for."""
        del keys
        wanted = [*columns, CREATED]
        frame = self._frames.get(view.name)
        if frame is None or not set(columns) <= set(frame.columns):
            frame = self._frames[view.name] = self.history.frame(view, columns)
        return frame.select([name for name in wanted if name in frame.columns])

    def pieces(self, view: View, columns: Sequence[str]) -> Sequence[Piece]:
        """Those of the other."""
        return self.history.pieces(view, columns)

    def size_bytes(self, view: View, columns: Sequence[str]) -> int:
        """That of the other."""
        return self.history.size_bytes(view, columns)

    def newest(self, view: View) -> np.datetime64:
        """That of the other."""
        return self.history.newest(view)


@dataclass(frozen=True)
class InMemory:
    """Rows that are there already, in the order in which they came.

    Args:
        rows: of each view, by its name.
    """

    rows: Mapping[str, Batch]

    def frame(self, view: View, columns: Sequence[str], keys: Batch | None = None) -> pl.DataFrame:
        """The rows that there are; none of a view that is not named."""
        del keys
        rows = self.rows.get(view.name)
        if rows is None:
            return framed(view, None, columns)
        kinds = {**view.schema, CREATED: Time()}
        names = [*columns, CREATED] if CREATED in rows else columns
        return framed(view, pa.table({n: kinds[n].pack(rows[n]) for n in names}), columns)

    def pieces(self, view: View, columns: Sequence[str]) -> Sequence[Piece]:
        """One part."""
        return [lambda: iter([self.frame(view, columns).to_arrow()])]

    def size_bytes(self, view: View, columns: Sequence[str]) -> int:
        """What they take as a frame."""
        return int(self.frame(view, columns).estimated_size())

    def newest(self, view: View) -> np.datetime64:
        """The latest of their times."""
        return latest(self.frame(view, ["event_time"])["event_time"])


def latest(times: pl.Series) -> np.datetime64:
    """The latest of some event times; `ALWAYS` where there is none."""
    if not len(times):
        return ALWAYS
    newest = times.dt.cast_time_unit("us").to_physical().max()
    return np.datetime64(newest, "us")  # type: ignore[call-overload,no-any-return]


def framed(view: View, table: pa.Table | None, columns: Sequence[str]) -> pl.DataFrame:
    """Rows of a view as a frame; a frame of the right types where there are none."""
    kinds: dict[str, Any] = {name: view.schema[name].arrow for name in columns}
    if table is None:
        table = pa.schema({**kinds, CREATED: Time.arrow}).empty_table()
    return pl.DataFrame(pl.from_arrow(table))


@dataclass(frozen=True)
class _Live:
    """Reads the live rows of a data file; it can be sent to a worker."""

    snapshot: Snapshot
    file: DataFile
    columns: tuple[str, ...]

    def __call__(self) -> Iterator[pa.Table]:
        table = self.snapshot.rows_of(self.file, self.columns)
        for start in range(0, table.num_rows, PIECE_ROWS):
            yield table.slice(start, PIECE_ROWS)


@dataclass(frozen=True)
class _Read:
    """Reads some columns of a Parquet file, some rows at a time; it can be sent to a worker."""

    path: Path
    columns: tuple[str, ...]

    def __call__(self) -> Iterator[pa.Table]:
        return batches(self.path, self.columns)


def batches(path: Path, columns: Sequence[str], rows: int = PIECE_ROWS) -> Iterator[pa.Table]:
    """Columns of a Parquet file, some rows at a time: as many as asked for, fewer of large ones."""
    # what is buffered before it is read stays until the file is closed
    with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        most: int = max(1, PIECE_BYTES * file.metadata.num_rows // max(1, size_of(file, columns)))
        read = file.iter_batches(min(rows, most), columns=list(columns), use_threads=False)
        for batch in read:  # each thread would keep memory of its own
            yield pa.Table.from_batches([batch])


def size_of(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """About how many bytes columns take in memory: what the file notes, and a string's place."""
    metadata = file.metadata
    widths = {name: _width(file.schema_arrow.field(name).type) for name in columns}
    total: int = metadata.num_rows * sum(width or 16 for width in widths.values())
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            if widths.get(chunk.path_in_schema.split(".")[0]) == 0:
                total += chunk.total_uncompressed_size
    return total


def _width(kind: pa.DataType) -> int:
    """Bytes of each value, 0 where they differ."""
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 0


def _there(view: View, path: Path, columns: Sequence[str]) -> list[str]:
    """The columns that are read of a file."""
    found = pq.read_schema(path).names
    for name in columns:
        if name not in found:
            raise Conflict(
                f"{path} has no column {name!r}, which view {view.name!r} declares.",
                hint=nearest(name, found),
            )
    return [*columns, *({CREATED} & set(found))]
