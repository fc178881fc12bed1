"""Describe pictures by raw pixels, as the simple models do that networks are compared with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.batch import Batch
from cluster.labels import classification_scores
from cluster.linear import svm_answers
from cluster.retrieval import retrieval
from cluster.task import Reference
from vision._images import same_size

SIDE = 16
ROWS = 5_000  # from which a linear model learns within seconds


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
