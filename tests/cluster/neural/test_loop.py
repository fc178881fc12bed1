"""The torch loop: what it learns, how it resumes, what it exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, chunks, take
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run, Write
from tests.toy import Config, Side, draw


class Killed(Exception):
    """Stands for SIGKILL: the run ends right after its n-th checkpoint."""


class Interrupted(Run):
    """A run whose checkpoints come every few steps, and that dies after one of them."""

    def __init__(self, folder: Path, *, survives: int) -> None:
        super().__init__(checkpoint_s=0.0)
        self.folder, self.left = folder, survives

    def checkpoint(self, write: Write) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed
        self.resume = self.folder / str(self.left)
        self.resume.mkdir(parents=True)
        write(self.resume)


def rows(count: int = 1_000) -> Batch:
    return draw(count, np.random.default_rng(0))


def fitted(config: Config, run: Run) -> Side:
    task = Side(config)
    task.fit(Resident(rows()), Resident(rows(100)), run)
    return task


def weights(task: Side) -> list[np.ndarray]:
    assert task._trained is not None
    return [tensor.numpy() for tensor in task._trained.state_dict().values()]


FP32 = Config(precision="fp32", ema=0.9, clip_norm=1.0, l1=1e-5)


@pytest.mark.slow
def test_the_toy_learns_and_its_export_answers(tmp_path: Path) -> None:
    task = fitted(FP32, Run())
    task.save(tmp_path)
    reloaded = Side.load(tmp_path)
    held_out = draw(400, np.random.default_rng(1))
    assert reloaded.evaluate(held_out).metrics["accuracy"] > 0.95
    assert [c["epoch"] for c in reloaded.curves] == [1, 2, 3]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, same, other = (fitted(FP32, Run(seed=seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(same), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.parametrize("survives", [1, 2, 5])
@pytest.mark.slow
def test_an_interrupted_run_ends_bit_equal(tmp_path: Path, survives: int) -> None:
    whole = fitted(FP32, Run())
    run = Interrupted(tmp_path, survives=survives)
    with pytest.raises(Killed):
        fitted(FP32, run)
    resumed = Side(FP32)
    resumed.fit(Resident(rows()), Resident(rows(100)), Run(resume=run.resume))
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert [c["loss"] for c in resumed.curves][-1] == pytest.approx(whole.curves[-1]["loss"])


def test_auto_precision_is_decided_once_and_remembered(tmp_path: Path) -> None:
    from cluster.neural.loop import Loop

    task = Side(Config(precision="auto"))
    run = Interrupted(tmp_path, survives=1)
    with pytest.raises(Killed):
        task.fit(Resident(rows()), Resident(rows(10)), run)
    again = Loop(task, task.network(task.state), Resident(rows()), run)
    assert run.resume is not None
    again.restore(run.resume)
    assert again.precision in {"fp32", "bf16"}


@pytest.mark.slow
def test_a_batch_of_five_answers_as_five_batches_of_one(tmp_path: Path) -> None:
    task: Any = fitted(FP32, Run())
    task.save(tmp_path)
    five = take(task.complete(rows(5)), slice(None))
    together = task.predict(five)
    alone = [task.predict(part)[0] for part in chunks(five, 1)]
    assert [o.label for o in together] == [o.label for o in alone]
    assert [o.probability for o in together] == pytest.approx([o.probability for o in alone])


class Choosy(Side):
    """The toy, were it to refuse points to the left, in training's curves and in answers."""

    def decode(self, outputs: Any, batch: Batch) -> Any:
        told = super().decode(outputs, batch)
        return [
            InvalidInput("too far left") if x < 0 else one
            for x, one in zip(batch["x"], told, strict=True)
        ]


def test_a_network_that_refuses_rows_is_watched_by_those_that_it_answers() -> None:
    task = Choosy(Config(precision="fp32", epochs=1))
    task.fit(Resident(rows()), Resident(rows(100)), Run())
    assert 0 < task.curves[-1]["accuracy"] <= 1


def test_a_run_that_has_seen_enough_ends_at_the_next_point_and_is_whole(tmp_path: Path) -> None:
    class Enough(Run):
        def report(self, **metrics: float) -> None:
            self.stopped = metrics["epoch"] >= 2

    task = fitted(Config(precision="fp32", epochs=9), Enough())
    assert [point["epoch"] for point in task.curves] == [1, 2]
    task.save(tmp_path)
    assert Side.load(tmp_path).evaluate(rows(50)).rows == 50


def test_a_network_goes_on_from_an_earlier_version(tmp_path: Path) -> None:
    first = fitted(Config(precision="fp32", epochs=3), Run())
    first.save(tmp_path)
    still = Config(precision="fp32", epochs=1, lr=1e-5)
    on, anew = fitted(still, Run(start=tmp_path)), fitted(still, Run())
    assert on.curves[-1]["accuracy"] >= first.curves[-1]["accuracy"] - 0.03
    assert on.curves[-1]["loss"] < anew.curves[-1]["loss"]


class Wider(Side):
    """The toy, with another network."""

    def network(self, state: Any) -> Any:
        from torch import nn

        return nn.Linear(2, 3)


def test_a_version_of_another_network_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    fitted(Config(precision="fp32", epochs=1), Run()).save(tmp_path)
    with pytest.raises(
        InvalidInput, match=r"The weights in .* do not fit this network: .*Train with"
    ):
        Wider(Config(precision="fp32", epochs=1)).fit(
            Resident(rows()), Resident(rows(10)), Run(start=tmp_path)
        )
