"""Keep the rows of all views: immutable files that count once a commit names them.

    <view>/data/day=2024-05-01/<unique>.parquet      rows, never changed; day: the first of the file
    <view>/commits/20240501T120000.000000000Z-<unique>.json        names files that it adds
    <view>/commits/20240501T120000.000000000Z-<unique>-all.json    stands for all commits it names

All commits together say which files count, in whatever order they became visible; so nobody waits
for a lock, and two writers do not lose each other's rows. docs/storage.md tells the whole.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import fs

from cluster.base.batch import Batch
from cluster.base.errors import Conflict, Corrupt, NotFound, Unavailable
from cluster.features.offline.bucket import open_bucket
from cluster.features.offline.commits import ViewState
from cluster.features.offline.compact import Choice, Compacted, compact, recent, worthwhile
from cluster.features.offline.datafile import FILE_BYTES, DataFile, in_order, pieces
from cluster.features.offline.erase import Wanted, erase, rows_about
from cluster.features.offline.ledger import Ledger
from cluster.features.offline.merge import Written, compare
from cluster.features.offline.retire import SMALL_ROWS, expire, retired
from cluster.features.offline.shape import Shape
from cluster.features.offline.snapshot import Snapshot, winners
from cluster.features.offline.stage import Stage, index
from cluster.features.schema.view import View

__all__ = ["Appended", "Compacted", "Store", "Written"]

KEEP_S = 3_600.0
MERGE_WAIT_S = 600.0
WRITES = 64
"""After so many writes the next one first merges what is small of them."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DATA = re.compile(r"day=-?\d+-\d\d-\d\d/[0-9a-f]{32}\.parquet")


@dataclass(frozen=True)
class Appended:
    """What an append did.

    Args:
        files: the files that hold the rows.
        created: `[n]`, when each of the rows given is taken to have come in.
    """

    files: tuple[DataFile, ...]
    created: NDArray[np.datetime64]


class Store:
    """The offline rows of every view, below a local folder or on any pyarrow filesystem.

    A crash leaves the old state or the new one. Files that a killed writer left are removed by the
    next one that writes to the view alone, and on other filesystems once they are a day old.

    Args:
        root: the folder, made at the first write; or an address such as `s3://bucket/features`; or
            a pyarrow filesystem.
        keep_s: how long files stay after a compaction took their place, for those who read them;
            files of `SMALL_ROWS` and more stay `LARGE_KEEP` times as long.
    """

    def __init__(self, root: Path | str | fs.FileSystem, *, keep_s: float = KEEP_S) -> None:
        self.bucket = open_bucket(root)
        self.keep_s = keep_s
        self._ledger = Ledger(self.bucket)

    @property
    def root(self) -> Path:
        """The folder; a Conflict where the rows do not lie on a local one."""
        return self.bucket.path("")

    @property
    def rejects(self) -> Path:
        """Where bad rows are listed, by view and time."""
        return Path(self.bucket.where("rejects"))

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
    def stage(self, view: View, *, created: np.datetime64 | None = None) -> Iterator[Stage]:
        """Somewhere to put many rows before `commit` makes all of them count.

        What is not committed when the block ends is removed.

        Args:
            view: whose rows.
            created: when they came in, in UTC; by default now.

        Raises:
            Conflict: the stored columns are not the view's.
        """
        self._tidy(view)
        stage = self._begun(view, created, lambda: self._sweep(view.name))
        try:
            yield stage
        finally:
            stage.discard()

    def commit(self, stage: Stage) -> Written:
        """Makes all staged rows that change something count at once, from now on, for everybody.

        Raises:
            Conflict: the stored columns are not the view's.
            NotEnough: the disk is full; nothing was written.
            Corrupt: a file that must be read is damaged.
        """
        if 0 < self.bucket.litter_s < 2 * (time.monotonic() - stage.begun_s):
            raise Conflict(
                f"Rows of {stage.view.name!r} were staged for {self.bucket.litter_s / 7200:.0f} "
                "hours: others may have taken them for litter.",
                hint="Stage them again, and commit sooner.",
            )
        merged = compare(self.head(stage.view), stage)
        if not merged.rows:
            return merged.written
        self._make(stage, stage.keep(merged.rows))
        return replace(merged.written, commit=self._ledger.state(stage.view.name).count)

    def append(self, view: View, rows: Batch, *, created: np.datetime64 | None = None) -> Appended:
        """Adds rows without a look at those that are stored: the quick way for a few at a time.

        Rows that are there already are stored again, and count once. Every `WRITES` times the small
        files of the last writes are merged first, which takes some tens of milliseconds.

        Args:
            view: whose rows.
            rows: of which none is bad; a column `created` says when each came in.
            created: when they all did; by default now.

        Raises:
            Conflict: the stored columns are not the view's.
            NotEnough: the disk is full; nothing was written.
        """
        self._tidy(view)
        stage = self._begun(view, created, _nothing)
        try:
            stage.hold(rows)  # `add` may put them on the disk, where `held` does not see them
            table = stage.held()
            if table is None:
                return Appended((), np.array([], dtype="M8[us]"))
            came = table["created"].cast(pa.int64()).to_numpy().view("M8[us]")
            if table.num_rows > 1:  # a file holds no row twice
                live = winners(index(table, view.key), view.key)["row"].sort()
                table = in_order(table.take(live.to_arrow()))
            few = table.num_rows < SMALL_ROWS and table.nbytes < FILE_BYTES
            made = [stage.write(part) for part in ([table] if few else pieces(table))]
            stage.files += made
            return Appended(self._make(stage, made), came)
        finally:
            stage.discard()

    def compact(self, view: View) -> Compacted:
        """Merges small files, drops superseded rows, and folds all commits into one.

        What was merged stays for a while for those who read it: see `keep_s`. Two compactions at
        once lose and double nothing; nor do they wait for writers, or writers for them.

        Raises:
            NotEnough: the disk is full; nothing has changed.
            Corrupt: a file that must be read is damaged.
        """
        done = self._compact(view, worthwhile)
        while done.left:
            more = self._compact(view, worthwhile)
            done = Compacted(
                done.merged + more.merged, done.made + more.made, done.dropped + more.dropped,
                more.left,
            )  # fmt: skip
        with self.bucket.writing(view.name, lambda: self._sweep(view.name)):
            if self.bucket.litter_s:  # none was swept: here its age tells
                self._sweep(view.name)
        return done

    def rows_about(self, view: View, wanted: Wanted) -> pl.DataFrame:
        """Key, event time and `created` of all rows with a key, or a part of one.

        Raises:
            Corrupt: a file or a commit is damaged.
        """
        state = self._state(view.name)
        shape = Shape.of(view) if state.shape is None else state.shape
        return rows_about(self._seen(view.name, state, shape), wanted)

    def erase(self, view: View, wanted: Wanted) -> int:
        """Removes all rows with a key, or a part of one, from the disk; says how many counted.

        Files that hold one are written anew, at once and not after `keep_s`: who still reads them
        finds them gone. Earlier snapshots are forgotten. The same again removes what a crash left.

        Raises:
            Unavailable: files are being merged for long.
            NotEnough: the disk is full; nothing has changed.
            Corrupt: a file that must be read is damaged.
        """
        until = time.monotonic() + MERGE_WAIT_S
        while time.monotonic() < until:
            with (
                self.bucket.merging(view.name) as alone,
                self.bucket.writing(view.name, lambda: self._sweep(view.name)),
            ):
                if alone:
                    state = self._state(view.name)
                    if state.shape is None:
                        return 0
                    snapshot = self._seen(view.name, state, state.shape)
                    return erase(self._ledger, view, snapshot, state, wanted)
            time.sleep(0.05)
        raise Unavailable(
            f"Files of {view.name!r} are being merged for {MERGE_WAIT_S:.0f} s.",
            hint="Erase again when that has ended.",
        )

    def snapshot(self, view: View | str, commit: int | None = None) -> Snapshot:
        """The rows as they are now, or after that many writes as long as that is known.

        Raises:
            NotFound: there are no such rows.
            Corrupt: a commit is damaged.
        """
        name = view if isinstance(view, str) else view.name
        state = self._state(name)
        shape = state.shape
        if shape is None:
            raise NotFound(
                f"There are no rows of {name!r} yet.",
                hint=f"Bring some: python -m services ingest {name} PATH",
            )
        if commit is not None and commit != state.count:
            early = self._ledger.early(name, commit)
            if early is None or early.shape is None:
                raise NotFound(
                    f"View {name!r} has no commit {commit}.",
                    hint=f"The newest one is {state.count}; compaction forgets the others.",
                )
            state, shape = early, early.shape
        found = self._seen(name, state, shape)
        return found if isinstance(view, str) else found.seen(view)

    def views(self) -> list[Snapshot]:
        """The newest snapshot of every view that has rows, by name."""
        states = {
            name: self._state(name)
            for name in self.bucket.folders()
            if _NAME.fullmatch(name) and name != "rejects"
        }
        return [self._seen(name, s, s.shape) for name, s in states.items() if s.shape is not None]

    def head(self, view: View) -> Snapshot:
        """The newest snapshot, or an empty one, as the view sees it.

        Raises:
            Conflict: the stored columns are not the view's.
        """
        state = self._state(view.name)
        if state.shape is None:
            return Snapshot(view.name, self.bucket, 0, Shape.of(view), ())
        return self._seen(view.name, state, state.shape).seen(view)

    def reject(self, name: str, text: bytes) -> Path:
        """Keeps a list of bad rows, and says where."""
        self.bucket.publish(f"rejects/{name}", text)
        return Path(self.bucket.where(f"rejects/{name}"))

    def _tidy(self, view: View) -> None:
        """Merges what the last writes left, where they were many."""
        if len(self._state(view.name).pending) >= WRITES:
            with suppress(Corrupt):  # who reads that file is told; a write is not held up by it
                self._compact(view, recent)

    def _begun(self, view: View, created: np.datetime64 | None, sweep: Callable[[], None]) -> Stage:
        """An empty stage for the columns that the view writes."""
        state = self._state(view.name)
        shape = Shape.of(view) if state.shape is None else state.shape.written(view)
        # Later than any write that is known, even where the clock was set back.
        now = max(time.time_ns(), state.stamp + 1_000) // 1_000
        came = np.datetime64(now, "us") if created is None else created.astype("M8[us]")
        return Stage(view, self.bucket, shape, came, created is not None, sweep)

    def _make(self, stage: Stage, files: Sequence[DataFile]) -> tuple[DataFile, ...]:
        """Lets staged files count, and says how they are named now."""
        name, commit = self._ledger.write(stage.view.name, stage.shape, files)
        try:
            self._ledger.publish(stage.view.name, name, commit)
        except BaseException:
            if not self.bucket.absent(self._ledger.place(stage.view.name, name)):
                stage.spare(files)  # it may be ours: what it names must stay
            raise
        stage.spare(files)
        return commit.files

    def _compact(self, view: View, choose: Choice) -> Compacted:
        """One merge, unless somebody else is at it."""
        with self.bucket.merging(view.name) as alone, self.bucket.writing(view.name, _nothing):
            state = self._state(view.name)
            if not alone or state.shape is None:
                return Compacted(0, 0, 0)
            expire(self.bucket, view.name, {file.name for file in state.files})
            snapshot = self._seen(view.name, state, state.shape)
            return compact(self._ledger, view, snapshot, state, choose=choose, keep_s=self.keep_s)

    def _sweep(self, name: str) -> None:
        """Removes what nobody needs; litter where no living writer can still name it."""
        try:
            state = self._state(name)
        except Corrupt:
            return  # what it named is not known, and may be restored
        kept = {file.name for file in state.files}
        expire(self.bucket, name, kept)
        kept |= retired(self.bucket, name)
        self._remove(f"{name}/data", lambda file: bool(_DATA.fullmatch(file)) and file not in kept)
        self._remove(f"{name}/commits", lambda file: file.startswith("."))
        self._remove("rejects", lambda file: file.startswith(f".{name}-"))

    def _remove(self, folder: str, litter: Callable[[str], bool]) -> None:
        ages = self.bucket.ages(folder).items()
        old = [file for file, age in ages if litter(file) and age >= self.bucket.litter_s]
        self.bucket.remove(f"{folder}/{file}" for file in old)

    def _state(self, name: str) -> ViewState:
        if not _NAME.fullmatch(name):
            raise NotFound(
                f"{name!r} is no name of a view.", hint="Names are small letters, digits and _."
            )
        return self._ledger.state(name)

    def _seen(self, name: str, state: ViewState, shape: Shape) -> Snapshot:
        return Snapshot(name, self.bucket, state.count, shape, state.files, state.erased)


def _nothing() -> None:
    """Sweeps nothing."""
