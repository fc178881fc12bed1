"""Describe pictures by raw pixels, as the simple models do that networks are compared with."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cluster.contract import Batch, Reference, Run, classification_scores
from cluster.contract.retrieval import retrieval
from cluster.learning.linear import svm_answers
from vision._images import same_size

SIDE = 16
ROWS = 5_000  # from which a linear model learns within seconds
SHRINK = 0.3  # of the mean variance of a pixel, added to the variance within labels


def raw_pixels(train: Batch, *others: Batch) -> list[NDArray[np.float32]]:
    """Pictures as 16 x 16 pixels less their mean over `train`, `[n, 256 or 768]` of unit length."""
    channels = max(picture.shape[2] for picture in train["image"])
    mean: Any = 0.0
    vectors = []
    for batch in (train, *others):
        small = same_size(batch["image"], SIDE, SIDE, channels)
        pixels = small.reshape(len(small), -1).astype(np.float32)
        mean = pixels.mean(axis=0) if batch is train else mean
        pixels -= mean
        length = np.linalg.norm(pixels, axis=1, keepdims=True)
        vectors.append(pixels / np.maximum(length, 1e-6))
    return vectors


def linear_reference(train: Batch, test: Batch) -> Reference:
    """How well a linear SVM names the labels of `test`."""
    seen, asked = raw_pixels(train, test)
    answers = svm_answers(seen, train["label"].tolist(), asked)
    return Reference(
        f"a linear SVM on {SIDE} x {SIDE} raw pixels",
        classification_scores(test["label"].tolist(), answers),
    )


def neighbour_reference(train: Batch, test: Batch) -> Reference:
    """How well the cosine of raw pixels finds neighbours of the same label within `test`."""
    _, asked = raw_pixels(train, test)
    return Reference(
        f"the cosine of {SIDE} x {SIDE} raw pixels", retrieval(asked, test["label"].tolist())
    )


def shrinking(size: int) -> NDArray[np.float32]:
    """The matrix `[SIDE, size]` that brings one axis of a picture to `SIDE` pixels."""
    one = Image.fromarray(np.eye(size, dtype=np.float32))
    return np.asarray(one.resize((size, SIDE), Image.Resampling.BILINEAR)).copy()


def discriminants(
    parts: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]], labels: int, dim: int, run: Run
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit the linear discriminants of small pixels; where no labels count, their main components.

    They are the principal components after whitening by the covariance within labels, which is
    shrunk towards that of equal, unrelated pixels (Friedman 1989, doi:10.2307/2289860).

    Args:
        parts: encoded pictures `[n, channels, height, width]`, the numbers of their labels `[n]`.
        labels: how many there are; 0 where they do not count.
        dim: the most dimensions to return.
        run: the workers agree through it.

    Returns:
        The mean `[pixels]` to subtract, and a matrix `[pixels, at most dim]` to multiply by.
    """
    sums: Any = 0.0
    for images, numbers in parts:
        down, across = (shrinking(size) for size in images.shape[2:])
        small = (down @ images.astype(np.float32) @ across.T).reshape(len(images), -1)
        rows = np.insert(small.astype(np.float64), 0, 1, axis=1)  # so that sums count, too
        groups = np.zeros((labels, rows.shape[1]))
        if labels:
            np.add.at(groups, numbers, rows)
        sums = sums + np.vstack([groups, rows.T @ rows])
    sums = run.all_reduce(sums)
    groups, gram = sums[:labels], sums[labels:]
    count, mean = gram[0, 0], gram[0, 1:] / gram[0, 0]
    total = gram[1:, 1:] / count - np.outer(mean, mean)
    centred = groups[:, 1:] - groups[:, :1] * mean
    between = centred.T @ (centred / np.maximum(groups[:, :1], 1)) / count
    size = len(mean)
    within = total - between if labels else np.zeros_like(total)
    shrunk = within + SHRINK * max(1.0, np.trace(total) / size) * np.eye(size)
    values, vectors = np.linalg.eigh(shrunk)
    whiten = vectors / np.sqrt(values)
    _, main = np.linalg.eigh(whiten.T @ total @ whiten)
    matrix = whiten @ main[:, ::-1][:, :dim]
    return mean.astype(np.float32), np.ascontiguousarray(matrix, np.float32)


def share_for(rows: int) -> float:
    """How much of a vector is linear where the config does not say: a half of 300, 5% of 30,000."""
    return 0.5 * min(1.0, math.sqrt(300 / max(1, rows)))
