"""Lend `fit` what it needs of the world around it, so that it never sees Ray."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Batch
from cluster.features.schema.view import View

Write = Callable[[Path], None]
"""Fills an empty folder with a checkpoint."""
Report = dict[str, float] | str
"""Progress of a run: numbers by name, or a sentence."""
Progress = Callable[[Report], None]
"""Takes each report as it comes."""


@dataclass
class Run:
    """One worker's view of a training run; this one is alone and quiet, for tests and notebooks.

    Args:
        rank: which worker this is, from 0.
        workers: how many train together.
        device: where tensors go: `cpu` or `cuda:0`.
        seed: what makes two runs alike.
        resume: the folder of the last checkpoint, if the run was interrupted.
        checkpoint_s: about how many seconds of work a crash may cost.
        tables: the views that the task reads whole, a row per key, by the view's name; the same on
            every worker, empty ones left out.
        start: the folder of an earlier version that a network goes on from: its weights are loaded,
            and what it had studied is not studied again.
        stopped: whether the training is to end early: who watches it sets this in `report`, and
            all workers end at the next point of the curves, with the best weights so far.
    """

    rank: int = 0
    workers: int = 1
    device: str = "cpu"
    seed: int = 0
    resume: Path | None = None
    checkpoint_s: float = 30.0
    tables: Mapping[str, Batch] = field(default_factory=dict, repr=False)
    start: Path | None = None
    stopped: bool = False

    def table(self, view: View) -> Batch:
        """The newest row of every key of a view: its key, its columns and `event_time`.

        Without rows it has the same columns.
        """
        if view.name in self.tables:
            return self.tables[view.name]
        names = (*view.key, *view.columns, "event_time")
        types = {name: view.schema[name] for name in names}
        return {name: kind.unpack(pa.array([], type=kind.arrow)) for name, kind in types.items()}

    def report(self, **metrics: float) -> None:
        """Say how far the run is: `step`, `steps`, `loss`, `rows_per_s` and whatever counts.

        A subclass that has seen enough, such as a trial of a search, sets `stopped` in here.
        """

    def say(self, sentence: str) -> None:
        """Tell the people who wait for the training something they should know."""

    def checkpoint(self, write: Write) -> None:
        """Keep what the run would resume from. Every worker calls it at the same step."""

    def all_reduce(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum of every worker's array, in the order of ranks, the same on every worker."""
        return array

    def all_gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""
        return [value]

    def gather(self, value: Any) -> list[Any] | None:
        """Every worker's value on rank 0, in the order of ranks; nothing on the others."""
        values = self.all_gather(value)
        return values if self.rank == 0 else None

    def agree(self, value: Any) -> Any:
        """Rank 0's value, on every worker."""
        return self.all_gather(value)[0]
