"""Train any NeuralTask: the one torch loop.

A step depends on the weights, the seed and its own number alone: the order of the rows comes from
(seed, epoch), the augmentation and the dropout from (seed, step). So a checkpoint is weights,
optimizer and step, and a run that was killed ends bit-equal to one that was not.
"""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cluster.base.batch import Arrays, shuffle, take, without
from cluster.contract.rows import Rows
from cluster.contract.run import Run
from cluster.contract.task import answered
from cluster.neural.budget import COOLING, Watched, budget
from cluster.neural.config import NeuralConfig
from cluster.neural.encoding import Encoded, Task, encode, resident
from cluster.neural.export import TorchGraphs, load_weights, tensors
from cluster.neural.optimizers import rate
from cluster.neural.parts import Part

REPORT_S = 1.0
WATCH_ROWS = 2_048  # enough to draw a curve; the test set is what measures


def train(task: Task, train: Rows, valid: Rows, run: Run) -> nn.Module:
    """Train the task's network on this worker's rows, together with the other workers.

    Args:
        task: has been given its `state`; its `curves` are filled.
        train: this worker's shard.
        valid: rows to watch; may be empty.
        run: rank, device, where to report and to keep checkpoints.

    Returns:
        The trained network (its moving average if the config has one), in evaluation mode.
    """
    torch.manual_seed(run.seed)
    network = task.network(task.state)
    if run.start:
        load_weights(network, run.start)
    loop = Loop(task, network.to(run.device), train, run, watched=valid.count)
    if run.resume:
        loop.restore(run.resume)
    loop.run_steps(valid)
    loop.watched.settle(loop.averaged)
    return loop.averaged.eval()


class Feed:
    """Encoded batches by step: gathered from memory, or from a stream in passes."""

    def __init__(self, task: Task, rows: Rows, run: Run) -> None:
        self.task, self.rows, self.run = task, rows, run
        self.budget = budget(task.config, run.all_gather(rows.count))
        self.size, self.steps_per_epoch = self.budget.size, self.budget.steps_per_epoch
        self.resident = resident(task, rows) if rows.resident else None

    def batches(self, start: int, end: int) -> Generator[Encoded]:
        """Batches of steps `start` to `end`, each prepared while the one before it trains."""
        source = islice(self._passes(start), end - start)
        with ThreadPoolExecutor(max_workers=1) as ahead:
            waiting = ahead.submit(next, source, None)
            while (ready := waiting.result()) is not None:
                waiting = ahead.submit(next, source, None)
                yield ready

    def _passes(self, step: int) -> Iterator[Encoded]:
        while True:
            epoch, done = divmod(step, self.steps_per_epoch)
            seed = hash((self.run.seed, epoch, self.run.rank)) & 0x7FFFFFFF
            for arrays, truth in islice(self._epoch(seed), done, self.steps_per_epoch):
                rng = np.random.default_rng((self.run.seed, step, self.run.rank))
                yield self.task.augment(arrays, truth, rng)
                step += 1

    def _epoch(self, seed: int) -> Iterator[Encoded]:
        if self.resident is None:
            for batch in self.rows.shuffled(self.size, seed=seed):
                yield encode(self.task, batch)
            return
        order = shuffle(self.rows.count, seed=seed)
        for start in range(0, len(order) - self.size + 1, self.size):
            yield self.resident(order[start : start + self.size])


class Loop:
    """The state of one training and its steps."""

    def __init__(
        self, task: Task, network: nn.Module, rows: Rows, run: Run, *, watched: int = 0
    ) -> None:
        self.task, self.run, self.network = task, run, network
        self.config: NeuralConfig = task.config
        self.feed = Feed(task, rows, run)
        self.steps = self.end = self.feed.budget.steps  # planned, and where it ends if early
        self.cooled: int | None = None  # the step from which an early end brings the rate down
        self.step = 0
        self.watched = Watched(task.objective, min(watched, WATCH_ROWS))
        self.loss = torch.zeros((), device=run.device)  # summed since the last point of the curves
        self.precision = self.config.precision
        self.averaged = deepcopy(network) if self.config.ema else network
        self.parts = [Part(turn, network, self.config, run.workers) for turn in task.turns(network)]

    def run_steps(self, valid: Rows) -> None:
        """Train to the end, reporting about once a second and keeping checkpoints on the way."""
        clock = Clock(self.run, self.step)
        with closing(self.feed.batches(self.step, self.steps)) as batches:
            while self.step < self.end:
                arrays, truth = next(batches)
                if self.precision == "auto":
                    self.choose_precision(arrays, truth)
                self.loss += self.advance(arrays, truth)
                at_point = self.at_point()
                if clock.report_due() or at_point:
                    steps_per_s = clock.steps_per_s(self.step)
                    point = self.point(valid)
                    self.run.report(
                        steps=self.end,
                        rows_per_s=steps_per_s * self.feed.size * self.run.workers,
                        eta_s=(self.end - self.step) / steps_per_s,
                        **point,
                    )
                    if at_point and self.run.agree(self.run.stopped):
                        self.end = self.step
                if clock.checkpoint_due(self.step) and self.step < self.end:
                    self.run.checkpoint(self.save)

    def at_point(self) -> bool:
        """Whether this step ends with a point of the curves."""
        return self.step % self.feed.budget.steps_per_point == 0 or self.step == self.end

    def point(self, valid: Rows) -> dict[str, float]:
        """Where the training stands; now and then also a point of the curves."""
        summed = (self.step - 1) % self.feed.budget.steps_per_point + 1
        epoch = (self.step - 1) // self.feed.steps_per_epoch + 1
        loss = self.loss.item() / summed
        point = {"step": self.step, "epoch": epoch, "loss": loss, "lr": self.lr()}
        if self.at_point():
            point |= self.watch(valid)
            self.task.curves.append(point)
            self.loss.zero_()
            self.judge(point)
        return point

    def judge(self, point: Mapping[str, float]) -> None:
        """Keep the best weights; stop early once the validation score no longer improves."""
        score = self.run.agree(point.get(self.watched.metric))
        self.watched.see(score, self.step / self.steps, self.averaged)
        if self.config.epochs is not None or self.cooled is not None or self.step == self.steps:
            return
        if self.watched.exhausted(self.step / self.steps, self.config):
            self.cooled = self.step
            self.end = min(self.steps, self.step + max(1, round(COOLING * self.step)))

    def advance(self, arrays: Arrays, truth: Arrays) -> Tensor:
        """Take one optimizer step per turn. Returns the sum of their losses, detached."""
        self.network.train()
        reseed(
            (self.run.seed << 32) + self.step * self.run.workers + self.run.rank, self.run.device
        )
        inputs, targets, lr = self.tensors(arrays), self.tensors(truth), self.lr()
        losses = [
            part.move(inputs, targets, lr=lr, casting=self.casting(self.precision))
            for part in self.parts
        ]
        self.step += 1
        if self.config.ema:
            average(self.averaged, self.network, min(self.config.ema, self.step / (self.step + 10)))
        return torch.stack(losses).sum()

    def watch(self, valid: Rows) -> dict[str, float]:
        """Score the network as it stands on rows it does not learn from."""
        rows = next(iter(valid.batches(WATCH_ROWS)), None)
        if rows is None or self.run.rank:
            return {}
        asked, network = self.task.asked(rows), self.averaged.eval()
        ask = TorchGraphs(self.task.graphs(network), self.run.device)
        answers, kept = answered(self.task.answer(ask, without(asked, self.task.truth)))
        return self.task.score(take(asked, kept), answers) if kept else {}

    def lr(self) -> float:
        """The learning rate of this step."""
        if self.cooled is None:
            return rate(self.config, self.step / self.steps)
        left = (self.end - self.step) / (self.end - self.cooled)
        return left * rate(self.config, self.cooled / self.steps)

    def tensors(self, arrays: Arrays) -> dict[str, Tensor]:
        """Arrays on the device of this run."""
        return tensors(arrays, self.run.device)

    def casting(self, precision: str) -> AbstractContextManager[Any]:
        """The context in which the forward pass runs."""
        if precision == "bf16":
            return torch.autocast(torch.device(self.run.device).type, dtype=torch.bfloat16)
        return nullcontext()

    def choose_precision(self, arrays: Arrays, truth: Arrays) -> None:
        """Settle `auto` by timing both on copies; rank 0 decides, and the checkpoint remembers."""
        times = {name: self._time(name, arrays, truth) for name in ("fp32", "bf16")}
        self.precision = self.run.agree(min(times, key=lambda name: times[name]))
        self.run.checkpoint(self.save)

    def _time(self, precision: str, arrays: Arrays, truth: Arrays) -> float:
        network = deepcopy(self.network).train()
        times = []
        for _ in range(4):
            began = time.perf_counter()
            for turn in self.task.turns(network):
                with self.casting(precision):
                    loss = turn.loss(network, self.tensors(arrays), self.tensors(truth))
                loss.backward()  # type: ignore[no-untyped-call]
                loss.item()  # waits for a GPU to finish
            times.append(time.perf_counter() - began)
        return min(times[1:])

    def save(self, folder: Path) -> None:
        """Write what `restore` needs."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizers": [part.optimizer.state_dict() for part in self.parts],
            "loss": self.loss,
            "best": self.watched.weights,
        }
        torch.save(state, folder / "training.pt")
        place = {
            "step": self.step,
            "end": self.end,
            "cooled": self.cooled,
            "watched": self.watched.state(),
            "precision": self.precision,
            "curves": self.task.curves,
        }
        (folder / "place.json").write_text(json.dumps(place))

    def restore(self, folder: Path) -> None:
        """Go on from where `save` was called."""
        state = torch.load(folder / "training.pt", map_location=self.run.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        for part, kept in zip(self.parts, state["optimizers"], strict=True):
            part.optimizer.load_state_dict(kept)
        place = json.loads((folder / "place.json").read_bytes())
        self.loss = state["loss"]
        self.step, self.precision = place["step"], place["precision"]
        self.end, self.cooled = place["end"], place["cooled"]
        self.watched.restore(place["watched"], state["best"])
        self.task.curves = place["curves"]


class Clock:
    """Says when to report and when to keep a checkpoint."""

    def __init__(self, run: Run, step: int) -> None:
        self.run = run
        self.began = self.reported = time.monotonic()
        self.first = step
        self.every: int | None = None

    def report_due(self) -> bool:
        """Whether about a second has passed since it was last due."""
        if (now := time.monotonic()) - self.reported < REPORT_S:
            return False
        self.reported = now
        return True

    def steps_per_s(self, step: int) -> float:
        """How fast it went so far."""
        return (step - self.first) / max(1e-9, time.monotonic() - self.began)

    def checkpoint_due(self, step: int) -> bool:
        """Whether this step ends with a checkpoint; workers must agree, so it is counted in steps.

        Rank 0 measures the first twenty steps and says how many make `checkpoint_s` seconds.
        """
        if step - self.first == 20:
            steps = max(1, round(self.run.checkpoint_s * self.steps_per_s(step)))
            self.every = self.run.agree(steps)
        return self.every is not None and (step - self.first) % self.every == 0


def reseed(seed: int, device: str) -> None:
    """Seed torch's generators; `torch.manual_seed` would also queue it for absent GPUs."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network; counters are copied."""
    for mean, now in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)
