"""Decide which rows are learnt from and which are kept to measure."""

import hashlib
import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, numbered, take
from cluster.base.errors import InvalidInput

TRAIN, VALID, TEST = "train", "valid", "test"
Share = Annotated[float, "between 0 and 1"]
Parts = NDArray[Any]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Split(ABC):
    """Gives every row its part: `train`, `valid` or `test`.

    Args:
        valid: the share of rows kept to watch the training.
        test: the share kept to measure the result.
    """

    valid: Share = 0.05
    test: Share = 0.15
    by_content: ClassVar[bool] = False
    """Whether rows of equal content go together: not where time or people decide."""
    by_time: ClassVar[bool] = False
    """Whether later rows measure what was learnt from earlier ones: outcomes of these must not
    reach into the time of those."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What it looks at beside key, event time and split."""
        return ()

    def parts(self, rows: Batch, key: Sequence[str], alike: Numbers | None = None) -> Parts:
        """The part of each row. What the source says is kept; only the rest is decided here.

        Where the source names its test rows but none to watch with, those are taken from its
        training rows. Where it names all rows and none as test, its valid ones are the test.

        Args:
            rows: needs the key, `event_time`, `split` and `columns`; others are not looked at.
            key: the columns that say what a row is about.
            alike: for each row the first of its copies, or its own number: see `Copies`. Where
                `by_content`, copies go where the first of them goes, or where the source puts one
                of them; a row without copies goes where it would without `alike`.
        """
        given: Parts = rows["split"].astype("<U5")
        if not np.isin(given, ("", TEST)).any():
            given[given == VALID] = TEST
        parts, open_rows = given.copy(), given == ""
        named = bool((given == TEST).any())
        if open_rows.any():
            free = take(rows, open_rows)
            parts[open_rows] = TRAIN if named else self.assign(free, key)
            if self.by_content and alike is not None:
                parts[open_rows] = _with_copies(parts, given, alike)[open_rows]
        if named if open_rows.any() else not (given == VALID).any():
            return self._watch(parts, rows, key, alike)
        return parts

    @abstractmethod
    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """The part of each row of which the source says nothing."""

    def remedy(self, rows: Batch, part: str) -> str:
        """What to do about a part that has no row.

        Args:
            rows: all there are, as for `parts`.
            part: train, valid or test.
        """
        named = sorted(set(rows["split"]) - {""})
        if len(named) == 1 and (rows["split"] != "").all():
            return (
                f"Their source puts all of them in {named[0]}, by the name of a file or folder or "
                f"by a column `split`: ingest rows of {part}, too, or these without their part."
            )
        return "Ingest more rows, or rows whose source names that part."

    def drawn(self, rows: Batch, key: Sequence[str]) -> NDArray[np.float64]:
        """A number in [0, 1) for each row, by which rows to watch are taken from training rows."""
        return draw(rows, key)

    def _watch(self, parts: Parts, rows: Batch, key: Sequence[str], alike: Numbers | None) -> Parts:
        drawn = self.drawn(rows, key)
        if self.by_content and alike is not None:
            drawn = drawn[alike]
        parts[(parts == TRAIN) & (drawn < self.valid)] = VALID
        return parts


@dataclass(frozen=True)
class ByKey(Split):
    """By a hash of the key, so that a row keeps its part when others are added."""

    by_content: ClassVar[bool] = True

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Shares of the hash's range."""
        return _shares(draw(rows, key), self.valid, self.test)


@dataclass(frozen=True)
class ByGroup(Split):
    """By a hash of one column: all rows of a person, a patient or a speaker are in one part.

    Args:
        column: says who or what a row belongs to.
    """

    valid: Share = 0.05
    test: Share = 0.15
    column: str = field(kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that decides."""
        return (self.column,)

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Shares of the hash's range."""
        return _shares(self.drawn(rows, key), self.valid, self.test)

    def drawn(self, rows: Batch, key: Sequence[str]) -> NDArray[np.float64]:
        """The same for all rows of a group."""
        return draw(rows, (self.column,))


@dataclass(frozen=True)
class ByTime(Split):
    """The oldest rows to learn from, newer ones to watch, the newest to measure."""

    by_time: ClassVar[bool] = True

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Shares of the rows in the order of their event times."""
        rank = np.empty(length(rows))
        rank[np.argsort(rows["event_time"], kind="stable")] = np.arange(length(rows))
        return _shares(1.0 - (rank + 1) / max(1, len(rank)), self.test, self.valid, (TEST, VALID))


@dataclass(frozen=True)
class PerUser(Split):
    """The same share of every user's rows, drawn by a hash.

    Args:
        seed: which of the possible draws.
    """

    seed: int = 0
    user: ClassVar[str] = "user_id"

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that names users."""
        return (self.user,)

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Shares of each user's rows in the order of their hashes, rounded to whole rows."""
        drawn = draw(rows, (*key, "event_time"), seed=self.seed)
        _, user = numbered(rows[self.user])
        order = np.lexsort((drawn, user))
        sizes = np.bincount(user)
        rank = np.empty(len(user))
        rank[order] = np.arange(len(user)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        tests = np.round(self.test * sizes)[user]
        valids = np.round(self.valid * sizes)[user]
        return np.where(rank < tests, TEST, np.where(rank < tests + valids, VALID, TRAIN))

    def remedy(self, rows: Batch, part: str) -> str:
        """The rows that users have, where all have too few to keep any of them."""
        most = int(np.bincount(numbered(rows[self.user])[1]).max())
        asks = part == TEST and self.test > 0 and not (rows["split"] != "").any()
        if not asks or np.round(self.test * most):
            return super().remedy(rows, part)
        fewest = math.floor(0.5 / self.test) + 1  # halves are rounded to even numbers
        return (
            f"No {self.user} has more than {most} row{'s' * (most > 1)}, and {self.test:.0%} of "
            f"that, rounded, is none: more such rows do not help. There must be users with "
            f"{fewest} rows or more. If {self.user} is the number of an order or a session, ingest "
            f"again with the column that says who it was: --map {self.user}=NAME"
        )


@dataclass(frozen=True)
class Folds(Split):
    """One of `count` equal folds to measure, the rest to learn from.

    Each row is measured once over all folds, whatever part its source puts it in.

    Args:
        count: how many folds.
        fold: which one is the test, from 0.
        seed: which of the possible draws.
    """

    valid: Share = 0.0
    count: int = 10
    fold: int = 0
    seed: int = 0
    by_content: ClassVar[bool] = True

    def parts(self, rows: Batch, key: Sequence[str], alike: Numbers | None = None) -> Parts:
        """The fold of each row, or of the first of its copies."""
        parts = self.assign(rows, key)
        if alike is not None:
            parts = parts[alike]
        return self._watch(parts, rows, key, alike)

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Equal ranks of the hash are the folds, so they differ by one row at most."""
        rank = np.argsort(np.argsort(draw(rows, key, seed=self.seed), kind="stable"))
        fold = rank * self.count // max(1, len(rank))
        return np.where(fold == self.fold, TEST, TRAIN).astype("<U5")


@dataclass(frozen=True)
class Given(Split):
    """Only as the source says."""

    def assign(self, rows: Batch, key: Sequence[str]) -> Parts:
        """Refuse: the source did not say."""
        raise InvalidInput(
            f"{length(rows)} rows do not say which part they belong to.",
            hint="Give them a `split` of train, valid or test, or choose another split.",
        )


def draw(rows: Batch, names: Sequence[str], *, seed: int = 0) -> NDArray[np.float64]:
    """A number in [0, 1) for each row that depends on its named columns and the seed alone."""
    salt = seed.to_bytes(8, "little", signed=True)
    columns = [_words(rows[name]) for name in names]
    digests = b"".join(
        hashlib.blake2b("\x1f".join(values).encode(), digest_size=8, key=salt).digest()
        for values in zip(*columns, strict=True)
    )
    return (np.frombuffer(digests, dtype="<u8") >> 11) / float(1 << 53)


def shards(rows: Batch, series: Sequence[str], workers: int) -> NDArray[np.int64]:
    """Which of some workers has each row: whole series, about as many rows each.

    Args:
        rows: have the columns that say which series a row is of.
        series: the names of these columns.
        workers: how many share the rows.

    Raises:
        InvalidInput: there are fewer series than workers.
    """
    _, one, sizes = np.unique(draw(rows, series), return_inverse=True, return_counts=True)
    if len(sizes) < workers:
        raise InvalidInput(
            f"The rows have {len(sizes)} different {', '.join(series)}, which {workers} workers "
            "cannot share: no worker may have a part of one.",
            hint=f"Ask for --workers {max(1, len(sizes))}.",
        )
    loads = [(0, rank) for rank in range(workers)]
    owner = np.empty(len(sizes), np.int64)
    for number in np.argsort(-sizes, kind="stable").tolist():  # the longest to who has least
        load, owner[number] = heapq.heappop(loads)
        heapq.heappush(loads, (load + int(sizes[number]), int(owner[number])))
    return owner[one]


def _shares(
    drawn: NDArray[Any], first: float, second: float, names: tuple[str, str] = (VALID, TEST)
) -> Parts:
    return np.where(
        drawn < first, names[0], np.where(drawn < first + second, names[1], TRAIN)
    ).astype("<U5")


def _words(column: NDArray[Any]) -> Sequence[str]:
    """A column as text. NumPy's own text has one width for all rows and loses NULs at the end."""
    if column.dtype.kind == "M":
        return column.astype(str)  # type: ignore[return-value]
    return list(map(str, column.tolist()))


def _with_copies(parts: Parts, given: Parts, alike: Numbers) -> Parts:
    """The part of each row's copies: what the source gives one of them, or else of the first.

    Where it puts copies on both sides, the others are learnt from: more of them in the test part
    would flatter it more.
    """
    decided: Parts = parts.copy()
    for part in (VALID, TEST, TRAIN):
        decided[alike[given == part]] = part
    return decided[alike]
