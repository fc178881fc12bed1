"""Make rows count: a commit object names data files, and all commits together are the state."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self
from uuid import uuid4

import orjson

from cluster.base.errors import Corrupt
from cluster.features.offline.datafile import DataFile
from cluster.features.offline.shape import Shape

WHOLE = "-all.json"
"""How the name of a commit ends that says all that the ones before it say together."""
_NAME = re.compile(r"\d{8}T\d{6}\.\d{9}Z-[0-9a-f]{32}(-all)?\.json")
EARLIER = re.compile(r"\d{10}\.json")
"""What the commits of releases before 0.2 are called."""


def commit_name(stamp: int, *, whole: bool) -> str:
    """A name that nothing else has, and that sorts by the nanosecond since 1970 at its front."""
    moment = datetime.fromtimestamp(stamp // 10**9, UTC)
    ending = WHOLE if whole else ".json"
    return f"{moment:%Y%m%dT%H%M%S}.{stamp % 10**9:09d}Z-{uuid4().hex}{ending}"


def is_commit(name: str) -> bool:
    """Whether an object is a commit by its name."""
    return _NAME.fullmatch(name) is not None


def stamp_of(name: str) -> datetime:
    """When a commit was made, by its name."""
    return datetime.strptime(name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Commit:
    """What one commit object says.

    Args:
        view: the view's name.
        shape: the columns that its files were written with.
        files: the files that it adds; all that count, where it is a whole one.
        count: of a whole one: how many writes there were.
        names: of a whole one: the commits that need not be read any more.
        gone: of a whole one: files that count no more, and since when, in nanoseconds since 1970.
        erased: of a whole one: how often rows were erased.
    """

    view: str
    shape: Shape
    files: tuple[DataFile, ...]
    count: int = 0
    names: tuple[str, ...] = ()
    gone: Mapping[str, int] = field(default_factory=dict)
    erased: int = 0

    def to_json(self) -> bytes:
        """The bytes of the object, with a digest that tells whether they are these."""
        said: dict[str, Any] = {
            "view": self.view,
            "schema": self.shape.to_json(),
            "added": [file.to_json() for file in self.files],
        }
        if self.names:
            said |= {"count": self.count, "includes": self.names, "removed": self.gone}
            said |= {"erased": self.erased} if self.erased else {}
        body = orjson.dumps(said)
        digest = hashlib.sha256(body).hexdigest().encode()
        return b'{"sha256":"' + digest + b'","commit":' + body + b"}\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Self:
        """Reads the object back.

        Raises:
            Corrupt: it is not what was written.
        """
        try:
            held = orjson.loads(data)
            body = data[data.index(b'"commit":') + 9 : -2]
            if hashlib.sha256(body).hexdigest() != held["sha256"]:
                raise ValueError("its bytes are not those that were written")  # noqa: TRY301
            said = held["commit"]
            files = tuple(DataFile.from_json(file) for file in said["added"])
            return cls(
                said["view"], Shape.from_json(said["schema"]), files, said.get("count", 0),
                tuple(said.get("includes", ())), said.get("removed", {}), said.get("erased", 0),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(
                f"The commit {where} is damaged: {error}.", hint="Restore it from a backup."
            ) from None


@dataclass(frozen=True)
class ViewState:
    """What the commits of a view say together, in whatever order they became visible.

    Args:
        names: the commit objects that were there.
        included: those that a whole commit stands for.
        count: how many writes there were.
        added: every file that a commit names, by name.
        gone: those that count no more, and since when.
        shape: the columns; None where nothing was ever written.
        erased: how often rows were erased: what was read of them before must be forgotten.
    """

    names: frozenset[str] = frozenset()
    included: frozenset[str] = frozenset()
    count: int = 0
    added: Mapping[str, DataFile] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    shape: Shape | None = None
    erased: int = 0

    @property
    def files(self) -> tuple[DataFile, ...]:
        """The files that count, in the order in which they came."""
        live = (file for name, file in self.added.items() if name not in self.gone)
        return tuple(sorted(live, key=lambda file: (file.arrived, file.name)))

    @property
    def stamp(self) -> int:
        """The number of the newest arrival."""
        return max((file.arrived for file in self.added.values()), default=0)

    @property
    def pending(self) -> list[str]:
        """The commits that no whole one stands for, in the order of their names."""
        return sorted(n for n in self.names if n not in self.included and not n.endswith(WHOLE))

    def grown(self, commits: Mapping[str, Commit]) -> Self:
        """The state after more writes."""
        added, shape = dict(self.added), self.shape
        for commit in commits.values():
            added |= {file.name: file for file in commit.files}
            shape = commit.shape if shape is None else _joined(shape, commit.shape)
        return replace(
            self, names=self.names | commits.keys(), count=self.count + len(commits), added=added,
            shape=shape,
        )  # fmt: skip

    def with_whole(self, name: str, whole: Commit) -> Self:
        """The state of this and another whole commit: two may be made at one time."""
        new = {n for n in whole.names if n not in self.included and not n.endswith(WHOLE)}
        return replace(
            self,
            names=self.names | {name},
            included=self.included | {*whole.names},
            count=self.count + len(new) if self.count else whole.count,
            added={**self.added, **{file.name: file for file in whole.files}},
            gone={**self.gone, **whole.gone},
            erased=max(self.erased, whole.erased),
            shape=whole.shape if self.shape is None else _joined(self.shape, whole.shape),
        )


def state_of(names: Iterable[str], read: Callable[[str], Commit]) -> ViewState:
    """The state that commits make, reading no more of them than it takes."""
    state, listed = ViewState(), sorted(names)
    for name in reversed(listed):
        if name.endswith(WHOLE) and name not in state.included:
            state = state.with_whole(name, read(name))
    state = replace(state, names=frozenset(listed))
    return state.grown({name: read(name) for name in state.pending})


def early_state(
    names: Sequence[str], read: Callable[[str], Commit], count: int
) -> ViewState | None:
    """The state after that many writes; None where it is not known any more, or not yet."""
    wholes = state_of([name for name in names if name.endswith(WHOLE)], read)
    pending = replace(wholes, names=frozenset(names)).pending
    more = count - wholes.count
    if not 0 <= more <= len(pending):
        return None
    return wholes.grown({name: read(name) for name in pending[:more]})


def _joined(one: Shape, other: Shape) -> Shape:
    return one if one is other or one == other else one.joined(other)
