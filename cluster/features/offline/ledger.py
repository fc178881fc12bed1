"""Read and write the commits of views, and remember what they say."""

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from cluster.base.errors import Conflict, Unavailable
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.commits import (
    EARLIER,
    WHOLE,
    Commit,
    ViewState,
    commit_name,
    early_state,
    is_commit,
    stamp_of,
    state_of,
)
from cluster.features.offline.datafile import DataFile
from cluster.features.offline.shape import Shape
from cluster.features.offline.snapshot import Snapshot

TRIES = 20  # readings of a state that merges overtake
OVERLAP_NS = 3_600 * 10**9


class Ledger:
    """The commits of every view in a bucket.

    Args:
        bucket: where they lie.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._known: dict[str, ViewState] = {}

    def names(self, view: str) -> list[str]:
        """The commit objects of a view.

        Raises:
            Conflict: an earlier release wrote them.
        """
        found = self.bucket.names(f"{view}/commits")
        names = [name for name in found if is_commit(name)]
        if not names and any(EARLIER.fullmatch(name) for name in found):
            raise Conflict(
                f"The rows of {view!r} at {self.bucket.where(view)} were written by an earlier "
                "release of Lepton, in another layout.",
                hint=f"Move them away, then ingest again: python -m services ingest {view} PATH",
            )
        return names

    def state(self, view: str) -> ViewState:
        """What the commits of a view say now; reads only those that are new.

        Raises:
            Corrupt: one is damaged.
            Conflict: an earlier release wrote them.
        """
        for _ in range(TRIES):
            names = frozenset(self.names(view))
            known = self._known.get(view, ViewState())
            new = names - known.names
            try:
                if known.names <= names and not any(name.endswith(WHOLE) for name in new):
                    commits = {name: self._read(view, name) for name in sorted(new)}
                    state = known.grown(commits) if commits else known
                else:
                    state = state_of(names, lambda name: self._read(view, name))
            except FileNotFoundError:
                continue  # merged into a whole commit while we read: look again
            self._known[view] = state
            return state
        raise Unavailable(
            f"The commits of {view!r} were merged faster than they could be read.",
            hint="Try again.",
        )

    def early(self, view: str, count: int) -> ViewState | None:
        """The state after that many writes; None where it is not known any more, or not yet."""
        return early_state(self.names(view), lambda name: self._read(view, name), count)

    def write(self, view: str, shape: Shape, files: Iterable[DataFile]) -> tuple[str, Commit]:
        """A commit of files that were put, and the name for it."""
        stamp = max(time.time_ns(), self.state(view).stamp + 1)
        numbered = [replace(file, arrived=stamp + n) for n, file in enumerate(files)]
        return commit_name(stamp, whole=False), Commit(view, shape, tuple(numbered))

    def whole(
        self,
        snapshot: Snapshot,
        state: ViewState,
        files: Iterable[DataFile],
        old: Iterable[DataFile],
    ) -> tuple[str, Commit]:
        """A commit that says all that a state says, in other files, and the name for it.

        Args:
            snapshot: what the state is read as.
            state: what is said.
            files: those that count from now on.
            old: files that do no more.
        """
        now = time.time_ns()
        # Who began to merge before those were gone must not bring them back. Where one merge at a
        # time is at work nobody did; where not, nobody did so long ago.
        since = now - OVERLAP_NS if self.bucket.settle_s else now
        late = {name: at for name, at in state.gone.items() if at > since}
        commit = Commit(
            snapshot.view, snapshot.shape, tuple(files), state.count,
            tuple(sorted(state.names)), {**late, **{file.name: now for file in old}}, state.erased,
        )  # fmt: skip
        return commit_name(max(now, state.stamp), whole=True), commit

    def publish(self, view: str, name: str, commit: Commit) -> None:
        """Makes a commit count, once its files are durable.

        Raises:
            NotEnough: the disk is full.
        """
        files = [f"{view}/data/{file.name}" for file in self._new(view, commit)]
        self.bucket.publish(self.place(view, name), commit.to_json(), files)
        known = self._known.get(view)
        if known is not None and not name.endswith(WHOLE):
            self._known[view] = known.grown({name: commit})

    def forget(self, view: str, state: ViewState) -> None:
        """Removes the commits that a whole one, which is durable, now stands for.

        Where a listing takes its time it must not miss both them and the whole one: there those
        go that stood in an earlier whole one, if that was made a while ago.
        """
        gone = state.names
        if self.bucket.settle_s:
            now = datetime.now(UTC)
            wholes = [stamp_of(name) for name in state.names if name.endswith(WHOLE)]
            settled = all((now - at).total_seconds() > self.bucket.settle_s for at in wholes)
            gone = state.names & state.included if settled else frozenset()
        self.bucket.remove(self.place(view, name) for name in gone)

    def place(self, view: str, name: str) -> str:
        """Where a commit lies in the bucket."""
        return f"{view}/commits/{name}"

    def _new(self, view: str, commit: Commit) -> list[DataFile]:
        """The files of a commit that no earlier one names."""
        known = self._known.get(view, ViewState()).added
        return [file for file in commit.files if file.name not in known]

    def _read(self, view: str, name: str) -> Commit:
        place = self.place(view, name)
        return Commit.from_json(self.bucket.read(place), self.bucket.where(place))
