"""Ask models about the rows that their views lack on all nodes of a Ray cluster, with Ray Data."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

from cluster.base.batch import Batch
from cluster.features.backfill import Backfill, RowSlice
from cluster.features.derived.modelview import Models

FEW = 2  # pieces that are not worth an actor, which takes seconds to start


def spread(work: Backfill, models: Models) -> Iterator[Batch]:
    """Asks about every piece, several at a time; Ray must be connected.

    Each actor opens the model once and reads the rows itself, so only results come here.
    """
    pieces = list(work.pieces())
    if len(pieces) <= FEW:
        yield from (work.made(piece, models) for piece in pieces)
        return
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    numbers = ray.data.from_items([{"piece": number} for number in range(len(pieces))])
    made = numbers.repartition(min(len(pieces), 4 * cpus)).map_batches(
        Asker,
        fn_constructor_args=(work, ray.put(pieces), models),
        batch_size=1,
        batch_format="numpy",
        concurrency=(1, max(1, min(cpus, len(pieces) // FEW))),
        num_cpus=1,
    )
    for table in made.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield work.view.rows_of.unpack(table)


class Asker:
    """An actor that has opened the model."""

    def __init__(self, work: Backfill, pieces: Any, models: Models) -> None:
        self.work = work
        self.pieces: list[RowSlice] = ray.get(pieces)
        self.models = models

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        """What the model says of one piece."""
        rows = self.work.made(self.pieces[int(np.ravel(batch["piece"])[0])], self.models)
        table = self.work.view.rows_of.pack(rows)
        return table.drop_columns(["split"])
