"""Read rows while a network trains on them, where they do not fit into memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, take
from cluster.base.errors import NotEnough
from cluster.contract.rows import Rows
from cluster.contract.split import draw
from cluster.features.schema.view import View

if TYPE_CHECKING:
    from cluster.training.data import Plan

SHUFFLE_ROWS = 8_192
PIECE_ROWS = 1_024  # as many rows at a time a stream hands on: of pictures these are some MB


def streamed(view: View, table: pa.Table, kept: NDArray[np.float64]) -> Iterator[pa.Table]:
    """Those of some stored rows that are wanted, some at a time.

    Args:
        view: whose rows they are.
        table: all columns of the rows.
        kept: what `draw` gives for key and event time of the wanted rows, in order.
    """
    names = [*view.key, "event_time"]
    for start in range(0, table.num_rows, PIECE_ROWS):
        piece = table.slice(start, PIECE_ROWS)
        drawn = draw(view.unpack(piece.select(names)), names)
        yield piece.filter(pa.array(np.isin(drawn, kept)))


class Streamed(Rows):
    """Rows that Ray Data reads, one pass at a time, while the network trains."""

    resident = False

    def __init__(self, shard: Any, plan: "Plan", count: int) -> None:
        self.count = count
        self._shard = shard
        self._plan = plan

    def whole(self) -> Batch:
        """Refuse: they are streamed because they do not fit."""
        raise NotEnough(
            f"{self.count} rows of {self._plan.view.name!r} do not fit the share of memory that "
            "training may take.",
            hint="Raise LEPTON_MEMORY_SHARE, or use a machine with more memory.",
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the rows, `size` at a time."""
        yield from self._joined(size)

    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        """One pass through a buffer that mixes rows, in full batches."""
        mixed = {
            "local_shuffle_buffer_size": max(SHUFFLE_ROWS, size),
            "local_shuffle_seed": seed,
        }
        yield from (rows for rows in self._joined(size, **mixed) if length(rows) == size)

    def _joined(self, size: int, **how: Any) -> Iterator[Batch]:
        """Batches of a pass; features are joined to many rows at once, which takes little more."""
        together = size * max(1, SHUFFLE_ROWS // size) if self._plan.beside_rows else size
        tables: Any = self._shard.iter_batches(batch_size=together, batch_format="pyarrow", **how)
        for table in tables:
            features = self._plan.beside(table)
            for start in range(0, table.num_rows, size):  # pictures are decoded a batch at a time
                rows = self._plan.view.unpack(table.slice(start, size))
                yield {**rows, **take(features, slice(start, start + size))}
