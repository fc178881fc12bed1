"""Draw a sketch of a label: two networks that move in turns, one of which is exported."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from cluster.contract import (
    ALWAYS,
    Arrays,
    Batch,
    Objective,
    Rows,
    Run,
    Text,
    Vector,
    View,
    as_numbers,
    objects,
)
from cluster.neural import NeuralConfig, NeuralTask, State, Turn

if TYPE_CHECKING:
    from torch import nn

NOISE, SIDE = 4, 4


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Pictures of four by four pixels: the upper half bright, or the lower."""
    pixels = rng.uniform(0, 0.2, (n, SIDE, SIDE)).astype(np.float32)
    pixels[::2, :2] += 0.8
    pixels[1::2, 2:] += 0.8
    return {
        "sketch_id": objects(f"k{row}" for row in range(n)),
        "label": objects(("up", "down")[row % 2] for row in range(n)),
        "pixels": pixels.reshape(n, -1),
        "event_time": np.full(n, ALWAYS),
    }


sketches = View(
    "sketches",
    ("sketch_id",),
    {"label": Text(), "pixels": Vector(SIDE**2)},
    draw,
    named_by="pixels",  # rows of one label are no copies of each other
)


class Input(BaseModel):
    label: str
    seed: int = Field(0, ge=0)


class Output(BaseModel):
    pixels: list[float]


class Sketch(NeuralTask[NeuralConfig, Input, Output]):
    """Draw a sketch of a label."""

    inputs = sketches.only("label")
    examples = sketches
    truth: ClassVar[tuple[str, ...]] = ("pixels",)
    objective = Objective("min", "distance")

    def study(self, train: Rows, run: Run) -> State:
        seen = {label for batch in train.batches(256) for label in batch["label"]}
        return {"labels": sorted(set().union(*run.all_gather(seen)))}

    def network(self, state: State) -> "nn.Module":
        import torch
        from torch import nn
        from torch.nn.functional import one_hot

        kinds = len(state["labels"])

        class Generator(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.pixels = nn.Linear(NOISE + kinds, SIDE**2)

            def forward(self, noise: Any, label: Any) -> Any:
                return self.pixels(torch.cat([noise, one_hot(label, kinds)], 1)).sigmoid()

        class Critic(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.real = nn.Linear(SIDE**2, kinds)

            def forward(self, pixels: Any, label: Any) -> Any:
                return self.real(pixels).gather(1, label[:, None])

        return nn.ModuleDict({"generator": Generator(), "critic": Critic()})

    def encode(self, batch: Batch) -> Arrays:
        noise = [np.random.default_rng(seed).normal(size=NOISE) for seed in batch["seed"]]
        label = as_numbers(batch["label"], self.state["labels"])
        return {"noise": np.array(noise, np.float32), "label": label}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"pixels": batch["pixels"]}

    def turns(self, network: Any) -> list[Turn]:
        return [Turn(network["critic"], self.judge), Turn(network["generator"], self.fool)]

    def judge(self, network: Any, tensors: Any, truth: Any) -> Any:
        drawn = network["critic"](network["generator"](**tensors), tensors["label"])
        real = network["critic"](truth["pixels"], tensors["label"])
        return (real.neg().exp().log1p() + drawn.exp().log1p()).mean()  # softplus of each

    def fool(self, network: Any, tensors: Any, truth: Any) -> Any:
        drawn = network["critic"](network["generator"](**tensors), tensors["label"])
        return drawn.neg().exp().log1p().mean()

    def graphs(self, network: Any) -> "Mapping[str, nn.Module]":
        return {"model": network["generator"]}

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        return [Output(pixels=pixels) for pixels in outputs["output"].tolist()]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        distances = [p - o.pixels for o, p in zip(outputs, batch["pixels"], strict=True)]
        return {"distance": float(np.abs(distances).mean())}
