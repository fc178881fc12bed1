"""Move weights down the gradient: AdamW, SGD, Muon, and the rate of each step."""

import math
from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from cluster.neural.config import NeuralConfig

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # brings singular values near one in few steps
NEWTON_STEPS = 5
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def make_optimizer(network: nn.Module, config: NeuralConfig) -> Optimizer:
    """The optimizer that the config names; norms and biases are not decayed."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay}
    groups = [decayed, {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    if config.optimizer == "muon":
        return Muon(groups, inner_weights(network), lr=config.lr, momentum=config.momentum)
    return AdamW(groups, lr=config.lr, betas=(config.momentum, 0.99))


def inner_weights(network: nn.Module) -> set[Tensor]:
    """The weights of convolutions and of all linear layers but the last declared: it answers."""
    layers = [layer for layer in network.modules() if isinstance(layer, LAYERS)]
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return {layer.weight for layer in layers if layer not in linear[-1:]}


def rate(config: NeuralConfig, done: float) -> float:
    """The learning rate after a share of the steps: up in a line, then down in a line or a cosine.

    OneCycle is Smith 2018 (arXiv:1803.09820), the cosine Loshchilov and Hutter 2017
    (arXiv:1608.03983).
    """
    if config.schedule == "constant":
        return config.lr
    if done < config.warmup:
        return config.lr * (0.04 + 0.96 * done / config.warmup)
    left = max(0.0, (1 - done) / (1 - config.warmup))
    if config.schedule == "cosine":
        left = 0.5 - 0.5 * math.cos(math.pi * left)
    return config.lr * left


class Muon(AdamW):
    """Momentum whose singular values are made alike, for weights within; AdamW for all others.

    Jordan et al. 2024 (kellerjordan.github.io/posts/muon). Its steps are as large as AdamW's, so
    that one rate and one decay fit both (Liu et al. 2025, arXiv:2502.16982, equation 4). torch's
    own refuses convolutions, and computes in bf16, for which many CPUs have no instructions.

    Args:
        groups: of parameters, as for any optimizer.
        inner: those among them that are not left to AdamW; each is taken as a matrix whose rows
            are outputs.
        lr: of both.
        momentum: of both.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        inner: Set[Tensor],
        *,
        lr: float,
        momentum: float,
    ) -> None:
        super().__init__(groups, lr=lr, betas=(momentum, 0.99))
        self._inner = inner

    def step(self) -> None:  # type: ignore[override]
        """Move the weights within, and let AdamW see the gradients of the others alone."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight in self._inner and weight.grad is not None:
                    self._move(weight, weight.grad, group)
                    weight.grad = None
        super().step()

    @torch.no_grad()
    def _move(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum, state = group["betas"][0], self.state[weight]
        if not state:
            state["speed"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # Adam looks for it when a state is loaded
        speed = state["speed"].mul_(momentum).add_(gradient)
        ahead = gradient.add(speed, alpha=momentum).flatten(1)  # Nesterov's
        size = 0.2 * max(ahead.shape) ** 0.5  # the root mean square of AdamW's steps is 0.2
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonal(ahead).view_as(weight), alpha=-group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix whose singular values are all one, by five Newton-Schulz steps."""
    a, b, c = POLYNOMIAL
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    # each step multiplies x by a polynomial in x @ x.T, whose own steps need no wide matrix
    square = x @ x.T
    product = torch.eye(len(square), dtype=x.dtype, device=x.device)
    for _ in range(NEWTON_STEPS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product
        square = factor @ square @ factor
    x = product @ x
    return x.T if tall else x
