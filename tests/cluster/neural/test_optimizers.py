"""Every optimizer learns as its paper says, and goes on from a checkpoint as if never left."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cluster.neural.config import NeuralConfig
from cluster.neural.optimizers import inner_weights, make_optimizer, orthogonal, rate

OPTIMIZERS = ("adamw", "sgd", "muon")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 36, 16), nn.ReLU(), nn.Linear(16, 2),
    )  # fmt: skip


def task(seed: int) -> tuple[Tensor, Tensor]:
    """Pictures that are bright on the left or on the right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 64)
    pictures = rng.normal(size=(64, 1, 8, 8)).astype(np.float32)
    pictures[labels == 1, :, :, 4:] += 1
    return torch.from_numpy(pictures), torch.from_numpy(labels)


def advance(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> float:
    loss = torch.zeros(())
    for step in steps:
        pictures, labels = task(step)
        loss = nn.functional.cross_entropy(net(pictures), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_learns_to_tell_left_from_right(name: Any) -> None:
    net = network()
    optimizer = make_optimizer(net, NeuralConfig(optimizer=name, lr=0.02))
    assert advance(net, optimizer, range(60)) < 0.1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_goes_on_from_its_state_bit_for_bit(name: Any) -> None:
    config = NeuralConfig(optimizer=name, lr=0.02)
    whole, first, second = network(), network(), network()
    advance(whole, make_optimizer(whole, config), range(8))
    stopped = make_optimizer(first, config)
    advance(first, stopped, range(5))
    second.load_state_dict(first.state_dict())
    resumed = make_optimizer(second, config)
    resumed.load_state_dict(stopped.state_dict())
    advance(second, resumed, range(5, 8))
    for ours, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_muon_takes_convolutions_and_linear_layers_but_not_the_one_that_answers() -> None:
    net = network()
    assert inner_weights(net) == {net.get_parameter("0.weight"), net.get_parameter("4.weight")}


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 32), (1, 25)])
def test_singular_values_are_made_alike_and_directions_kept(shape: tuple[int, int]) -> None:
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    left, values, right = torch.linalg.svd(orthogonal(matrix), full_matrices=False)
    assert values.min() > 0.6
    assert values.max() < 1.3
    nearest = torch.linalg.svd(matrix, full_matrices=False)
    likeness = (orthogonal(matrix) * (nearest[0] @ nearest[2])).sum() / min(shape)
    assert likeness > 0.65
    assert left.shape[1] == right.shape[0]


def test_a_muon_step_is_as_large_as_one_of_adamw() -> None:
    net = network()
    weight = net.get_parameter("4.weight")
    before = weight.detach().clone()
    optimizer = make_optimizer(net, NeuralConfig(optimizer="muon", lr=0.01, weight_decay=0.0))
    advance(net, optimizer, range(1))
    moved = (weight - before).square().mean().sqrt().item() / 0.01
    assert 0.15 < moved < 0.25


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(schedule: Any) -> None:
    config = NeuralConfig(schedule=schedule, lr=0.1, warmup=0.2)
    rates = [rate(config, step / 100) for step in range(101)]
    assert max(rates) == rates[20] == pytest.approx(0.1)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rate(NeuralConfig(schedule="constant", lr=0.1), 0.7) == 0.1
