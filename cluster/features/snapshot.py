"""See the rows of a view as one commit left them, however many are written after."""

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
    """

    name: str
    rows: int
    size_bytes: int
    newest: np.datetime64


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
        """Stored columns of all files as Arrow."""
        return pa.concat_tables([read_file(path, names) for path in self.paths])

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
                DataFile(f["name"], f["rows"], f["size_bytes"], np.datetime64(f["newest"], "us"))
                for f in held["files"]
            )
            return cls(held["view"], path.parent.parent, held["commit"], held["columns"], files)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(
                f"The commit {path} is damaged: {error}.", hint="Restore it from a backup."
            ) from None


def read_file(path: Path, names: Sequence[str]) -> pa.Table:
    """Columns of one data file, each page against its checksum.

    Raises:
        Corrupt: it is damaged or gone.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns=list(names))
    except (OSError, pa.ArrowException) as error:
        raise Corrupt(
            f"The data file {path} is damaged or gone: {error}.",
            hint="Restore it from a backup, or move the view's folder away and ingest again.",
        ) from None
