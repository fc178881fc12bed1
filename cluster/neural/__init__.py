"""What trains and serves any torch network: the loop, optimizers, export, backbones."""

from cluster.neural.config import NeuralConfig
from cluster.neural.graphs import Ask
from cluster.neural.task import NeuralTask, State, Turn

__all__ = ["Ask", "NeuralConfig", "NeuralTask", "State", "Turn"]
