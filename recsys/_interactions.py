"""Turn who-took-what into a sparse matrix, with the same numbering on every worker."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cluster.contract import Batch, InvalidInput, concat, numbered
from recsys._said import said

ROUNDING = 1e-9  # of all that was added up
FEWEST = 2  # what is said of one user alone tells nothing of others


@dataclass(frozen=True)
class Log:
    """Every pair of a user and an item once, numbered; rows are sorted by user, then item.

    Attributes:
        users: user ids by number.
        items: item ids by number; the first of them are traits of users, which no one is shown.
        user: user number of each pair.
        item: item number of each pair.
        value: the mean of the pair's values.
        traits: how many of the items are traits.
        refused: by user id the items whose values add up to 0 or less: returned or disliked. They
            are no history and no popularity, and were seen.
    """

    users: list[str]
    items: list[str]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.float64]
    traits: int = 0
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def matrix(self, slope: float = 0.0, trait: float = 1.0) -> sparse.csr_matrix:
        """Users by items; an entry is the weight of the pair, `trait` where it is one."""
        weight, taken = np.full(len(self.user), trait), self.item >= self.traits
        weight[taken] = weights(self.user[taken], self.value[taken], len(self.users), slope)
        return sparse.csr_matrix(
            (weight, (self.user, self.item)), shape=(len(self.users), len(self.items))
        )

    def part(self, rows: NDArray[np.bool_]) -> "Log":
        """Some of the pairs, with the same numbering."""
        pairs = {name: getattr(self, name)[rows] for name in ("user", "item", "value")}
        return replace(self, **pairs)

    def told(self, tables: Sequence[Batch]) -> "Log":
        """The same with what tables say of users: a trait is one more thing that a user took.

        So it is learnt which items go with which trait, as it is which go together, and users of
        whom nothing else is known have a history.

        Args:
            tables: as for `said`, about `user_id`; vectors say nothing here.
        """
        names = (str(name) for table in tables for name in table["user_id"])
        users = [*self.users, *sorted(set(names) - set(self.users))]
        bags = said(tables, "user_id", users).bags
        count = Counter(trait for bag in bags for trait in bag)
        traits = sorted(trait for trait, users_of in count.items() if users_of >= FEWEST)
        number = {trait: place for place, trait in enumerate(traits)}
        pairs = np.array(
            [
                (user, number[trait])
                for user, bag in enumerate(bags)
                for trait in sorted(bag)
                if trait in number
            ],
            dtype=np.int64,
        ).reshape(-1, 2)
        user = np.concatenate([self.user, pairs[:, 0]])
        item = np.concatenate([self.item + len(traits), pairs[:, 1]])
        value = np.concatenate([self.value, np.zeros(len(pairs))])
        order = np.lexsort((item, user))
        items = [*traits, *self.items]
        pairs_of_all = user[order], item[order], value[order]
        return Log(users, items, *pairs_of_all, len(traits), self.refused)


def read(shards: Sequence[Batch]) -> Log:
    """Number the rows of every worker's shard; the order of shards and rows does not matter.

    Raises:
        InvalidInput: no value is above 0, so nobody took anything.
    """
    pairs = pairs_of(concat(shards))
    if not (taken := pairs.taken).any():
        raise InvalidInput(
            f"Nobody took anything: what the values of each of {len(taken):,} pairs of a user and "
            "an item add up to is 0 or less.",
            hint="If that is no return and no dislike, leave the column out when you ingest, and "
            "every row counts 1: --map value=-",
        )
    users, user = np.unique(pairs.user[taken], return_inverse=True)
    items, item = np.unique(pairs.item[taken], return_inverse=True)
    refused = replace(pairs, taken=~taken).by_user()
    names = [pairs.users[number] for number in users], [pairs.items[number] for number in items]
    return Log(*names, user, item, pairs.mean[taken], refused=refused)


@dataclass(frozen=True)
class Pairs:
    """Every pair of a user and an item of some rows once, sorted by user, then item.

    Attributes:
        users: user ids, sorted.
        items: item ids, sorted.
        user: user number of each pair.
        item: item number of each pair.
        mean: the mean of the pair's values.
        taken: whether the pair's values add up to more than 0: a return takes back an earlier
            purchase, and a dislike is no liking.
    """

    users: list[str]
    items: list[str]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    mean: NDArray[np.float64]
    taken: NDArray[np.bool_]

    def by_user(self) -> dict[str, list[str]]:
        """The items that each user took; users who took none are left out."""
        found: dict[str, list[str]] = {}
        pairs = zip(self.user[self.taken].tolist(), self.item[self.taken].tolist(), strict=True)
        for user, item in pairs:
            found.setdefault(self.users[user], []).append(self.items[item])
        return found


def netted(items: Iterable[object], values: Iterable[float]) -> tuple[list[str], list[str]]:
    """The items of some events whose values add up to more than 0, and the others."""
    total: dict[str, float] = {}
    size: dict[str, float] = {}
    for item, value in zip(map(str, items), values, strict=True):
        total[item] = total.get(item, 0.0) + value
        size[item] = size.get(item, 0.0) + abs(value)
    refused = {item for item in total if total[item] <= ROUNDING * size[item]}
    return [item for item in total if item not in refused], [i for i in total if i in refused]


def pairs_of(rows: Batch) -> Pairs:
    """The pairs that some rows are about."""
    (users, user), (items, item) = numbered(rows["user_id"]), numbered(rows["item_id"])
    codes, pair, count = np.unique(
        user * len(items) + item, return_inverse=True, return_counts=True
    )
    value = rows["value"]
    total = np.bincount(pair, value, len(codes))
    # what 0.1 + 0.2 - 0.3 leaves over is no purchase
    taken = total > ROUNDING * np.bincount(pair, np.abs(value), len(codes))
    return Pairs(users, items, codes // len(items), codes % len(items), total / count, taken)


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
    """A mask of each user's held-out pairs: round(share * n) of them at random; never a trait."""
    drawn = np.random.default_rng(seed).random(len(log.user))
    taken = log.item >= log.traits
    order = np.lexsort((drawn, ~taken, log.user))
    sizes = np.bincount(log.user, minlength=len(log.users))
    wanted = np.rint(share * np.bincount(log.user[taken], minlength=len(log.users)))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held = np.zeros(len(order), dtype=bool)
    held[order] = rank < np.repeat(wanted, sizes)
    return held
