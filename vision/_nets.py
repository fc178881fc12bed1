"""Networks that look at pictures: a small residual net, LeNet, any backbone."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cluster.neural.backbone import image_classifier

CHANNELS_LAST = torch.channels_last
LARGE, TINY = 48, 16  # pixels of the longer side from which, and below which, the stem differs


class Normalise(nn.Module):
    """uint8 pixels to standardised floats, so that a picture travels as bytes.

    Args:
        mean: of each channel over the training pictures, on the scale 0 to 255.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean).float().view(1, -1, 1, 1))
        self.register_buffer("std", torch.from_numpy(std).float().view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to float32."""
        # channels last: what convolutions on a CPU are fastest with
        return ((image.float() - self.mean) / self.std).contiguous(memory_format=CHANNELS_LAST)


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167)."""

    norm: nn.BatchNorm2d

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        conv, norm = _convolution(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs)
        super().__init__(OrderedDict(conv=conv, norm=norm))


class Residual(nn.Module):
    """relu(x + f(x)) (He et al. 2015, arXiv:1512.03385), at first the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = ConvNorm(width, width)
        nn.init.zeros_(self.branch.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape in and out."""
        return functional.relu(x + self.branch(x))


class SmallResNet(nn.Module):
    """A strided stem, stages that halve and widen, the mean over space, one linear layer.

    The stem has no residual block: on the largest maps it would cost most and teach least.

    Args:
        normalise: its first layer.
        shape: channels, height and width of the pictures. The stem's stride brings large ones to
            maps that cost as little as small ones do.
        classes: numbers it answers with.
        widths: channels after each stage.
        dropout: before the last layer.
    """

    def __init__(
        self,
        normalise: Normalise,
        shape: tuple[int, int, int],
        classes: int,
        widths: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [normalise]
        before, side = shape[0], max(shape[1:])
        stem = (7, 4) if side >= LARGE else (5, 2) if side >= TINY else (3, 1)
        for stage, width in enumerate(widths):
            kernel, step = (3, 2) if stage else stem
            layers += [ConvNorm(before, width, kernel, step), nn.ReLU()]
            layers += [Residual(width)] if stage else []
            before = width
        self.body = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(before, classes)

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to logits `[n, classes]`."""
        return self.head(self.dropout(self.body(image).mean((2, 3))))  # type: ignore[no-any-return]


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling (LeCun et al. 1998, doi:10.1109/5.726791)."""

    def __init__(
        self, normalise: Normalise, shape: tuple[int, int, int], classes: int, dropout: float
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.features = nn.Sequential(
            normalise,
            nn.Conv2d(channels, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(6, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
        )
        flat = 16 * -(-height // 4) * -(-width // 4)
        self.head = nn.Sequential(
            nn.Linear(flat, 120), nn.ReLU(), nn.Dropout(dropout), nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, classes),
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to logits `[n, classes]`."""
        return self.head(self.features(image))  # type: ignore[no-any-return]


class Backbone(nn.Module):
    """Any transformers image classifier by name, behind the same input."""

    def __init__(
        self, normalise: Normalise, name: str, shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.model = image_classifier(name, shape=shape, classes=classes)

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to logits `[n, classes]`."""
        return self.model(pixel_values=self.normalise(image)).logits  # type: ignore[no-any-return]


class Unit(nn.Module):
    """One of these networks, its outputs brought to unit length."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to vectors `[n, dim]`."""
        return functional.normalize(self.network(image), dim=1)


class BesidePixels(nn.Module):
    """A network's unit vector and, beside it, a linear one of small pixels that forgets nothing.

    The network learns alone: the linear part fits the rows it learns from, and would leave it
    nothing to learn.

    Args:
        network: gives vectors of unit length.
        pixels: the matrices `down` and `across` that shrink a picture, then the `mean` and `matrix`
            of `_pixels.discriminants`.
        share: how much of the inner product of two vectors the pixels say.
    """

    down: Tensor
    across: Tensor
    mean: Tensor
    matrix: Tensor

    def __init__(
        self, network: nn.Module, pixels: Mapping[str, NDArray[np.float32]], share: float
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = math.sqrt(1 - share), math.sqrt(share)
        for name, array in pixels.items():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, image: Tensor) -> Tensor:
        """`[n, channels, height, width]` uint8 to vectors of unit length."""
        learnt: Tensor = self.network(image)
        if self.training:
            return learnt
        small = self.down @ image.float() @ self.across.T
        linear = functional.normalize((small.flatten(1) - self.mean) @ self.matrix, dim=1)
        return torch.cat([self.weights[0] * learnt, self.weights[1] * linear], dim=1)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    """Without a bias, which the norm after it has; He initialisation (arXiv:1502.01852)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
