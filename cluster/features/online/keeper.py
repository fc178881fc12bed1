"""Say what holds packed rows online, whatever it is: SQLite or Redis."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cluster.errors import Conflict


@dataclass(frozen=True)
class Want:
    """Some keys of one shelf.

    A shelf holds a packed value for each key: the rows of a view, or the events behind windows.
    """

    shelf: str
    keys: Sequence[str]


@dataclass(frozen=True)
class Got:
    """What there is of a `Want`.

    Attributes:
        declaration: what the shelf was declared to hold; None where nothing was.
        values: for each key its value, or None.
    """

    declaration: str | None
    values: list[bytes | None]


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


@dataclass(frozen=True)
class Merge:
    """The same for values that are made from those that are there.

    Attributes:
        merge: takes the value of each key, or None, and returns the new ones. It may be called
            again where another writer was quicker.
    """

    shelf: str
    declaration: str
    keys: Sequence[str]
    merge: Callable[[Sequence[str], Sequence[bytes | None]], list[bytes]]
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

    def declared(self, shelves: Sequence[str]) -> list[str | None]:
        """What each shelf was declared to hold, or None."""

    def declare(self, shelf: str, declaration: str) -> None:
        """Forget what is on the shelf, and which files were brought; from now on it holds this.

        A shelf that is declared so already keeps all it has: who came second wipes nothing.
        """

    def files(self, shelf: str) -> set[str]:
        """The names of the data files that were brought."""

    def change(self, changes: Sequence[Put | Merge]) -> None:
        """Write, once for all readers where it can; the files are noted last.

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
