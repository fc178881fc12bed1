"""Fit a training to its data: batch size, number of steps, early stop, best weights."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cluster.contract.task import Objective
from cluster.neural.config import NeuralConfig

LARGEST = 256  # rows of a batch if the config does not say
POINTS = 50  # of a training curve at most: few rows make many short epochs
FEWEST_WATCHED = 200  # with fewer validation rows, a score is too coarse to stop early by
FEWEST_COMPARED = 20  # with fewer, one row decides which of two scores is better
COOLING = 0.2  # share of the steps done, over which the rate falls to zero after an early stop


@dataclass(frozen=True)
class Budget:
    """How a training goes over its rows.

    Attributes:
        size: rows of one step on each worker.
        steps_per_epoch: full batches in one pass over the smallest shard.
        steps: how many there are at most.
        steps_per_point: how often the network is watched.
    """

    size: int
    steps_per_epoch: int
    steps: int
    steps_per_point: int


def budget(config: NeuralConfig, counts: Sequence[int]) -> Budget:
    """Batches and steps that fit the rows.

    A batch is about the square root of the rows, so that steps and passes both grow as it does: a
    thousand rows are seen more often than a million, and no set is seen in a handful of steps.

    Args:
        config: `epochs` and `batch_size` are obeyed where they are given.
        counts: rows of each worker's shard.
    """
    fewest, rows = min(counts), max(1, sum(counts))
    root = 2 ** round(math.log2(rows) / 2)
    batch = config.batch_size or min(LARGEST, max(config.min_batch, root))
    size = max(1, min(batch // len(counts), fewest))
    per_epoch = max(1, fewest // size)
    epochs = config.epochs or max(config.min_epochs, -(-config.min_steps // per_epoch))
    return Budget(size, per_epoch, per_epoch * epochs, per_epoch * -(-epochs // POINTS))


class Watched:
    """Early stopping: the best validation score so far, and the weights that reached it.

    The best weights replace the last ones only if these are worse by more than chance explains: a
    share of `n` rows has a standard error of at most `0.5 / sqrt(n)`.

    Args:
        objective: which way is better.
        rows: how many validation rows there are.
    """

    def __init__(self, objective: Objective, rows: int) -> None:
        self.sign = 1.0 if objective.direction == "max" else -1.0
        self.metric, self.rows = objective.metric, rows
        self.best = self.last = -math.inf  # in the direction of better
        self.when = 0.0  # the best was seen, as a share of the steps
        self.weights: dict[str, Tensor] = {}

    def see(self, score: float | None, done: float, network: nn.Module) -> None:
        """Take in what the network scored after a share of the steps.

        None says that nothing was watched; a score that is not finite is worse than any other.
        """
        if score is None:
            return
        self.last = self.sign * score if math.isfinite(score) else -math.inf
        if self.last > self.best:
            self.best, self.when = self.last, done
            self.weights = {name: t.clone() for name, t in network.state_dict().items()}

    def exhausted(self, done: float, config: NeuralConfig) -> bool:
        """Whether the score has not improved for a share `patience` of the steps.

        It is never so with fewer than `FEWEST_WATCHED` rows. Steps of the warm-up do not count: few
        networks have begun to learn by then.
        """
        if self.rows < FEWEST_WATCHED or not self.weights:
            return False
        return done - max(self.when, config.warmup) >= config.patience

    def settle(self, network: nn.Module) -> None:
        """Load the best weights if the last score is worse by more than chance explains.

        With fewer than `FEWEST_COMPARED` rows chance explains any, but for one that is not finite.
        """
        noise = abs(self.best) * 0.5 / math.sqrt(max(1, self.rows))
        if self.rows < FEWEST_COMPARED:
            noise = sys.float_info.max
        if self.weights and self.best - self.last > noise:
            network.load_state_dict(self.weights)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, beside the weights."""
        return {"best": self.best, "last": self.last, "when": self.when} if self.weights else {}

    def restore(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        if state:
            self.best, self.last, self.when = state["best"], state["last"], state["when"]
        self.weights = weights
