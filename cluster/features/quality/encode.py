"""Turn rows into plain features that a linear model can read: n-grams, gradients, numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import sparse

from cluster.base.batch import Batch
from cluster.features.schema.column import Column, Number, Text, Texts, Vector, Whole
from cluster.media.picture import Picture

TERMS = 30_000
"""How many n-grams of each kind are read at most."""
SIDE, CELLS, TURNS = 32, 8, 8
COMPONENTS, MEASURED = 500, 500
FAR = 5.0
"""Numbers are cut at so many deviations from their median."""


def encode(columns: Mapping[str, Column], rows: Batch) -> Any:
    """All columns as one sparse matrix `[n, features]`; None where none of them can be read.

    Args:
        columns: those to read, with their types.
        rows: as they are in memory.
    """
    parts = [one for name, kind in columns.items() for one in _of(kind, rows[name])]
    return sparse.hstack(parts, format="csr").astype(np.float32) if parts else None


def _of(kind: Column, values: NDArray[Any]) -> list[Any]:
    match kind:
        case Text():
            return _grams(values.tolist())
        case Texts():
            return _grams([" ".join(words) for words in values])
        case Picture():
            return [_kernel(np.stack([gradients(picture) for picture in values]))]
        case Number() | Whole():
            return [
                sparse.csr_matrix(deviations(values.astype(np.float64)).clip(-FAR, FAR)[:, None])
            ]
        case Vector():
            return [sparse.csr_matrix(values)]
    return []


def _grams(texts: list[str]) -> list[Any]:
    """TF-IDF of words and pairs of words, and of pieces of words, which all languages have."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - takes a second

    found = []
    for analyzer, lengths in (("word", (1, 2)), ("char_wb", (2, 4))):
        counter = TfidfVectorizer(
            analyzer=analyzer,
            ngram_range=lengths,
            sublinear_tf=True,
            max_features=TERMS,
            dtype=np.float32,
        )
        try:
            found.append(counter.fit_transform(texts))
        except ValueError:  # no text has any such n-gram
            continue
    return found


def gradients(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Histograms of oriented gradients (Dalal and Triggs 2005), and coarse light and colour.

    Args:
        picture: `[height, width, 1 or 3]`.

    Returns:
        `[features]`, as many for pictures of all sizes.
    """
    colour = np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    resized = Pillow.fromarray(colour).resize((SIDE, SIDE), Pillow.Resampling.BOX)
    small = np.asarray(resized, dtype=np.float32) / 255
    down, right = np.gradient(small.mean(axis=2))
    turn = ((np.arctan2(down, right) / np.pi + 1) / 2 * TURNS).astype(int) % TURNS
    cell = np.arange(SIDE) // (SIDE // CELLS)
    place = (cell[:, None] * CELLS + cell[None, :]) * TURNS + turn
    strength = np.bincount(place.ravel(), np.hypot(down, right).ravel(), CELLS * CELLS * TURNS)
    cells = strength.reshape(CELLS, CELLS, TURNS)
    blocks = np.concatenate([cells[:-1, :-1], cells[1:, :-1], cells[:-1, 1:], cells[1:, 1:]], 2)
    blocks = blocks / (np.linalg.norm(blocks, axis=2, keepdims=True) + 0.1)
    coarse = small.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS, 3).mean(axis=(1, 3))
    return np.concatenate([blocks.ravel(), coarse.ravel()]).astype(np.float32)


def _kernel(features: NDArray[np.float32]) -> Any:
    """Features in which a linear model is one of the Gaussian kernel (Williams and Seeger 2000).

    The kernel is as wide as the median distance between rows.
    """
    from sklearn.kernel_approximation import Nystroem  # noqa: PLC0415 - takes a second

    some = features[:MEASURED]
    squares = np.square(some).sum(axis=1)
    apart = np.median(squares[:, None] + squares[None, :] - 2 * some @ some.T)
    components = min(COMPONENTS, len(features))
    made = Nystroem(gamma=1 / max(float(apart), 1e-6), n_components=components, random_state=0)
    return sparse.csr_matrix(made.fit_transform(features))


def deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many deviations each value is from the median; a deviation is 1.48 times the median one.

    Where more than half of the values are equal, it is the standard deviation.
    """
    distance = values - np.median(values)
    scale = 1.4826 * np.median(np.abs(distance)) or values.std() or 1.0
    return distance / scale
