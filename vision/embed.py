"""Turn a picture into a vector: pictures that are alike have vectors that are near."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from cluster.contract import (
    Arrays,
    Batch,
    Between,
    ByKey,
    Reference,
    Rows,
    Run,
    Serving,
    as_numbers,
    labels_of,
)
from cluster.features.views.images import images, labelled_images
from cluster.media import Picture, Pixels
from cluster.neural import State
from cluster.neural.embedding import EmbeddingConfig, EmbeddingTask
from vision import _pixels
from vision._images import erase, mirror, same_size, shift, tone, warp, zoom
from vision._study import ROWS, look, measure, picture_state, say_weights, warp_for

if TYPE_CHECKING:
    from torch import nn

    from cluster.neural.foreign import ForeignGraph

ONE_LABEL = "Where labels say nothing, learn without them: method=selfsupervised"
OWN: Mapping[str, Mapping[str, Any]] = {
    "supervised": {},
    "selfsupervised": {"min_epochs": 6, "zoom": 0.3, "tone": 0.4, "temperature": 0.2},
}
"""What knobs are for a method where they are not given."""


class Config(EmbeddingConfig):
    """How it learns (`supervised` by labels, `selfsupervised` without), and the network.

    The network is `resnet`, `lenet`, or a transformers image model by name. Pictures are varied as
    in `vision.classify`, and by `zoom` and `tone`: without labels, they say what does not matter.
    """

    network: str = "resnet"
    widths: tuple[int, ...] = (32, 64, 128)
    max_side: Annotated[int, Between(8, 1_024)] = 64
    crop: Annotated[int, Between(0, 32)] = 1
    warp: Annotated[float | None, Between(0.0, 0.5)] = None
    flip: bool = False
    erase: Annotated[float, Between(0.0, 1.0)] = 0.0
    zoom: Annotated[float, Between(0.05, 1.0)] = 1.0
    tone: Annotated[float, Between(0.0, 0.9)] = 0.0
    linear: Annotated[float | None, Between(0.0, 0.9)] = None
    min_epochs: Annotated[int, Between(1, 1_000)] = 4
    min_steps: Annotated[int, Between(1, 1_000_000)] = 900
    optimizer: Literal["adamw", "sgd", "muon"] = "muon"
    lr: Annotated[float, Between(1e-5, 10.0, log=True)] = 0.024
    weight_decay: Annotated[float, Between(0.0, 1.0)] = 0.05
    ema: Annotated[float, Between(0.0, 0.9999)] = 0.99

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**OWN.get(given.get("method", "supervised"), {}), **given}


class Input(BaseModel):
    """A picture."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[Pixels, Picture()]


class Output(BaseModel):
    """A vector of unit length: the inner product of two says how alike the pictures are."""

    vector: list[float]


class Embed(EmbeddingTask[Config, Input, Output]):
    """Turn a picture into a vector: pictures that are alike have vectors that are near."""

    inputs = images
    examples = labelled_images
    split = ByKey(valid=0.02, test=0.15)
    serving = Serving(max_batch=32)
    reference_rows = _pixels.ROWS

    def study(self, train: Rows, run: Run) -> State:
        """Labels, the size and channels that pictures are brought to, and their mean and spread."""
        self.state = look(train, run, max_side=self.config.max_side)
        if self.config.method == "supervised":
            labels_of(self.state["labels"], hint=ONE_LABEL)
        encoded = (self.encode(batch)["image"] for batch in train.batches(ROWS))
        state = self.state | measure(encoded, self.state["channels"], run)
        state["warp"] = warp_for(state["rows"]) if self.config.warp is None else self.config.warp
        state |= self._linear(train, state, run)
        if self.config.network not in {"resnet", "lenet"}:
            say_weights(self.config.network, run)
        return state

    @classmethod
    def import_state(cls, graph: "ForeignGraph", labels: Sequence[str]) -> State:
        """The size and channels that the graph takes; its vectors are brought to unit length."""
        del labels
        graph.unit = True
        return picture_state(graph)

    def network(self, state: State) -> "nn.Module":
        """The network that the config names, its output brought to unit length."""
        from vision import _nets as nets  # noqa: PLC0415 - torch

        c, normalise = self.config, nets.Normalise(state["mean"], state["std"])
        shape = (state["channels"], state["height"], state["width"])
        dim = c.dim - state["matrix"].shape[1] if state["linear"] else c.dim
        match c.network:
            case "resnet":
                net: nn.Module = nets.SmallResNet(normalise, shape, dim, c.widths, c.dropout)
            case "lenet":
                net = nets.LeNet(normalise, shape, dim, c.dropout)
            case name:
                net = nets.Backbone(normalise, name, shape, dim)
        if not state["linear"]:
            return nets.Unit(net)
        pixels = {
            "down": _pixels.shrinking(state["height"]),
            "across": _pixels.shrinking(state["width"]),
            "mean": state["pixel_mean"],
            "matrix": state["matrix"],
        }
        return nets.BesidePixels(nets.Unit(net), pixels, state["linear"])

    def encode(self, batch: Batch) -> Arrays:
        """Pictures as uint8 `[n, channels, height, width]`."""
        size = (self.state["height"], self.state["width"], self.state["channels"])
        return {"image": same_size(batch["image"], *size)}

    def augment(
        self, arrays: Arrays, truth: Arrays, rng: np.random.Generator
    ) -> tuple[Arrays, Arrays]:
        """Two views of each picture `[2n, ...]`; without labels, these two belong together."""
        one, other = ({"image": self._varied(arrays["image"], rng)} for _ in range(2))
        return self.twice(one, other, truth)

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        """The cosine of raw pixels."""
        return _pixels.neighbour_reference(train, test)

    def _linear(self, train: Rows, state: State, run: Run) -> State:
        share = self.config.linear
        share = _pixels.share_for(state["rows"]) if share is None else share
        dim = min(self.config.dim - 1, round(share * self.config.dim))
        if not dim:
            return {"linear": 0.0}
        parts = (
            (self.encode(batch)["image"], as_numbers(batch["label"], state["labels"]))
            for batch in train.batches(ROWS)
        )
        labels = len(state["labels"]) if self.config.method == "supervised" else 0
        mean, matrix = _pixels.discriminants(parts, labels, dim, run)
        return {"linear": share, "pixel_mean": mean, "matrix": matrix}

    def _varied(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        if self.state.get("warp"):
            pixels = warp(pixels, self.state["warp"], rng)
        if self.config.zoom < 1:
            pixels = zoom(pixels, self.config.zoom, rng)
        if self.config.crop:
            pixels = shift(pixels, self.config.crop, rng)
        if self.config.flip:
            pixels = mirror(pixels, rng)
        if self.config.erase:
            pixels = erase(pixels, self.config.erase, rng)
        if self.config.tone:
            pixels = tone(pixels, self.config.tone, rng)
        return pixels
