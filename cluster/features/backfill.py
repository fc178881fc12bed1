"""Find the rows that a model view lacks, and ask its model about them, some at a time."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, take
from cluster.features.derived.modelview import Models, ModelView
from cluster.features.offline.shape import ARRIVED
from cluster.features.offline.snapshot import DataFile, Snapshot
from cluster.features.offline.store import Store
from cluster.features.schema.view import View

PIECE_ROWS = 1_024  # rows that a model is asked about together, and that lie in memory
PART_S = 30.0
"""After so many seconds what a model has said is committed: a kill costs no more of its work."""

Ask = Callable[["Backfill", Models], Iterable[Batch]]
"""Gives what a model says of every piece: in this process, or spread over a cluster."""


@dataclass(frozen=True)
class RowSlice:
    """Some rows of one data file.

    Attributes:
        file: which file.
        rows: their numbers among the live rows of the file.
    """

    file: DataFile
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Backfill:
    """What is to be made of a model view.

    Args:
        view: with the version of its model.
        over: the stored view that the model is asked about.
        source: its rows.
        done: the rows that the model view has already, if it has any.
    """

    view: ModelView
    over: View
    source: Snapshot
    done: Snapshot | None

    def pieces(self) -> Iterator[RowSlice]:
        """The rows that are not in `done`, or were replaced since; reads keys and times alone."""
        key = [*self.over.key, "event_time"]
        known = _frame(self.done.table([*key, "created"])) if self.done else None
        for file in self.source.files:
            rows = _frame(self.source.rows_of(file, [*key, ARRIVED])).with_row_index("row")
            wanted = rows
            if known is not None:
                both = rows.join(known, on=key, how="left")
                asked = pl.col("created").to_physical()
                # not when it was created: an ingest may have begun long before it was committed
                wanted = both.filter(asked.is_null() | (pl.col(ARRIVED) // 1_000 > asked))
            numbers = wanted["row"].sort().cast(pl.Int64).to_numpy()
            for start in range(0, len(numbers), PIECE_ROWS):
                yield RowSlice(file, numbers[start : start + PIECE_ROWS])

    def made(self, piece: RowSlice, models: Models) -> Batch:
        """The view's rows for a piece: key, event time, and what the model says.

        Raises:
            Corrupt: the data file or the version of the model is damaged.
            Conflict: the model does not give what the view declares.
        """
        names = [*self.over.key, "event_time", *dict.fromkeys(self.view.inputs.values())]
        table = self.source.rows_of(piece.file, list(dict.fromkeys(names)))
        rows = self.over.unpack(table.take(pa.array(piece.rows)))
        keys = {name: rows[name] for name in (*self.over.key, "event_time")}
        kept, columns = models.answer(self.view, rows)
        return {**take(keys, kept), **columns}


def here(work: Backfill, models: Models) -> Iterator[Batch]:
    """Asks in this process, one piece after the other."""
    for piece in work.pieces():
        yield work.made(piece, models)


def keep(
    store: Store, view: View, made: Iterable[Batch], *, created: np.datetime64, part_s: float
) -> int:
    """Stores what a model says while it says it, a part after the other.

    Args:
        store: where to.
        view: of the rows: `ModelView.rows_of`.
        made: the rows, some at a time.
        created: when all of them came in: before any row that they are made from was read, or one
            that is replaced while the model is asked would pass for older than what it said.
        part_s: how long a part takes, in seconds.

    Returns:
        How many rows were made.

    Raises:
        NotEnough: the disk is full; the parts before stay.
    """
    rest, total, more = iter(made), 0, True
    while more:
        with store.stage(view, created=created) as stage:
            more, until, begun = False, monotonic() + part_s, total
            for rows in rest:
                if length(rows):  # the model may have refused every row of a piece
                    stage.add(rows)
                    total += length(rows)
                if monotonic() >= until:
                    more = True
                    break
            if total > begun:
                store.commit(stage)
    return total


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))
