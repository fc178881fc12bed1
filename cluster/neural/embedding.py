"""Supply what every capability that turns rows into vectors shares: its loss, answers and score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel

from cluster.base.batch import Arrays, Batch, concat
from cluster.contract.config import Between
from cluster.contract.labels import as_numbers
from cluster.contract.retrieval import retrieval
from cluster.contract.task import Objective
from cluster.neural.config import NeuralConfig
from cluster.neural.task import NeuralTask

if TYPE_CHECKING:
    from torch import Tensor, nn


class EmbeddingConfig(NeuralConfig):
    """The knobs that all of them share."""

    method: Literal["supervised", "selfsupervised"] = "supervised"
    dim: Annotated[int, Between(2, 4_096)] = 64
    temperature: Annotated[float, Between(0.01, 2.0, log=True)] = 0.1
    min_batch: Annotated[int, Between(1, 256)] = 64  # a row is contrasted with others of its batch


C = TypeVar("C", bound=EmbeddingConfig)
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the letters of Input and Output
O = TypeVar("O", bound=BaseModel)  # noqa: E741


class EmbeddingTask(NeuralTask[C, I, O], Generic[C, I, O]):
    """A capability whose network gives each row a vector of unit length.

    Rows of one label are drawn together, or, without labels, two variants of one row. A subclass
    varies its rows in `augment`, and has an Output with the field `vector`.
    """

    truth: ClassVar[tuple[str, ...]] = ("label",)
    objective = Objective("max", "recall_at_1")

    def encode_truth(self, batch: Batch) -> Arrays:
        """Labels as numbers `[n]`."""
        return {"label": as_numbers(batch["label"], self.state["labels"])}

    def twice(self, one: Arrays, other: Arrays, truth: Arrays) -> tuple[Arrays, Arrays]:
        """Two variants of `n` rows as one batch `[2n, ...]`, and which of them belong together."""
        alone = {"label": np.arange(len(truth["label"]))}
        groups = truth if self.config.method == "supervised" else alone
        return concat([one, other]), concat([groups, groups])

    def loss(
        self, network: "nn.Module", tensors: "dict[str, Tensor]", truth: "dict[str, Tensor]"
    ) -> "Tensor":
        """How far what belongs together is from each other, next to all else of the batch."""
        from cluster.neural.contrast import contrast  # noqa: PLC0415 - torch

        return contrast(network(**tensors), truth["label"], self.config.temperature)

    def decode(self, outputs: Arrays, batch: Batch) -> list[O]:
        """Vectors as lists."""
        del batch
        return [self.Output(vector=vector) for vector in outputs["output"].tolist()]  # type: ignore[misc]

    def score(self, batch: Batch, outputs: Sequence[O]) -> dict[str, float]:
        """Whether the nearest other rows have the same label."""
        vectors = np.array([output.vector for output in outputs], np.float32)  # type: ignore[attr-defined]
        return retrieval(vectors, batch["label"].tolist())
