"""A capability that refuses some rows and, where told so, breaks on others: for what that costs."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import Batch, Config, InvalidInput, LeptonError, Objective, Rows, Run, Task
from tests.toy import Output, labelled_points

BREAKS_AT = 7.0
REFUSED_AT = 9.0


class Knobs(Config):
    broken: bool = False


class Input(BaseModel):
    x: float
    y: float


class Picky(Task[Knobs, Input, Output]):
    """Say on which side of a line a point lies that is not far to the left."""

    inputs = labelled_points.only("x", "y")
    examples = labelled_points
    truth: ClassVar[tuple[str, ...]] = ("label",)
    objective = Objective("max", "accuracy")

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """There is nothing to learn."""

    def predict(self, batch: Batch) -> Sequence[Output | LeptonError]:
        x, y = batch["x"], batch["y"]
        if self.config.broken or BREAKS_AT in x:
            raise ZeroDivisionError("x is the number that breaks it")
        if REFUSED_AT in x:
            raise InvalidInput(f"x is {REFUSED_AT}.", pointer="/x")
        return [
            InvalidInput(f"x is {a}, which is far to the left.", hint="Go right.", pointer="/x")
            if a < -0.5
            else Output(label="above" if a > b else "below", probability=1.0)
            for a, b in zip(x.tolist(), y.tolist(), strict=True)
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.label == label for o, label in zip(outputs, batch["label"], strict=True)]
        return {"accuracy": float(np.mean(right))}
