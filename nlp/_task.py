"""Share what the capabilities that read texts have in common: a linear model or a network."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from cluster.contract import Arrays, Batch, LeptonError, Rows, Run
from cluster.neural import Ask, NeuralTask, State
from nlp._reading import ROWS, Reader, ReadingConfig, as_network

R = TypeVar("R", bound=ReadingConfig)
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the letters of Input and Output
O = TypeVar("O", bound=BaseModel)  # noqa: E741


class ReadingTask(NeuralTask[R, I, O], Generic[R, I, O]):
    """A capability that answers texts by arrays of a linear model, or by a network.

    A subclass fits the first in `fit_linear` and answers with it in `linear_outputs`; for the
    second it has `study` and `network`, as every NeuralTask. `decode` reads the outputs of both.
    """

    varying: ClassVar[Mapping[str, tuple[int, ...]]] = {"ids": (1,)}

    @abstractmethod
    def fit_linear(self, train: Rows, run: Run) -> State | None:
        """The state of a linear model, or None where the rows or the config want a network."""

    @abstractmethod
    def linear_outputs(self, texts: Sequence[str]) -> NDArray[Any]:
        """What the linear model of the state makes of texts `[n, outputs]`."""

    @property
    def is_linear(self) -> bool:
        """Whether the state is that of a linear model."""
        return "weights" in self.state

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """Fit a linear model, or train the network that the config names."""
        if state := self.fit_linear(train, run):
            self.state = state
            return
        self.config = as_network(self.config)
        super().fit(train, valid, run)

    def seen_labels(self, train: Rows, run: Run) -> list[str]:
        """The labels in the rows of all workers, sorted."""
        seen = {label for batch in train.batches(ROWS) for label in batch["label"]}
        return sorted(set().union(*run.all_gather(seen)))

    def encode(self, batch: Batch) -> Arrays:
        """Ids `[n, length]` int32, zeros after them."""
        return {"ids": self.reader.encode(batch["text"].tolist())}

    def lengths(self, arrays: Arrays) -> Arrays:
        """Ids per row: none of them is zero."""
        return {
            name: np.count_nonzero(ids, axis=1) for name, ids in arrays.items() if name == "ids"
        }

    def answer(self, ask: Ask, batch: Batch) -> Sequence[O | LeptonError]:
        """Answer each text by the linear model or the network."""
        if not self.is_linear:
            return super().answer(ask, batch)
        return self.decode({"output": self.linear_outputs(batch["text"].tolist())}, batch)

    def save(self, folder: Path) -> None:
        """Write config, state, and where there is one, the network."""
        if self.is_linear:
            self.save_state(folder)
        else:
            super().save(folder)

    @cached_property
    def reader(self) -> Reader:
        """Turns texts into the ids that the network reads."""
        return Reader(self.config, self.state)
