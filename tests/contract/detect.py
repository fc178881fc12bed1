"""Find squares in a picture: any number of boxes a row, as truth and as answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field

from cluster.contract import ALWAYS, Arrays, Batch, Column, Objective, View, objects
from cluster.features.schema.column import Faults
from cluster.media import Picture
from cluster.neural import NeuralConfig, NeuralTask, State
from vision._images import same_size

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE, CELL = 32, 8
BOX = pa.struct([(name, pa.float64()) for name in ("x", "y", "size")])


@dataclass(frozen=True)
class Boxes(Column):
    """The boxes of a picture: a list of dicts in pixels."""

    arrow = pa.list_(BOX)
    dtype = object

    def admit(self, values: Any) -> tuple[Any, Faults]:
        return objects(values), {}

    def unpack(self, values: Any) -> Any:
        return objects(values.to_pylist())


def draw(n: int, rng: np.random.Generator) -> Batch:
    """White squares in cells of a black picture, some of which have none."""
    pictures, boxes = [], []
    for row in range(n):
        picture = np.zeros((SIDE, SIDE, 1), np.uint8)
        cells = rng.choice((SIDE // CELL) ** 2, row % 4, replace=False)
        corners = [(int(c % 4) * CELL, int(c // 4) * CELL) for c in cells]
        for x, y in corners:
            picture[y : y + CELL, x : x + CELL] = rng.integers(200, 256)
        pictures.append(picture)
        boxes.append([{"x": float(x), "y": float(y), "size": float(CELL)} for x, y in corners])
    return {
        "picture_id": objects(f"d{row}" for row in range(n)),
        "image": objects(pictures),
        "boxes": objects(boxes),
        "event_time": np.full(n, ALWAYS),
    }


boxed = View("boxed", ("picture_id",), {"image": Picture(), "boxes": Boxes()}, draw)


class Input(BaseModel):
    image: Annotated[Any, Picture()]
    threshold: float = Field(0.5, ge=0, le=1)


class Box(BaseModel):
    x: float
    y: float
    size: float
    score: float


class Output(BaseModel):
    boxes: list[Box]


class Detect(NeuralTask[NeuralConfig, Input, Output]):
    """Find the squares of a picture."""

    inputs = boxed.only("image")
    examples = boxed
    truth: ClassVar[tuple[str, ...]] = ("boxes",)
    objective = Objective("max", "accuracy")

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cells = nn.Conv2d(1, 1, CELL, stride=CELL)

            def forward(self, image: Any) -> Any:
                return self.cells(image / 255.0).flatten(1)  # [n, cells]

        return Net()

    def encode(self, batch: Batch) -> Arrays:
        return {"image": same_size(batch["image"], SIDE, SIDE, 1)}

    def encode_truth(self, batch: Batch) -> Arrays:
        most = max(1, *map(len, batch["boxes"]))
        cells = np.full((len(batch["boxes"]), most), -1)  # as many as the picture with most boxes
        for row, boxes in enumerate(batch["boxes"]):
            cells[row, : len(boxes)] = [int(b["y"] // CELL * 4 + b["x"] // CELL) for b in boxes]
        return {"cells": cells}

    def loss(self, network: Any, tensors: "dict[str, Tensor]", truth: Any) -> "Tensor":
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits as entropy

        logits = network(**tensors)
        places = torch.arange(logits.shape[1]).to(logits.device)
        return entropy(logits, (truth["cells"][:, :, None] == places).any(1).float())

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        chances, answers = 1 / (1 + np.exp(-outputs["output"])), []
        for row, picture, least in zip(chances, batch["image"], batch["threshold"], strict=True):
            size = CELL * picture.shape[1] / SIDE
            cells = np.flatnonzero(row >= least).tolist()
            places = [(cell % 4 * size, cell // 4 * size, row[cell]) for cell in cells]
            answers.append(Output(boxes=[Box(x=x, y=y, size=size, score=s) for x, y, s in places]))
        return answers

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        said = [{(box.x, box.y) for box in output.boxes} for output in outputs]
        true = [{(box["x"], box["y"]) for box in boxes} for boxes in batch["boxes"]]
        return {"accuracy": float(np.mean(list(map(set.__eq__, said, true))))}
