"""Find the newest row of a key as of a moment, by sort and search."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MOST_PLACES = 2**62
"""Numbers of places in time of all keys that fit in 64 bits; beyond, times are ranked first."""


def numbers_of(asked: pl.DataFrame, rows: pl.DataFrame, key: Sequence[str]) -> tuple[Ints, Ints]:
    """A number for each key, the same on both sides; -1 where a part of it is null.

    Args:
        asked: the key columns of what is asked about.
        rows: the key columns of what is known.
        key: the names of those columns, which hold strings.
    """
    count = len(asked) + len(rows)
    numbers, nulls = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    for name in key:
        # a categorical of both sides together numbers the strings without making objects of them
        both = pl.concat([asked[name], rows[name]]).cast(pl.Categorical).to_physical()
        part = both.fill_null(0).to_numpy().astype(np.int64)
        nulls |= both.is_null().to_numpy()
        numbers = numbers * (part.max(initial=0) + 1) + part
        if name != key[0] or numbers.max(initial=0) > 4 * count:  # so that they stay few
            _, numbers = np.unique(numbers, return_inverse=True)
    numbers[nulls] = -1
    return numbers[: len(asked)], numbers[len(asked) :]


def newest(asked: Ints, moments: Ints, group: Ints, times: Ints, created: Ints | None) -> Ints:
    """Of each question the number of the row that holds, or -1.

    It is the newest row of the key with a time at or before the moment. Of several with one time it
    is the one that was created last, and of several created together the one that stands last.

    Args:
        asked: `[n]`, the number of the key that each question is about; -1 for none.
        moments: `[n]`, the moment of each, in microseconds since 1970, UTC.
        group: `[m]`, the number of each row's key; -1 for none.
        times: `[m]`, when each row became true.
        created: `[m]`, when each row came in; None where only their order tells.
    """
    found = np.full(len(asked), -1, dtype=np.int64)
    kept = _asked_for(asked, moments, group)
    if kept is not None:
        group, times = group[kept], times[kept]
        created = None if created is None else created[kept]
    if not len(group) or not len(asked):
        return found
    places, wanted = _places(asked, moments, group, times)
    order = _sorted(places, created)
    by_place = np.argsort(wanted)  # neighbours in the questions are then neighbours in the rows
    places = places[order]
    before = np.searchsorted(places, wanted[by_place], side="right") - 1
    rows = order[before]
    hit = (before >= 0) & (group[rows] == asked[by_place])
    found[by_place[hit]] = rows[hit] if kept is None else kept[rows[hit]]
    return found


def _asked_for(asked: Ints, moments: Ints, group: Ints) -> Ints | None:
    """The rows whose key is asked about; None for nearly all."""
    size = max(int(asked.max(initial=-1)), int(group.max(initial=-1))) + 2
    wanted = np.zeros(size, dtype=np.bool_)
    wanted[asked] = True
    wanted[-1] = False  # where the keys are that have no number
    kept = wanted[group]
    share = np.count_nonzero(kept) / max(1, len(kept))
    none = bool(len(group)) and group.min() < 0
    return np.flatnonzero(kept) if share < 0.9 or none else None


def _places(asked: Ints, moments: Ints, group: Ints, times: Ints) -> tuple[Ints, Ints]:
    """Key and time of rows and of questions as one number, by which they sort."""
    keys = max(int(group.max()), int(asked.max())) + 1
    low, high = int(times.min()), int(times.max())
    if keys * (high - low + 1) > MOST_PLACES:
        known = np.unique(times)
        times = np.searchsorted(known, times)
        moments = np.searchsorted(known, moments, side="right") - 1
        low, high = 0, len(known) - 1
    width = high - low + 1
    # a moment before all rows gets the last place of the key before, which is another key
    return group * width + (times - low), asked * width + (moments.clip(low - 1, high) - low)


def _sorted(places: Ints, created: Ints | None) -> Ints:
    """The rows by place, those in one place by when they were created, then as they stand."""
    order: Ints = np.argsort(places)
    ranked = places[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        tied = np.append(same, False) | np.append(False, same)
        rows = order[tied]
        since = np.zeros(len(rows), dtype=np.int64) if created is None else created[rows]
        order[tied] = rows[np.lexsort((rows, since, ranked[tied]))]
    return order
