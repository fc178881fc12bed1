"""Say what holds packed rows online, whatever it is: SQLite or Redis.

A value that grows goes on in parts, so that a write touches few of its bytes. It begins with how
many parts it has, in `COUNT_BYTES`, the lowest first, and the name of each, in `NAME_BYTES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from cluster.base.errors import Conflict

LAYOUT = 3
"""How all that is kept is packed: where it was packed otherwise, nothing is online yet."""
COUNT_BYTES, NAME_BYTES = 4, 8
PART = b"\xff"  # begins no text in UTF-8, so that the key of a part is never that of a value


def part_key(key: str, name: bytes) -> bytes:
    """Where a part of the value of a key is kept."""
    return PART + name + key.encode()


def parts_of(key: str, value: bytes) -> list[bytes]:
    """The keys of the parts in which the value of a key goes on, in their order."""
    count = int.from_bytes(value[:COUNT_BYTES], "little")
    starts = range(COUNT_BYTES, COUNT_BYTES + count * NAME_BYTES, NAME_BYTES)
    return [part_key(key, value[start : start + NAME_BYTES]) for start in starts]


@dataclass(frozen=True)
class Want:
    """Some keys of one shelf.

    A shelf holds a packed value for each key: the rows of a view, or the events behind windows.

    Attributes:
        parted: whether the values are such as go on in parts, which are wanted, too.
    """

    shelf: str
    keys: Sequence[str]
    parted: bool = False


@dataclass(frozen=True)
class Got:
    """What there is of a `Want`.

    Attributes:
        declaration: what the shelf was declared to hold; None where nothing was.
        values: for each key its value, or None.
        parts: of each value that goes on in parts those parts, by the number of its key.
    """

    declaration: str | None
    values: list[bytes | None]
    parts: Mapping[int, Sequence[bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class Put:
    """Rows for a shelf: each counts unless the key has one that begins with larger bytes.

    Attributes:
        shelf: where they go.
        declaration: what the shelf holds; where it is declared otherwise, nothing is written.
        keys: each once.
        values: a packed row for each.
        files: names of data files that are wholly on the shelf once this is.
    """

    shelf: str
    declaration: str
    keys: Sequence[str]
    values: Sequence[bytes]
    files: Sequence[str] = ()


class Value(NamedTuple):
    """A value in parts, and what is new about it.

    Attributes:
        whole: what stands under its key: another one at every write; None where it is gone.
        parts: the parts that are written, by their keys.
        gone: the keys of the parts that are no more.
    """

    whole: bytes | None
    parts: Mapping[bytes, bytes] = {}
    gone: Sequence[bytes] = ()


class Merger(Protocol):
    """Makes values in parts from those that are there, again where another writer was quicker."""

    def touched(self, keys: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
        """The keys of the parts that must be read to make them."""

    def merged(
        self,
        keys: Sequence[str],
        values: Sequence[bytes | None],
        parts: Mapping[bytes, bytes],
    ) -> list[Value]:
        """The new value of each key.

        Args:
            keys: `[n]`.
            values: `[n]`, what there is, or None.
            parts: those that are touched.
        """


@dataclass(frozen=True)
class Merge:
    """The same for values in parts, which are made from those that are there."""

    shelf: str
    declaration: str
    keys: Sequence[str]
    merger: Merger
    files: Sequence[str] = ()


class Keeper(Protocol):
    """Holds packed values by shelf and key, for many processes at once.

    Raises:
        Unavailable: it cannot be reached or used now.
        NotEnough: it is full.
        Corrupt: what it holds is damaged.
    """

    def read(self, wants: Sequence[Want]) -> list[Got]:
        """What there is, all of it in one round trip."""

    def shelves(self) -> dict[str, str]:
        """What each shelf that there is was declared to hold."""

    def declared(self, shelves: Sequence[str]) -> list[str | None]:
        """What each shelf was declared to hold, or None."""

    def declare(self, shelf: str, declaration: str) -> None:
        """Forget what is on the shelf, and which files were brought; from now on it holds this.

        A shelf that is declared so already keeps all it has: who came second wipes nothing.
        """

    def files(self, shelf: str) -> set[str]:
        """The names of the data files that were brought."""

    def files_now(self, shelves: Sequence[str]) -> list[set[str]]:
        """The same of some shelves, in one round trip: it gives up as soon as a look-up does."""

    def forget(self, shelf: str, names: Sequence[str]) -> None:
        """Note no longer that some files were brought; their rows stay."""

    def change(self, changes: Sequence[Put | Merge]) -> None:
        """Write, once for all readers where it can; the files are noted last.

        Raises:
            Conflict: a shelf is declared otherwise.
        """

    def erase(self, changes: Sequence[Merge]) -> None:
        """The same where it must leave no trace of what was there in files of its own.

        Raises:
            Conflict: a shelf is declared otherwise.
        """

    def change_now(self, changes: Sequence[Put | Merge]) -> None:
        """The same for a few rows that somebody waits for."""

    def close(self) -> None:
        """End the connections of this thread; the next call makes new ones."""


def other_declaration(shelf: str) -> Conflict:
    """Somebody else declared the shelf anew while we wrote."""
    return Conflict(
        f"{shelf!r} was declared anew while rows were written to it.",
        hint="Two processes use different code: end the older one, then materialize again.",
    )
