"""Tell whether two pictures are one: encoded again, made somewhat smaller, or the next frame."""

import hashlib
import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.spatial import cKDTree

SIDE = 16
"""A sketch is the mean brightness of as many by as many cells; colours have a quarter each way."""
SKETCH = np.dtype(
    [
        ("pixels", "<u8"),
        ("size", "<u4", (2,)),
        ("light", "u1", (SIDE * SIDE,)),
        ("colour", "u1", (2 * (SIDE // 4) ** 2,)),
    ]
)
TOLERANCE, SMALL_TOLERANCE = 2.5, 3.5
"""How far apart the coarse light of two copies may be, root mean square of 255 levels: from 64
pixels a side on, and below 33. What an encoder changes is evened out in a larger picture."""
CONTRAST_SHARE = 0.08  # and not more than this share of their own contrast
COLOUR_TOLERANCE = 6.0
ASPECT_TOLERANCE = 0.06
FINE_SIDE = 64  # below as many pixels a side, fine cells are moved more by an encoder
LEAST_CONTRAST = 6.0  # what is flatter has no coarse light to tell it by: only equal pixels do
EVEN, EVEN_TOLERANCE = 0.7, 4.5
"""Encoders and other sizes change edges most. A difference that lies over all cells alike (its mean
size by its root mean square: 0.8 where it is Gaussian) is noise of two pictures from so much on."""
COARSE, SEARCHED = 64, 16  # of the DCT's coefficients, the lowest first
LONG = 8_192  # longer sides are averaged stretch by stretch: a matrix would be 64 times the column
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLUE = np.array([-0.1687, -0.3313, 0.5], np.float32)
_RED = np.array([0.5, -0.4187, -0.0813], np.float32)
_NO_COLOUR = np.full(2 * (SIDE // 4) ** 2, 128, np.uint8)

Numbers = NDArray[np.int64]


def sketch(picture: NDArray[np.uint8]) -> tuple[int, Any, Any, Any]:
    """What tells a picture `[height, width, 1 or 3]` in 300 bytes, as a row of `SKETCH`."""
    pixels = picture if picture.shape[2] == 1 or _coloured(picture) else picture[..., :1]
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).tobytes()
    digest = hashlib.blake2b(f"{pixels.shape}".encode() + data, digest_size=8).digest()
    colour = _NO_COLOUR
    if pixels.shape[2] == 1:
        light = _cells(pixels[..., 0])
    else:
        small = np.stack([_cells(pixels[..., layer]) for layer in range(3)], axis=2)
        light = small @ _LUMA
        blocks = small.reshape(SIDE // 4, 4, SIDE // 4, 4, 3).mean(axis=(1, 3))
        colour = _levels(128 + np.stack([blocks @ _BLUE, blocks @ _RED]))
    return int.from_bytes(digest, "little"), (height, width), _levels(light), colour


def cluster(sketches: NDArray[np.void], same: Numbers, order: Numbers) -> Numbers:
    """For each picture the first of its near-copies.

    Pictures are taken in an order; one that is near no earlier leader leads. So no group is wider
    than twice the tolerance, however many frames of a film lead from one to the next.

    Args:
        sketches: of `SKETCH` `[n]`.
        same: for each the first with the same pixels `[n]`.
        order: in which they lead `[n]`.
    """
    leader = same.copy()
    distinct = order[same[order] == order]
    found = sketches[distinct]
    light = found["light"].astype(np.float32)
    contrast = light.std(axis=1)
    waves = _waves(light)
    side = found["size"].min(axis=1, initial=FINE_SIDE).astype(np.float64)
    tolerance = np.minimum(SMALL_TOLERANCE, TOLERANCE * np.sqrt(FINE_SIDE / side))
    allowed = np.minimum(tolerance, CONTRAST_SHARE * contrast)
    allowed[contrast < LEAST_CONTRAST] = 0
    searched = _widest(waves)
    tree = cKDTree(searched)
    near, _ = tree.query(searched, k=2, distance_upper_bound=SMALL_TOLERANCE * SIDE)
    led = np.full(len(distinct), -1)
    for row in np.flatnonzero(np.isfinite(near).all(axis=1)).tolist():
        if led[row] >= 0 or not allowed[row]:
            continue
        others = np.array(tree.query_ball_point(searched[row], allowed[row] * SIDE))
        others = others[(led[others] < 0) & (others > row)]
        led[others[_alike(found, waves, allowed, row, others)]] = row
    copied = np.flatnonzero(led >= 0)
    leader[distinct[copied]] = distinct[led[copied]]
    return leader[same]


def _alike(
    found: NDArray[np.void], waves: NDArray[Any], allowed: NDArray[Any], row: int, others: Numbers
) -> NDArray[np.bool_]:
    """Which of some pictures are near-copies of one."""
    apart = np.square(waves[others] - waves[row]) / SIDE**2
    limit = np.minimum(allowed[others], allowed[row])
    sides = found["size"][others].astype(np.float64), found["size"][row].astype(np.float64)
    smallest = np.minimum(sides[0].min(axis=1), sides[1].min())
    fine = limit * np.maximum(1, FINE_SIDE / smallest)
    aspects = sides[0][:, 0] / sides[0][:, 1], sides[1][0] / sides[1][1]
    colours = found["colour"][others].astype(np.float32) - found["colour"][row]
    change = np.sqrt(apart.sum(axis=1))
    size = np.abs(found["light"][others].astype(np.float32) - found["light"][row]).mean(axis=1)
    fine = np.where(size > EVEN * change, np.minimum(fine, EVEN_TOLERANCE), fine)
    return np.asarray(
        (np.sqrt(apart[:, :COARSE].sum(axis=1)) <= limit)
        & (change <= fine)
        & (np.sqrt(np.square(colours).mean(axis=1)) <= COLOUR_TOLERANCE)
        & (np.abs(np.log(aspects[0] / aspects[1])) <= ASPECT_TOLERANCE)
    )


def _waves(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The DCT of cells `[n, SIDE * SIDE]`, low frequencies first; distances stay what they are."""
    row, column = np.indices((SIDE, SIDE)).reshape(2, -1)
    lowest = np.lexsort((np.abs(row - column), row + column))
    if not len(light):
        return light
    waves = dctn(light.reshape(-1, SIDE, SIDE), axes=(1, 2), norm="ortho")
    return np.asarray(waves.reshape(len(light), -1)[:, lowest], np.float32)


def _widest(waves: NDArray[np.float32]) -> NDArray[np.float32]:
    """The few directions in which the pictures of a set differ most: distances only shrink."""
    coarse = waves[:, :COARSE]
    if len(coarse) < 2:
        return coarse
    _, axes = np.linalg.eigh(np.cov(coarse, rowvar=False))
    return np.ascontiguousarray(coarse @ axes[:, -SEARCHED:].astype(np.float32))


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers from 0 to 256 as whole ones."""
    return np.minimum(values + 0.5, 255).astype(np.uint8).ravel()


def _coloured(picture: NDArray[np.uint8]) -> bool:
    """Whether channels differ: grey is often kept as RGB."""
    return bool((picture[..., :1] != picture[..., 1:]).any())


def _cells(layer: NDArray[np.uint8]) -> NDArray[Any]:
    """The means of `SIDE` by `SIDE` equal cells of one channel `[height, width]`."""
    if layer.shape[1] > LONG:  # the longer side first: `[SIDE, width]` would be larger than `layer`
        return _means(_means(layer.T).T)
    return _means(_means(layer).T).T


def _means(values: NDArray[Any]) -> NDArray[Any]:
    """The mean of each of `SIDE` equal stretches of rows: `[length, n]` to `[SIDE, n]`."""
    if len(values) <= LONG:
        return np.asarray(_weights(len(values)) @ values.astype(np.float32))
    edges = np.linspace(0, len(values), SIDE + 1)
    return np.stack([_mean(values, start, end) for start, end in pairwise(edges)])


@lru_cache(maxsize=256)
def _weights(length: int) -> NDArray[np.float32]:
    """The matrix `[SIDE, length]` that takes the mean of each of `SIDE` equal stretches."""
    edges = np.linspace(0, length, SIDE + 1)
    places = np.arange(length)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights = overlap.clip(0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _mean(values: NDArray[Any], start: float, end: float) -> NDArray[Any]:
    """The mean of the rows from one place to another, of the first and last a share."""
    first, last = int(start), math.ceil(end)
    weights = np.ones(last - first)
    weights[0] -= start - first
    weights[-1] -= last - end
    return np.asarray(weights @ values[first:last] / (end - start))
