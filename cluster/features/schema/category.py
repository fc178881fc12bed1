"""Hold one of some words, or nothing: the column type of categories."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import objects
from cluster.features.schema.column import Faults, Text
from cluster.features.schema.raw import gone


@dataclass(frozen=True)
class Category(Text):
    """One of some words: a colour, a branch, a code.

    Args:
        gaps: whether rows may lack it. Then nothing, "" and NaN are a gap, kept as "".
    """

    gaps: bool = False

    def admit(self, values: NDArray[Any]) -> tuple[NDArray[Any], Faults]:
        """As a text; where gaps are allowed, what is none is one."""
        if not self.gaps:
            return super().admit(values)
        words, faults = super().admit(objects("" if gone(v) else v for v in values.tolist()))
        return words, {row: said for row, said in faults.items() if said != "is empty"}

    def gap(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Where nothing or "" stands."""
        return np.array([not value for value in values], bool) if self.gaps else None
