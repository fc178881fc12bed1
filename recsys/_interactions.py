"""Turn who-took-what into a sparse matrix, with the same numbering on every worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cluster.batch import Batch, concat


@dataclass(frozen=True)
class Log:
    """Every pair of a user and an item once, numbered; rows are sorted by user, then item.

    Attributes:
        users: user ids by number.
        items: item ids by number.
        user: user number of each pair.
        item: item number of each pair.
        value: the mean of the pair's values.
    """

    users: list[str]
    items: list[str]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.float64]

    def matrix(self, slope: float = 0.0) -> sparse.csr_matrix:
        """Users by items; an entry is the weight of the pair."""
        weight = weights(self.user, self.value, len(self.users), slope)
        return sparse.csr_matrix(
            (weight, (self.user, self.item)), shape=(len(self.users), len(self.items))
        )

    def part(self, rows: NDArray[np.bool_]) -> "Log":
        """Some of the pairs, with the same numbering."""
        return Log(self.users, self.items, self.user[rows], self.item[rows], self.value[rows])


def read(shards: Sequence[Batch]) -> Log:
    """Number the rows of every worker's shard; the order of shards and rows does not matter."""
    rows = concat(shards)
    users, user = np.unique(rows["user_id"].astype(str), return_inverse=True)
    items, item = np.unique(rows["item_id"].astype(str), return_inverse=True)
    pairs, pair, count = np.unique(
        user.astype(np.int64) * len(items) + item, return_inverse=True, return_counts=True
    )
    value = np.bincount(pair, rows["value"], len(pairs)) / count
    return Log(users.tolist(), items.tolist(), pairs // len(items), pairs % len(items), value)


def weights(
    user: NDArray[Any], value: NDArray[Any], users: int, slope: float, floor: float = 0.1
) -> NDArray[np.float64]:
    """Weight of each pair: 1, more where its value is above the user's mean, less below it.

    `max(floor, 1 + slope * (value - mean))`, where the mean is the user's, shrunk by one
    pseudo-value at the mean of all. It is the confidence of implicit feedback in Hu, Koren and
    Volinsky 2008 (doi:10.1109/ICDM.2008.22), centred by user.
    """
    if not slope or not len(value):
        return np.ones(len(value))
    count = np.bincount(user, minlength=users)
    mean = (np.bincount(user, value, users) + value.mean()) / (count + 1)
    weight: NDArray[np.float64] = np.maximum(floor, 1 + slope * (value - mean[user]))
    return weight


def held_out(log: Log, *, share: float, seed: int) -> NDArray[np.bool_]:
    """A mask of each user's held-out pairs: round(share * n) of them at random."""
    drawn = np.random.default_rng(seed).random(len(log.user))
    order = np.lexsort((drawn, log.user))
    sizes = np.bincount(log.user, minlength=len(log.users))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held = np.zeros(len(order), dtype=bool)
    held[order] = rank < np.rint(share * np.repeat(sizes, sizes))
    return held
