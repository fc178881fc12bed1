"""See the rows of a view as one commit left them, however many are written after."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.batch import Arrays
from cluster.errors import Conflict, Corrupt, InvalidInput, nearest
from cluster.features.column import ALWAYS, Time
from cluster.features.view import View

EXTRA = {"created": Time.arrow, "digest": pa.int64()}
"""What every row carries beside the view's schema: when it came in, and what it holds in short."""


@dataclass(frozen=True)
class DataFile:
    """One immutable Parquet file of rows.

    Args:
        name: its name in the view's `data` folder.
        rows: how many it holds.
        size_bytes: the memory they take once read.
        newest: the latest event time among them.
        sha256: of its bytes, in hexadecimal.
    """

    name: str
    rows: int
    size_bytes: int
    newest: np.datetime64
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """The live rows of a view after one commit.

    Args:
        view: the view's name.
        folder: where the view's rows lie.
        commit: its number, from 1; 0 where nothing was ever written.
        columns: the stored columns and their Arrow types, key first.
        files: the files that together hold exactly the live rows.
    """

    view: str
    folder: Path
    commit: int
    columns: Mapping[str, str]
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """How many live rows there are."""
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        """The memory that all rows take once read."""
        return sum(file.size_bytes for file in self.files)

    @property
    def newest(self) -> np.datetime64:
        """The latest event time."""
        return max((file.newest for file in self.files), default=ALWAYS)

    @property
    def paths(self) -> list[Path]:
        """The Parquet files, in the order of the rows."""
        return [self.path(file) for file in self.files]

    def path(self, file: DataFile) -> Path:
        """Where one of the files lies."""
        return self.folder / "data" / file.name

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
        self.check({name: known[name].arrow for name in names})
        return view.unpack(self.table(names))

    def table(self, names: Sequence[str]) -> pa.Table:
        """Stored columns of all files as Arrow, every byte of them checked.

        Raises:
            Corrupt: a file is damaged or gone.
        """
        return pa.concat_tables([self.table_of(file, names) for file in self.files])

    def table_of(self, file: DataFile, names: Sequence[str]) -> pa.Table:
        """Stored columns of one file as Arrow, every byte of the file checked.

        Raises:
            Corrupt: it is damaged or gone.
        """
        path = self.path(file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _damaged(path, str(error)) from None
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise _damaged(path, "its bytes are not those that were written")
        with pq.ParquetFile(pa.BufferReader(data)) as source:
            return source.read(columns=list(names))

    def index_of(self, file: DataFile, names: Sequence[str]) -> pa.Table:
        """The same for small columns of a large file, of which nothing else is read or checked.

        Raises:
            Corrupt: a page of them is damaged, or the file gone.
        """
        path = self.path(file)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as source:
                table = source.read(columns=list(names))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(path, str(error)) from None
        if table.num_rows != file.rows:
            raise _damaged(path, f"it holds {table.num_rows} rows and not {file.rows}")
        return table

    def check(self, wanted: Mapping[str, pa.DataType]) -> None:
        """Refuses a view whose columns are not those that are stored.

        Raises:
            Conflict: a column is missing or of another type.
        """
        for name, kind in wanted.items():
            stored = self.columns.get(name)
            if stored != str(kind):
                was = f"as {stored}" if stored else "without it"
                raise Conflict(
                    f"View {self.view!r} was stored {was}: column {name!r} is now {kind}.",
                    hint=f"Give the view a new name, or move {self.folder} away and ingest again.",
                )

    def to_json(self) -> bytes:
        """The commit object that names the files."""
        files = [
            {
                "name": file.name,
                "rows": file.rows,
                "size_bytes": file.size_bytes,
                "newest": str(file.newest),
                "sha256": file.sha256,
            }
            for file in self.files
        ]
        head = {"view": self.view, "commit": self.commit, "columns": dict(self.columns)}
        return json.dumps({**head, "files": files}, indent=1).encode()

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """Reads a commit object back.

        Raises:
            Corrupt: it is not what was written.
        """
        try:
            held: dict[str, Any] = json.loads(path.read_bytes())
            files = tuple(
                DataFile(**{**file, "newest": np.datetime64(file["newest"], "us")})
                for file in held["files"]
            )
            return cls(held["view"], path.parent.parent, held["commit"], held["columns"], files)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(
                f"The commit {path} is damaged: {error}.", hint="Restore it from a backup."
            ) from None


def _damaged(path: Path, why: str) -> Corrupt:
    return Corrupt(
        f"The data file {path} is damaged or gone: {why}.",
        hint="Restore it from a backup, or move the view's folder away and ingest again.",
    )
