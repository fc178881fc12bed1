"""Optimize each part of a network by its own loss, with gradients averaged over workers."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cluster.neural import NeuralConfig, Turn
from cluster.neural.optimizers import make_optimizer


class Part:
    """The part of a network that one turn trains, with its loss and its optimizer.

    Args:
        turn: of a task, whose losses take the network, the tensors and the truth.
        network: the whole network; a loss may call other parts of it.
        config: learning rate, decay and clipping of the optimizer.
        workers: how many train together; their gradients are averaged.
    """

    def __init__(self, turn: Turn, network: nn.Module, config: NeuralConfig, workers: int) -> None:
        self.config, self.part = config, turn.part
        self.weights = [weight for weight in turn.part.parameters() if weight.requires_grad]
        self.optimizer = make_optimizer(turn.part, config)
        self.loss: nn.Module = _Loss(turn, network)
        if workers > 1:
            self.loss = DistributedDataParallel(self.loss)

    def move(
        self,
        tensors: dict[str, Tensor],
        truth: dict[str, Tensor],
        *,
        lr: float,
        casting: AbstractContextManager[Any],
    ) -> Tensor:
        """Forward, backward, clip, update. Returns the loss, detached."""
        with casting:
            loss: Tensor = self.loss(tensors, truth)
        if self.config.l1:
            loss = loss + self.config.l1 * sum(p.abs().sum() for p in self.part.parameters())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.weights)  # type: ignore[no-untyped-call]
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.weights, self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return loss.detach()


class _Loss(nn.Module):
    """The loss of a turn as a module that owns the weights of its part alone.

    DistributedDataParallel wraps this and not the network: a loss may then call the network, or
    parts of it, several times, and only the gradients of the turn's own part are reduced.
    """

    def __init__(self, turn: Turn, network: nn.Module) -> None:
        super().__init__()
        self.part = turn.part
        self._of = partial(turn.loss, network)

    def forward(self, tensors: dict[str, Tensor], truth: dict[str, Tensor]) -> Any:
        return self._of(tensors, truth)
