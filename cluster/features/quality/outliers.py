"""Find rows that are unlike all others in something that one number says."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch
from cluster.features.quality.encode import deviations
from cluster.features.schema.column import Column, Number, Text, Whole
from cluster.media.picture import Picture

FAR = 8.0
"""From so many deviations from the median on, a row is an outlier: the largest z of a million rows
of a normal distribution is 5."""
FLAT = 2.0
"""A picture whose levels deviate by less shows nothing."""


def outliers(columns: Mapping[str, Column], rows: Batch) -> Iterator[tuple[int, str]]:
    """Rows that stand far out, by number, and why; the farthest of each reason first.

    Args:
        columns: those beside the label, with their types.
        rows: as they are in memory.
    """
    for name, kind in columns.items():
        values = rows[name]
        match kind:
            case Number() | Whole():
                yield from _far(values.astype(np.float64), f"{name} is {{:g}}")
            case Text():
                lengths = np.array([len(text) for text in values])
                yield from _far(lengths, f"{name} has {{:,.0f}} characters", logarithm=True)
            case Picture():
                yield from _pictures(name, values)


def _pictures(name: str, pictures: NDArray[Any]) -> Iterator[tuple[int, str]]:
    for row, picture in enumerate(pictures):
        if picture.std() < FLAT:
            yield row, f"{name} shows nothing: all of it has about the level {picture.mean():.0f}"
    pixels = np.array([picture.shape[0] * picture.shape[1] for picture in pictures])
    shapes = np.array([picture.shape[1] / picture.shape[0] for picture in pictures])
    levels = np.array([picture.mean() for picture in pictures])
    yield from _far(pixels, f"{name} has {{:,.0f}} pixels", logarithm=True)
    yield from _far(shapes, f"{name} is {{:.3g}} times as wide as high", logarithm=True)
    yield from _far(levels, f"{name} has a mean level of {{:.0f}}")


def _far(values: NDArray[Any], said: str, *, logarithm: bool = False) -> Iterator[tuple[int, str]]:
    """Rows beyond `FAR`; where all but a few values are equal, those few."""
    away = np.abs(deviations(np.log1p(values) if logarithm else values))
    usual = f"{np.median(values):,.4g}"
    for row in np.argsort(-away, kind="stable").tolist():
        if away[row] < FAR:
            return
        yield row, f"{said.format(values[row])}; the median is {usual}"
