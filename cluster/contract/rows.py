"""Give a worker the rows of its shard: in memory, or one pass at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

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
