"""Keep the rows of all views: immutable files that count once a commit names them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from cluster.batch import Batch
from cluster.durable import make_folder, names_in, publish, remove, sync
from cluster.errors import Corrupt, InvalidInput, NotFound
from cluster.features.snapshot import EXTRA, DataFile, Snapshot
from cluster.features.stage import Stage, index
from cluster.features.view import View

_COMMIT = re.compile(r"\d{10}\.json")
_DATA_FILE = re.compile(r"[0-9a-f]{32}\.parquet")


@dataclass(frozen=True)
class Written:
    """What a write did.

    Args:
        new: rows whose key and event time were not there.
        same: rows that were there with the same values.
        replaced: rows that were there with other values.
        doubled: rows that a later row of the same write took the place of.
        commit: the number of the commit after which all of it holds.
    """

    new: int
    same: int
    replaced: int
    doubled: int
    commit: int


class Store:
    """The offline rows of every view, below one local folder.

    `<view>/data/*.parquet` are never changed. `<view>/commits/<n>.json` names the files that hold
    exactly the live rows after the n-th write, one row per key and event time. A commit is made
    under its final name at once and only where that name is free, so a crash leaves the old state
    or the new one, and of two writers the later one merges again on what the earlier one left.
    Files that a killed writer left are removed by the next one that writes to the view alone.

    Args:
        root: the folder; made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def rejects(self) -> Path:
        """Where bad rows are listed, by view and time."""
        return self.root / "rejects"

    def write(self, view: View, rows: Batch) -> Written:
        """Adds rows of which none is bad; those whose key and event time are there replace.

        Raises:
            Conflict: the stored columns are not the view's.
            NotEnough: the disk is full; nothing was written.
        """
        with self.stage(view) as stage:
            stage.add(rows)
            return self.commit(stage)

    @contextmanager
    def stage(self, view: View) -> Iterator[Stage]:
        """Somewhere to put many rows before `commit` makes all of them count.

        What is not committed when the block ends is removed.

        Raises:
            Conflict: the stored columns are not the view's.
        """
        folder = self._folder(view.name)
        stage = Stage(view, folder, datetime.now(UTC), lambda: self._sweep(view.name))
        self.head(view)
        try:
            yield stage
        finally:
            stage.discard()

    def commit(self, stage: Stage) -> Written:
        """Makes all staged rows count, at once, for everybody who looks from now on.

        Raises:
            Conflict: the stored columns are not the view's.
            NotEnough: the disk is full; nothing was written.
            Corrupt: a file that must be read is damaged.
        """
        stage.flush()
        while True:
            old = self.head(stage.view)
            files, written, made = _merge(old, stage)
            if written.commit == old.commit:
                return written
            new = replace(old, commit=written.commit, columns=_columns(stage.view), files=files)
            try:
                sync(stage.folder / "data")
                make_folder(stage.folder / "commits")
                publish(self._path(stage.view.name, new.commit), new.to_json())
            except FileExistsError:
                remove([stage.folder / "data" / file.name for file in made])
                continue  # somebody else was first: merge again on what they left
            except BaseException:
                if self._path(stage.view.name, new.commit).exists():
                    stage.files = []  # it may be ours: what it names must stay, the rest is swept
                else:
                    remove([stage.folder / "data" / file.name for file in made])
                raise
            stage.files = [file for file in stage.files if file not in files]
            return written

    def snapshot(self, view: View | str, commit: int | None = None) -> Snapshot:
        """The rows after the newest commit, or after the one of that number.

        Raises:
            NotFound: there are no such rows.
            Corrupt: the commit is damaged.
        """
        name = view if isinstance(view, str) else view.name
        commits = self._commits(name)
        if not commits:
            raise NotFound(
                f"There are no rows of {name!r} yet.",
                hint=f"Bring some: python -m services ingest {name} PATH",
            )
        if commit is not None and commit not in commits:
            raise NotFound(
                f"View {name!r} has no commit {commit}.", hint=f"The newest one is {commits[-1]}."
            )
        return Snapshot.from_json(self._path(name, commits[-1] if commit is None else commit))

    def views(self) -> list[Snapshot]:
        """The newest snapshot of every view that has rows, by name."""
        folders = sorted(self.root.glob("*/commits")) if self.root.is_dir() else []
        names = [folder.parent.name for folder in folders]
        return [self.snapshot(name) for name in names if self._commits(name)]

    def head(self, view: View) -> Snapshot:
        """The newest snapshot, or an empty one, once its columns are known to be the view's.

        Raises:
            Conflict: the stored columns are not the view's.
        """
        commits = self._commits(view.name)
        if not commits:
            return Snapshot(view.name, self._folder(view.name), 0, _columns(view), ())
        head = Snapshot.from_json(self._path(view.name, commits[-1]))
        head.check({name: column.arrow for name, column in view.schema.items()})
        for name in head.columns:
            if name not in _columns(view):
                raise InvalidInput(
                    f"Rows of {view.name!r} are stored with a column {name!r}; the view lacks it.",
                    hint="Write through the view that has all columns.",
                )
        return head

    def _sweep(self, name: str) -> None:
        """Removes what no commit names; right only while nobody is writing to the view."""
        folder = self._folder(name)
        stray = {file for file in names_in(folder / "data") if _DATA_FILE.fullmatch(file)}
        try:
            for commit in reversed(self._commits(name)):  # most files are those of the newest
                if not stray:
                    break
                stray -= {file.name for file in Snapshot.from_json(self._path(name, commit)).files}
        except Corrupt:
            return  # what it named is not known, and may be restored
        remove([folder / "data" / file for file in stray])
        for place, prefix in ((folder / "commits", "."), (self.rejects, f".{name}-")):
            remove([place / file for file in names_in(place) if file.startswith(prefix)])

    def _commits(self, name: str) -> list[int]:
        names = names_in(self._folder(name) / "commits")
        return [int(file[:-5]) for file in names if _COMMIT.fullmatch(file)]

    def _path(self, name: str, commit: int) -> Path:
        return self._folder(name) / "commits" / f"{commit:010d}.json"

    def _folder(self, name: str) -> Path:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise NotFound(
                f"{name!r} is no name of a view.", hint="Names are small letters, digits and _."
            )
        return self.root / name


def _columns(view: View) -> dict[str, str]:
    types = {name: column.arrow for name, column in view.schema.items()} | EXTRA
    return {name: str(kind) for name, kind in types.items()}


def _merge(old: Snapshot, stage: Stage) -> tuple[tuple[DataFile, ...], Written, list[DataFile]]:
    """The files of the next commit, what changes, and those of the files that were made for it."""
    key = stage.key
    staged = _located(stage.indexes, key)
    fresh = staged.unique(key, keep="last", maintain_order=True)
    doubled = len(staged) - len(fresh)
    live = _located([index(old.index_of(f, [*key, "digest"]), key) for f in old.files], key)
    both = fresh.join(live, on=key, how="left", suffix="_live", maintain_order="left")
    same = both["digest"].eq_missing(both["digest_live"])
    added = both.filter(~same)
    replaced = added.filter(added["file_live"].is_not_null())
    counts = {"same": int(same.sum()), "replaced": len(replaced), "doubled": doubled}
    if added.is_empty():
        return old.files, Written(new=0, commit=old.commit, **counts), []
    made: list[DataFile] = []
    gone = replaced.select(file="file_live", row="row_live")
    files = [
        *_without(old, old.files, gone, stage, made),
        *_without(
            old, stage.files, staged.join(added, on=["file", "row"], how="anti"), stage, made
        ),
    ]
    written = Written(new=len(added) - len(replaced), commit=old.commit + 1, **counts)
    return tuple(files), written, made


def _located(indexes: list[pl.DataFrame], key: list[str]) -> pl.DataFrame:
    """All rows of all indexes, each with the number of its file and its place in it."""
    frames = [
        frame.with_row_index("row").with_columns(file=pl.lit(number, pl.UInt32))
        for number, frame in enumerate(indexes)
    ]
    kinds = dict.fromkeys(key, pl.String) | {"event_time": pl.Datetime("us", "UTC")}
    empty = pl.DataFrame(schema={"row": pl.UInt32, **kinds, "digest": pl.Int64, "file": pl.UInt32})
    return pl.concat(frames) if frames else empty


def _without(
    old: Snapshot,
    files: tuple[DataFile, ...] | list[DataFile],
    gone: pl.DataFrame,
    stage: Stage,
    made: list[DataFile],
) -> Iterator[DataFile]:
    """The files less some of their rows: as they are where all stay, written anew where not."""
    rows = dict(gone.group_by("file").agg("row").iter_rows())
    for number, file in enumerate(files):
        if number not in rows:
            yield file
            continue
        keep = np.ones(file.rows, dtype=bool)
        keep[rows[number]] = False
        if keep.any():
            table = old.table_of(file, [*_columns(stage.view)])
            made.append(stage.write(table.filter(pa.array(keep))))
            yield made[-1]
