"""Parts of a network move in turns: each by its own loss alone, and a killed run goes on so."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.neural import NeuralConfig, Turn
from cluster.neural.loop import Loop
from cluster.neural.parts import Part
from tests.cluster.neural.test_loop import Interrupted, Killed
from tests.contract.sketch import Sketch, draw


def test_a_turn_moves_its_part_and_leaves_no_gradient_in_the_others() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    turn = Turn(
        network[1], lambda whole, asked, truth: (whole(asked["x"]) - truth["y"]).square().mean()
    )
    part = Part(turn, network, NeuralConfig(clip_norm=1.0, l1=1e-3), workers=1)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    shown = {"x": torch.ones(3, 2)}, {"y": torch.ones(3, 1)}
    part.move(*shown, lr=0.1, casting=torch.autocast("cpu", enabled=False))
    after = network.state_dict()
    assert all(weight.grad is None for weight in network[0].parameters())
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["1.weight"], after["1.weight"])


def fitted(run: Run) -> Sketch:
    task = Sketch(NeuralConfig(epochs=9, batch_size=16, precision="fp32", lr=0.02))
    rows = Resident(draw(64, np.random.default_rng(0)))
    task.fit(rows, rows, run)
    return task


def weights(task: Sketch) -> list[np.ndarray]:
    assert task._trained is not None
    return [tensor.numpy() for tensor in task._trained.state_dict().values()]


def test_each_part_has_its_optimizer_and_an_interrupted_run_ends_bit_equal(tmp_path: Path) -> None:
    whole, run = fitted(Run()), Interrupted(tmp_path, survives=1)
    with pytest.raises(Killed):
        fitted(run)
    resumed = fitted(Run(resume=run.resume))
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_precision_is_chosen_by_the_losses_of_all_turns() -> None:
    task = Sketch(NeuralConfig(epochs=1, batch_size=16))
    rows = Resident(dict(task.complete(draw(64, np.random.default_rng(0)))))
    task.state = task.study(rows, Run())
    loop = Loop(task, task.network(task.state), rows, Run())
    loop.choose_precision(*next(loop.feed.batches(0, 1)))
    assert loop.precision in {"fp32", "bf16"}
