"""Train a capability in this process and measure what it exports."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.base.batch import Batch
from cluster.contract.config import Config
from cluster.contract.run import Run
from cluster.contract.task import AnyTask
from cluster.training.data import Plan
from services.cli.show import PlainProgress
from tests.bench.machine import CORES
from tests.bench.report import say


@dataclass(frozen=True)
class Fitted:
    """A trained capability.

    Attributes:
        task: loaded from what was exported.
        seconds: from reading the stored rows to the trained model; the export is not counted.
        metrics: what the export scored on the test part.
    """

    task: AnyTask
    seconds: float
    metrics: dict[str, float]


class TalkingRun(Run):
    """A run of one worker that prints a line every few seconds."""

    def __init__(self, name: str, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self._progress = PlainProgress(name)

    def report(self, **metrics: float) -> None:
        """Print how far it is."""
        self._progress(metrics)

    def say(self, sentence: str) -> None:
        """Print the sentence."""
        say(sentence)


def fitted(task: type[AnyTask], config: Config, plan: Plan, run: Run) -> Fitted:
    """Train on the training part, export, and ask the export about the test part."""
    began = time.perf_counter()
    learner = task(config)
    learner.fit(plan.rows("train"), plan.rows("valid"), run)
    seconds = time.perf_counter() - began
    artefact, metrics = exported(learner, plan.rows("test").whole())
    return Fitted(artefact, seconds, metrics)


def exported(learner: AnyTask, test: Batch) -> tuple[AnyTask, dict[str, float]]:
    """What a trained capability exports, and what that scores on rows it never saw."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as folder:
        learner.save(Path(folder))
        artefact = type(learner).load(Path(folder))
        took = time.perf_counter() - began
        metrics = artefact.evaluate(test).metrics
    say(f"Exported and loaded in {took:.1f} s, not counted.")
    return artefact, metrics


def hold_threads() -> None:
    """Let torch use as many threads as cores are measured with."""
    import torch

    torch.set_num_threads(CORES)
