"""Draw what the made-up shop sells: a shape per category, in the product's colour, on clutter."""

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 32
_FINE = 3  # drawn this much larger, then shrunk, so that edges are smooth
_HUES = (0.12, 0.0, 0.38, 0.58, 0.76, 0.93)  # of amber, crimson, emerald, azure, violet, rose

Points = NDArray[np.float64]


def _round(corners: int, inner: float = 1.0) -> Points:
    """Corners on a circle, every other one drawn in by `inner`."""
    turn = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    reach = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([np.cos(turn), np.sin(turn)], 1) * reach[:, None]


def _crescent() -> Points:
    outer = np.linspace(0.25 * np.pi, 1.75 * np.pi, 24)
    inner = np.linspace(1.75 * np.pi, 0.25 * np.pi, 24)
    bow = np.stack([0.45 + 0.8 * np.cos(inner), 0.8 * np.sin(inner)], 1)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1), bow])


def _ring() -> Points:
    """Round the outside, in, and back round the inside."""
    circle = _round(40)[[*range(40), 0]]
    return np.concatenate([circle, 0.52 * circle[::-1]])


_OUTLINES: dict[str, Callable[[], Points]] = {
    "plate": lambda: _round(40),
    "cushion": lambda: np.array([[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]]),
    "kite": lambda: np.array([[0, -1.05], [0.65, -0.25], [0, 1.05], [-0.65, -0.25]]),
    "tent": lambda: np.array([[0, -0.85], [1, 0.75], [-1, 0.75]]),
    "star": lambda: _round(10, 0.42),
    "lamp": _crescent,
    "bottle": lambda: np.array(
        [[-0.18, -1], [0.18, -1], [0.18, -0.45], [0.45, -0.2], [0.45, 1], [-0.45, 1],
         [-0.45, -0.2], [-0.18, -0.45]]
    ),
    "wreath": _ring,
}  # fmt: skip
SHAPES = tuple(_OUTLINES)


def draw(category: str, colour: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One photograph `[32, 32, 3]` of a product: turned, moved, lit and cluttered by chance."""
    paper = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), _shade(rng.random(), rng, dull=True))
    pen = ImageDraw.Draw(paper)
    for _ in range(rng.integers(2, 6)):
        _clutter(pen, rng)
    turn = rng.normal(0, 0.22)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    size = rng.uniform(0.2, 0.38) * SIDE * _FINE * rng.uniform(0.8, 1.2, 2)
    middle = SIDE * _FINE * rng.uniform(0.36, 0.64, 2)
    outline = _OUTLINES[category]() @ spin * size + middle
    pen.polygon([tuple(point) for point in outline], fill=_shade(_HUES[colour], rng, dull=False))
    for _ in range(rng.integers(0, 3)):
        _clutter(pen, rng, largest=0.16)  # in front of the product
    small = np.asarray(paper.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    noisy = small * rng.uniform(0.75, 1.15) + rng.normal(0, rng.uniform(4, 20), small.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def _clutter(pen: ImageDraw.ImageDraw, rng: np.random.Generator, largest: float = 0.35) -> None:
    """A bar, blob or line of any colour, anywhere."""
    side = SIDE * _FINE
    x, y = rng.uniform(-0.1, 1, 2) * side
    wide, high = rng.uniform(0.05, largest, 2) * side
    fill = _shade(rng.random(), rng, dull=bool(rng.random() < 0.7))
    box = (x, y, x + wide, y + high)
    kind = rng.integers(3)
    if kind == 0:
        pen.rectangle(box, fill=fill)
    elif kind == 1:
        pen.ellipse(box, fill=fill)
    else:
        pen.line(box, fill=fill, width=int(rng.integers(2, 6)))


def _shade(hue: float, rng: np.random.Generator, *, dull: bool) -> tuple[int, int, int]:
    low, high = (0.05, 0.4) if dull else (0.6, 1.0)
    bright = rng.uniform(0.25, 0.95) if dull else rng.uniform(0.55, 1.0)
    shade = colorsys.hsv_to_rgb((hue + rng.normal(0, 0.02)) % 1, rng.uniform(low, high), bright)
    red, green, blue = (int(255 * part) for part in shade)
    return red, green, blue
