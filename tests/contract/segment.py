"""Mark what a picture shows: a picture in, and a mask out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import ALWAYS, Arrays, Batch, Objective, Rows, Run, View, objects
from cluster.media import Mask, Picture, nearest_size
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE, CLASS = 12, 300  # a class that 8 bits do not hold


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Bright boxes on a dark ground, and where they are."""
    pictures, masks = [], []
    for _ in range(n):
        mask = np.zeros((SIDE, SIDE), np.uint16)
        top, left = rng.integers(0, SIDE // 2, 2)
        mask[top : top + 5, left : left + 5] = CLASS
        noise = rng.integers(0, 60, (SIDE, SIDE, 1))
        pictures.append((noise + 150 * (mask[..., None] > 0)).astype(np.uint8))
        masks.append(mask)
    return {
        "scene_id": objects(f"s{row}" for row in range(n)),
        "image": objects(pictures),
        "mask": objects(masks),
        "event_time": np.full(n, ALWAYS),
    }


scenes = View("scenes", ("scene_id",), {"image": Picture(), "mask": Mask()}, draw)


class Input(BaseModel):
    image: Annotated[Any, Picture()]


class Thing(BaseModel):
    label: int
    share: float
    mask: Annotated[Any, Mask()]


class Output(BaseModel):
    mask: Annotated[Any, Mask()]
    things: list[Thing]


class Segment(NeuralTask[NeuralConfig, Input, Output]):
    """Mark what a picture shows."""

    inputs = scenes.only("image")
    examples = scenes
    truth: ClassVar[tuple[str, ...]] = ("mask",)
    objective = Objective("max", "pixels")

    def study(self, train: Rows, run: Run) -> State:
        return {"labels": [0, CLASS]}

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Pixelwise(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.over = nn.Conv2d(1, len(state["labels"]), 1)

            def forward(self, image: "Tensor") -> "Tensor":
                logits: Tensor = self.over(image)
                return logits

        return Pixelwise()

    def encode(self, batch: Batch) -> Arrays:
        grey = nearest_size([image.mean(axis=2) for image in batch["image"]], SIDE, SIDE)
        return {"image": (grey[:, None] / 64).astype(np.float32)}

    def encode_truth(self, batch: Batch) -> Arrays:
        masks = nearest_size(batch["mask"], SIDE, SIDE)
        return {"mask": np.searchsorted(self.state["labels"], masks)}

    def loss(self, network: "nn.Module", tensors: Any, truth: Any) -> Any:
        from torch.nn import functional

        return functional.cross_entropy(network(**tensors), truth["mask"])

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        labels = np.array(self.state["labels"], np.uint16)
        made = []
        for small, image in zip(labels[outputs["output"].argmax(1)], batch["image"], strict=True):
            mask = nearest_size([small], *image.shape[:2])[0]
            things = [
                Thing(label=int(label), share=float((mask == label).mean()), mask=mask == label)
                for label in np.unique(mask[mask > 0])
            ]
            made.append(Output(mask=mask, things=things))
        return made

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [(o.mask == mask).mean() for o, mask in zip(outputs, batch["mask"], strict=True)]
        return {"pixels": float(np.mean(right))}
