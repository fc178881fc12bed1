"""Give a worker the rows of its shard: in memory, or one pass at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from cluster.base import batch as batches
from cluster.base.batch import Batch


class Rows(ABC):
    """The rows of one part (train, valid, test) that one worker sees.

    Attributes:
        count: rows in this worker's shard.
        resident: whether they are in memory; if not, `whole` is refused.
    """

    count: int
    resident: bool

    @abstractmethod
    def whole(self) -> Batch:
        """All rows at once.

        Raises:
            NotEnough: they do not fit the share of memory that training may take.
        """

    @abstractmethod
    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the rows in their order, `size` at a time."""

    @abstractmethod
    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        """One pass in an order that the seed decides, in full batches of `size`."""


class Resident(Rows):
    """Rows that are in memory."""

    resident = True

    def __init__(self, rows: Batch) -> None:
        self.count = batches.length(rows)
        self._rows = rows

    def whole(self) -> Batch:
        """All rows at once."""
        return self._rows

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the rows in their order, `size` at a time."""
        yield from batches.chunks(self._rows, size)

    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        """One pass in an order that the seed decides, in full batches of `size`."""
        order = batches.shuffle(self.count, seed=seed)
        for start in range(0, self.count - size + 1, size):
            yield batches.take(self._rows, order[start : start + size])


class Mapped(Rows):
    """Rows that are not in memory, each batch changed as it comes.

    Args:
        rows: which.
        change: gives a batch with as many rows.
    """

    resident = False

    def __init__(self, rows: Rows, change: Callable[[Batch], Batch]) -> None:
        self.count = rows.count
        self._rows, self._change = rows, change

    def whole(self) -> Batch:
        """All rows at once, where that is not refused."""
        return self._change(self._rows.whole())

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the rows in their order, `size` at a time."""
        yield from map(self._change, self._rows.batches(size))

    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        """One pass in an order that the seed decides, in full batches of `size`."""
        yield from map(self._change, self._rows.shuffled(size, seed=seed))


def mapped(rows: Rows, change: Callable[[Batch], Batch]) -> Rows:
    """The rows with each batch changed: now where they are in memory, else as it comes."""
    return Resident(change(rows.whole())) if rows.resident else Mapped(rows, change)
