"""The smallest capability that is whole: say on which side of a line a point lies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import Arrays, Batch, Number, Objective, Rows, Run, Text, View, objects
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import nn


class Config(NeuralConfig):
    epochs: int = 3
    batch_size: int = 32
    lr: float = 0.05
    dropout: float = 0.1


class Input(BaseModel):
    x: float
    y: float
    margin: float = 0.0


class Output(BaseModel):
    label: str
    probability: float


def draw(count: int, rng: np.random.Generator) -> Batch:
    """Points in the square, labelled by the line x > y."""
    x, y = rng.uniform(-1, 1, (2, count))
    return {
        "point_id": objects(f"p{number}" for number in range(count)),
        "x": x,
        "y": y,
        "label": objects("above" if a > b else "below" for a, b in zip(x, y, strict=True)),
        "event_time": np.zeros(count, dtype="datetime64[us]"),
        "split": objects([""] * count),
    }


labelled_points = View(
    name="points",
    key=("point_id",),
    columns={"x": Number(), "y": Number(), "label": Text()},
    sample=draw,
)


class Side(NeuralTask[Config, Input, Output]):
    """Say on which side of a line a point lies."""

    inputs = labelled_points.only("x", "y")
    examples = labelled_points
    truth: ClassVar[tuple[str, ...]] = ("label",)
    objective = Objective("max", "accuracy")

    def study(self, train: Rows, run: Run) -> State:
        seen = {label for batch in train.batches(64) for label in batch["label"]}
        return {"labels": sorted(set().union(*run.all_gather(seen)))}

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Line(nn.Module):
            def __init__(self, dropout: float) -> None:
                super().__init__()
                self.stack = nn.Sequential(
                    nn.Linear(2, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2)
                )

            def forward(self, point: "nn.Module") -> "nn.Module":
                return self.stack(point)  # type: ignore[no-any-return]

        return Line(self.config.dropout)

    def encode(self, batch: Batch) -> Arrays:
        return {"point": np.stack([batch["x"], batch["y"]], axis=1).astype(np.float32)}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"label": np.searchsorted(self.state["labels"], batch["label"].astype(str))}

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        logits = outputs["output"]
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        best = chances.argmax(1)
        return [
            Output(label=self.state["labels"][b], probability=float(c[b]))
            for b, c in zip(best, chances, strict=True)
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.label == label for o, label in zip(outputs, batch["label"], strict=True)]
        return {"accuracy": float(np.mean(right))}
