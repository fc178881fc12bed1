"""What trains and serves any torch network: the loop, optimizers, export, backbones."""

from cluster.neural.config import NeuralConfig
from cluster.neural.task import NeuralTask, State

__all__ = ["NeuralConfig", "NeuralTask", "State"]
