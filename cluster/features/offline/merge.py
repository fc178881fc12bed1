"""Tell which of some new rows change what is stored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cluster.features.offline.datafile import DataFile
from cluster.features.offline.snapshot import Snapshot, winners
from cluster.features.offline.stage import Stage


@dataclass(frozen=True)
class Written:
    """What a write did.

    Args:
        new: rows whose key and event time were not there.
        same: rows that were there with the same values.
        replaced: rows that were there with other values, or were created earlier.
        doubled: rows that another row of the same write took the place of.
        commit: how many writes there were once all of it held.
        older: rows of which one that was created later is there: they change nothing.
    """

    new: int
    same: int
    replaced: int
    doubled: int
    commit: int
    older: int = 0


@dataclass(frozen=True)
class Merged:
    """What a write would do.

    Args:
        rows: by number of the staged file, the numbers of the rows that change something.
        written: the counts, with the number of the write before.
    """

    rows: dict[int, Sequence[int]]
    written: Written


def compare(old: Snapshot, stage: Stage) -> Merged:
    """Compares staged rows with the live ones of their days.

    Raises:
        Corrupt: a file that must be read is damaged.
    """
    key = [*stage.view.key, "event_time"]
    staged = stage.index()
    fresh = winners(staged, stage.view.key)
    live = winners(old.index(touched(old, fresh), ["digest"]), stage.view.key)
    known = live.select(*key, digest_live="digest", created_live="created")
    both = fresh.join(known, on=key, how="left", maintain_order="left")
    there = pl.col("created_live").is_not_null()
    same = there & (pl.col("digest") == pl.col("digest_live"))
    if stage.told:  # then the time itself is something that a row says
        same &= pl.col("created") <= pl.col("created_live")
    older = there & ~same & (pl.col("created") < pl.col("created_live"))
    both = both.with_columns(there=there, same=same, older=older)
    added = both.filter(~pl.col("same") & ~pl.col("older"))
    replaced = int(added["there"].sum())
    return Merged(
        {int(file): rows for file, rows in added.group_by("file").agg("row").iter_rows()},
        Written(
            new=len(added) - replaced,
            same=int(both["same"].sum()),
            replaced=replaced,
            doubled=len(staged) - len(fresh),
            commit=old.commit,
            older=int(both["older"].sum()),
        ),
    )


def touched(old: Snapshot, rows: pl.DataFrame) -> list[DataFile]:
    """The stored files that have rows of the same days."""
    days = np.unique(rows["event_time"].cast(pl.Int64).to_numpy().view("M8[us]").astype("M8[D]"))
    found = []
    for file in old.files:
        first, last = file.days
        if np.searchsorted(days, first, "left") < np.searchsorted(days, last, "right"):
            found.append(file)
    return found
