"""Say what a picture shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cluster.contract import (
    Arrays,
    Batch,
    Between,
    ByKey,
    Objective,
    Reference,
    Rows,
    Run,
    Serving,
    as_numbers,
    classification_scores,
    confusion,
    guesses,
    labels_of,
)
from cluster.features.views.images import images, labelled_images
from cluster.media import Picture, Pixels
from cluster.neural import NeuralConfig, NeuralTask, State
from vision import _pixels
from vision._images import erase, mirror, same_size, shift, warp
from vision._study import ROWS, look, measure, picture_state, say_weights, warp_for

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cluster.neural.foreign import ForeignGraph


class Config(NeuralConfig):
    """The network (`resnet`, `lenet`, or a transformers image model by name) and how it learns.

    Pictures are varied while it learns: moved by up to `crop` pixels, bent by up to a share `warp`
    of their side (left out, the fewer rows the more), and, where their mirror image shows the same
    thing, mirrored (`flip`; it would teach that left is right, and b is d). With `balance=1` it
    learns as if all labels were equally common: rare ones are answered more often.
    """

    network: str = "resnet"
    widths: tuple[int, ...] = (32, 64, 128)
    max_side: Annotated[int, Between(8, 1_024)] = 64
    crop: Annotated[int, Between(0, 32)] = 1
    warp: Annotated[float | None, Between(0.0, 0.5)] = None
    flip: bool = False
    erase: Annotated[float, Between(0.0, 1.0)] = 0.0
    balance: Annotated[float, Between(0.0, 1.0)] = 0.0
    min_epochs: Annotated[int, Between(1, 1_000)] = 7
    min_steps: Annotated[int, Between(1, 1_000_000)] = 1_600
    optimizer: Literal["adamw", "sgd", "muon"] = "muon"
    lr: Annotated[float, Between(1e-5, 10.0, log=True)] = 0.024
    weight_decay: Annotated[float, Between(0.0, 1.0)] = 0.05
    label_smoothing: Annotated[float, Between(0.0, 0.5)] = 0.1
    ema: Annotated[float, Between(0.0, 0.9999)] = 0.99


class Input(BaseModel):
    """A picture."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[Pixels, Picture()]
    top_k: int = Field(5, ge=1, le=1_000, description="How many labels to name.")


class Guess(BaseModel):
    """A label and how likely it is."""

    label: str
    probability: float


class Output(BaseModel):
    """The likeliest label, and the `top_k` likeliest with their probabilities."""

    label: str
    probability: float
    top: list[Guess]


class Classify(NeuralTask[Config, Input, Output]):
    """Say what a picture shows."""

    inputs = images
    examples = labelled_images
    truth: ClassVar[tuple[str, ...]] = ("label",)
    split = ByKey(valid=0.02, test=0.15)
    objective = Objective("max", "accuracy")
    serving = Serving(max_batch=32)
    reference_rows = _pixels.ROWS

    def study(self, train: Rows, run: Run) -> State:
        """Labels, the size and channels that pictures are brought to, and their mean and spread."""
        self.state = look(train, run, max_side=self.config.max_side)
        labels_of(self.state["labels"])
        if self.config.balance:
            self.state["counts"] = self._counted(train, run)
        encoded = (self.encode(batch)["image"] for batch in train.batches(ROWS))
        state = self.state | measure(encoded, self.state["channels"], run)
        state["warp"] = warp_for(state["rows"]) if self.config.warp is None else self.config.warp
        if self.config.network not in {"resnet", "lenet"}:
            say_weights(self.config.network, run)
        return state

    def _counted(self, train: Rows, run: Run) -> NDArray[np.int64]:
        """Rows of each label, of all workers."""
        counts = np.zeros(len(self.state["labels"]), np.int64)
        for batch in train.batches(ROWS):
            counts += np.bincount(self.encode_truth(batch)["label"], minlength=len(counts))
        return run.all_reduce(counts)

    @classmethod
    def import_state(cls, graph: "ForeignGraph", labels: Sequence[str]) -> State:
        """Labels, and the size and channels that the graph takes."""
        labels_of(labels, hint="Name its outputs: import vision.classify model.onnx labels.json")
        return {"labels": list(labels), **picture_state(graph)}

    def network(self, state: State) -> "nn.Module":
        """The network that the config names."""
        from vision import _nets as nets  # noqa: PLC0415 - torch

        normalise = nets.Normalise(state["mean"], state["std"])
        shape = (state["channels"], state["height"], state["width"])
        classes, dropout = len(state["labels"]), self.config.dropout
        match self.config.network:
            case "resnet":
                return nets.SmallResNet(normalise, shape, classes, self.config.widths, dropout)
            case "lenet":
                return nets.LeNet(normalise, shape, classes, dropout)
            case name:
                return nets.Backbone(normalise, name, shape, classes)

    def encode(self, batch: Batch) -> Arrays:
        """Pictures as uint8 `[n, channels, height, width]`."""
        size = (self.state["height"], self.state["width"], self.state["channels"])
        return {"image": same_size(batch["image"], *size)}

    def encode_truth(self, batch: Batch) -> Arrays:
        """Labels as numbers `[n]`."""
        return {"label": as_numbers(batch["label"], self.state["labels"])}

    def augment(
        self, arrays: Arrays, truth: Arrays, rng: np.random.Generator
    ) -> tuple[Arrays, Arrays]:
        """Warp, shift, mirror, erase."""
        pixels = arrays["image"]
        if self.state.get("warp"):
            pixels = warp(pixels, self.state["warp"], rng)
        if self.config.crop:
            pixels = shift(pixels, self.config.crop, rng)
        if self.config.flip:
            pixels = mirror(pixels, rng)
        if self.config.erase:
            pixels = erase(pixels, self.config.erase, rng)
        return {"image": pixels}, truth

    def loss(
        self, network: "nn.Module", tensors: "dict[str, Tensor]", truth: "dict[str, Tensor]"
    ) -> "Tensor":
        """The cross-entropy, with logits adjusted by how common labels are where `balance` says.

        Menon et al. 2021, "Long-tail learning via logit adjustment" (arxiv.org/abs/2007.07314).
        """
        if not self.config.balance:
            return super().loss(network, tensors, truth)
        from torch import nn  # noqa: PLC0415 - replicas import no torch

        class Adjusted(nn.Module):
            def forward(self, image: "Tensor") -> "Tensor":
                logits: Tensor = network(image=image)
                return logits + logits.new_tensor(shift)

        counts = self.state["counts"]
        shift = self.config.balance * np.log(counts / counts.sum())
        return super().loss(Adjusted(), tensors, truth)

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        """Logits as the likeliest labels."""
        return [
            Output(
                label=top[0][0],
                probability=top[0][1],
                top=[Guess(label=label, probability=chance) for label, chance in top],
            )
            for top in guesses(outputs["output"], self.state["labels"], batch["top_k"])
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        """Accuracy, and F1 averaged over labels."""
        return classification_scores(list(batch["label"]), [output.label for output in outputs])

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        """A linear SVM on raw pixels."""
        return _pixels.linear_reference(train, test)

    def details(self, batch: Batch, outputs: Sequence[Any]) -> str:
        """The confusion matrix."""
        return confusion(list(batch["label"]), [output.label for output in outputs])
