"""Bring pictures to one size, and vary them for training."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from cluster.media.picture import Pixels


def same_size(pictures: Iterable[Pixels], height: int, width: int, channels: int) -> Pixels:
    """Pictures of any sizes as one array `[n, channels, height, width]`.

    Grey becomes colour by repetition, colour grey by luminance; other sizes are resampled, which
    smooths before it shrinks.
    """
    fitted = [fit(picture, height, width, channels) for picture in pictures]
    return np.ascontiguousarray(np.stack(fitted).transpose(0, 3, 1, 2))


def fit(picture: Pixels, height: int, width: int, channels: int) -> Pixels:
    """One picture at the size and with the channels asked for."""
    if picture.shape == (height, width, channels):
        return picture
    grey = picture.shape[2] == 1
    image = Image.fromarray(picture[..., 0] if grey else picture)
    if grey != (channels == 1):
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def shift(images: Pixels, most: int, rng: np.random.Generator) -> Pixels:
    """Move each picture by up to `most` pixels either way, black coming in (He et al. 2015)."""
    count, channels, height, width = images.shape
    padded = np.zeros((count, channels, height + 2 * most, width + 2 * most), images.dtype)
    padded[:, :, most : most + height, most : most + width] = images
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    down, right = rng.integers(0, 2 * most + 1, (2, count))
    return windows[np.arange(count), :, down, right]


def mirror(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirror about half of the pictures from left to right."""
    turned = rng.random(len(images)) < 0.5
    images = images.copy()
    images[turned] = images[turned, :, :, ::-1]
    return images


def erase(images: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """Black out a box in a share of the pictures (Zhong et al. 2017, arXiv:1708.04896)."""
    count, _, height, width = images.shape
    chosen = np.flatnonzero(rng.random(count) < share)
    tall, wide = np.maximum(1, rng.uniform(0.15, 0.5, (2, count))[:, chosen] * [[height], [width]])
    top, left = rng.random((2, count))[:, chosen] * [height - tall, width - wide]
    rows, columns = np.arange(height), np.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    box = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    images = images.copy()
    images[chosen] *= ~box
    return images


def zoom(images: Pixels, least: float, rng: np.random.Generator) -> Pixels:
    """Make a box of each picture, of at least that share of its area, as large as the picture.

    The random resized crop of Szegedy et al. 2014 (arXiv:1409.4842): proportions from 3:4 to 4:3.
    """
    count, _, height, width = images.shape
    area, tilt = rng.uniform(least, 1, count), np.exp(rng.uniform(-0.288, 0.288, count))
    tall, wide = np.minimum(1, np.sqrt(area / tilt)), np.minimum(1, np.sqrt(area * tilt))
    top, left = rng.random((2, count)) * [1 - tall, 1 - wide]
    down, across = _sampled(top, tall, height), _sampled(left, wide, width)
    moved = down[:, None] @ images.astype(np.float32) @ across[:, None].transpose(0, 1, 3, 2)
    return _pixels(moved)


def warp(images: Pixels, most: float, rng: np.random.Generator) -> Pixels:
    """Turn, stretch and slant each picture a little, its edge repeated where nothing was.

    The random affine maps of Simard et al. 2003 (doi:10.1109/ICDAR.2003.1227801), drawn evenly.

    Args:
        images: `[n, channels, height, width]`.
        most: by what share of its side a point on the edge moves at most, about.
        rng: decides.
    """
    import torch  # noqa: PLC0415 - replicas import no torch
    from torch.nn import functional  # noqa: PLC0415

    count, _, height, width = images.shape
    square = np.array([[1, height / width], [width / height, 1]])  # turns stay turns
    maps = np.zeros((count, 2, 3), np.float32)
    maps[:, :, :2] = np.eye(2) + rng.uniform(-most, most, (count, 2, 2)) * square
    maps[:, :, 2] = rng.uniform(-most, most, (count, 2))
    grid = functional.affine_grid(torch.from_numpy(maps), list(images.shape), align_corners=False)
    moved = functional.grid_sample(
        torch.from_numpy(images).float(), grid, padding_mode="border", align_corners=False
    )
    return _pixels(moved.numpy())


def _sampled(start: Any, length: Any, size: int) -> NDArray[np.float32]:
    """For each picture a matrix `[size, size]` that stretches part of an axis over all of it."""
    place = (np.arange(size) + 0.5) * length[:, None] + (start * size)[:, None]
    centre = np.clip(place - 0.5, 0, size - 1)
    weights: NDArray[np.float32] = (1 - np.abs(centre[:, :, None] - np.arange(size))).clip(0)
    return weights.astype(np.float32)


def tone(images: Pixels, most: float, rng: np.random.Generator) -> Pixels:
    """Make each picture lighter or darker, and its contrast more or less, by up to that share."""
    lighter, more = 1 + rng.uniform(-most, most, (2, len(images), 1, 1, 1)).astype(np.float32)
    pixels = images * lighter
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    return _pixels((pixels - mean) * more + mean)


def _pixels(values: NDArray[Any]) -> Pixels:
    rounded: Pixels = np.rint(values).clip(0, 255).astype(np.uint8)
    return rounded
