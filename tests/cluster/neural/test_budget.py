"""How long a network trains: what fits the rows, what is obeyed, when it ends, what is kept."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from cluster.base.batch import Batch
from cluster.contract.rows import Resident
from cluster.contract.run import Run, Write
from cluster.contract.task import Objective
from cluster.neural.budget import FEWEST_COMPARED, FEWEST_WATCHED, Watched, budget
from cluster.neural.config import NeuralConfig
from cluster.neural.embedding import EmbeddingConfig
from cluster.neural.loop import Loop
from tests import toy

AUTO = NeuralConfig(min_steps=1_000, min_epochs=8)


@pytest.mark.parametrize(
    ("rows", "size", "steps"),
    [(1, 1, 1_000), (5, 5, 1_000), (200, 16, 1_008), (1_000, 32, 1_023), (60_000, 256, 1_872)],
)
def test_batches_and_steps_fit_the_rows(rows: int, size: int, steps: int) -> None:
    fit = budget(AUTO, [rows])
    assert (fit.size, fit.steps) == (size, steps)
    assert fit.steps / fit.steps_per_point <= 51


def test_a_large_set_is_passed_over_at_least_min_epochs_times() -> None:
    fit = budget(AUTO, [1_000_000])
    assert fit.steps == 8 * fit.steps_per_epoch


@pytest.mark.parametrize("rows", [40, 1_000, 60_000])
def test_given_epochs_and_batch_size_are_obeyed(rows: int) -> None:
    fit = budget(AUTO.model_copy(update={"epochs": 3, "batch_size": 20}), [rows])
    assert (fit.size, fit.steps) == (20, 3 * (rows // 20))


def test_a_network_that_compares_rows_sees_more_of_them_at_once() -> None:
    assert budget(EmbeddingConfig(), [300]).size == 64
    assert budget(EmbeddingConfig(), [40]).size == 40


def test_workers_share_a_batch_and_take_as_many_steps() -> None:
    alone, together = budget(AUTO, [1_000]), budget(AUTO, [500, 500])
    assert together.size == alone.size // 2
    assert together.steps == alone.steps


def watched(scores: Sequence[float], *, rows: int, objective: str = "max") -> Watched:
    """Three per cent of the steps apart."""
    state = Watched(Objective("min" if objective == "min" else "max", "x"), rows)
    for number, score in enumerate(scores):
        network = nn.Linear(1, 1)
        nn.init.constant_(network.weight, number)
        state.see(score, 0.03 * (number + 1), network)
    return state


def kept(state: Watched) -> float:
    network = nn.Linear(1, 1)
    nn.init.constant_(network.weight, -1)
    state.settle(network)
    return network.weight.item()


def test_the_best_weights_replace_the_last_where_these_are_worse_beyond_chance() -> None:
    assert kept(watched([0.5, 0.9, 0.6], rows=400)) == 1
    assert kept(watched([0.5, 0.9, 0.89], rows=400)) == -1
    assert kept(watched([0.5, 0.9, 0.6], rows=2)) == -1
    assert kept(watched([2.0, 1.0, 1.5], rows=400, objective="min")) == 1
    for few in (1, 2, 4, FEWEST_COMPARED - 1):  # one row more or less decides nothing
        assert kept(watched([0.0, 1.0, 0.0], rows=few)) == -1
        assert kept(watched([0.0, 1.0, math.nan], rows=few)) == 1
    assert kept(watched([0.0, 1.0, 0.0], rows=FEWEST_COMPARED)) == 1
    assert kept(watched([], rows=0)) == -1
    assert kept(watched([math.nan], rows=400)) == -1
    assert kept(watched([0.5, 0.9, math.nan], rows=400)) == 1
    assert kept(watched([2.0, 1.0, math.inf], rows=400, objective="min")) == 1
    assert kept(watched([0.5, math.nan, 0.9], rows=400)) == -1


def test_only_enough_watched_rows_end_a_training() -> None:
    flat = [0.5] * 30
    config = NeuralConfig(patience=0.4, warmup=0.2)
    assert watched(flat, rows=FEWEST_WATCHED).exhausted(0.61, config)
    assert not watched(flat, rows=FEWEST_WATCHED).exhausted(0.59, config)
    assert not watched(flat, rows=FEWEST_WATCHED - 1).exhausted(0.99, config)
    assert not watched(list(np.arange(30) / 30), rows=FEWEST_WATCHED).exhausted(0.95, config)


class Patient(toy.Config):
    epochs: int | None = None  # type: ignore[assignment]
    min_steps: int = 400
    min_epochs: int = 1
    patience: float = 0.1


class Interrupted(Run):
    """Checkpoints often, and stands for a machine that dies after one of them."""

    def __init__(self, folder: Path, survives: int) -> None:
        super().__init__(checkpoint_s=0.0)
        self.folder, self.left = folder, survives

    def checkpoint(self, write: Write) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        self.resume = self.folder / str(self.left)
        self.resume.mkdir(parents=True)
        write(self.resume)


def drawn(count: int, seed: int) -> Batch:
    return toy.draw(count, np.random.default_rng(seed))


def trained(run: Run) -> tuple[Loop, toy.Side]:
    task = toy.Side(Patient(precision="fp32", ema=0.9))
    train, valid = Resident(drawn(400, 0)), Resident(drawn(300, 1))
    task.state = task.study(train, run)
    loop = Loop(task, task.network(task.state), train, run, watched=valid.count)
    if run.resume:
        loop.restore(run.resume)
    loop.run_steps(valid)
    loop.watched.settle(loop.averaged)
    return loop, task


@pytest.mark.slow
def test_a_training_that_sees_nothing_better_ends_early_at_a_rate_of_zero() -> None:
    loop, task = trained(Run())
    assert loop.cooled is not None
    assert loop.step == loop.end < loop.steps
    assert task.curves[-1]["lr"] == 0
    assert task.curves[-1]["step"] == loop.end


@pytest.mark.slow
@pytest.mark.parametrize("survives", [3, 60, 120])
def test_an_early_end_and_the_best_weights_survive_a_kill(tmp_path: Path, survives: int) -> None:
    whole, task = trained(Run())
    run = Interrupted(tmp_path, survives)
    with pytest.raises(KeyboardInterrupt):
        trained(run)
    again, resumed = trained(Run(resume=run.resume))
    assert (again.end, again.cooled, again.step) == (whole.end, whole.cooled, whole.step)
    assert [c["accuracy"] for c in resumed.curves] == [c["accuracy"] for c in task.curves]
    for one, other in zip(
        whole.averaged.state_dict().values(), again.averaged.state_dict().values(), strict=True
    ):
        assert one.equal(other)


class Second(Run):
    """A worker that watches nothing and is told what the first one saw."""

    def agree(self, value: object) -> object:
        return 0.5 if value is None else value


def test_every_worker_goes_by_what_the_first_one_saw() -> None:
    loop, _ = trained(Second(rank=1))
    assert loop.watched.best == 0.5
    assert loop.cooled is not None
    assert loop.step == loop.end < loop.steps
