"""Name a row by what it holds, where its source gives it no id."""

import hashlib
from collections import Counter
from typing import Any, SupportsBytes

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import objects


def fingerprints(values: NDArray[Any]) -> NDArray[np.object_]:
    """Raw values `[n]` (text, bytes of files, arrays of pixels) to names `[n]` of 24 letters.

    They have 96 bits: of a hundred million rows, two share one by chance with odds of 1 to 10**13.
    """
    return objects(hashlib.blake2b(_bytes(v), digest_size=12).hexdigest() for v in values)


class Repeats:
    """Tells rows of one source apart that hold the same: the second is `<name>-2`, and so on.

    Which rows are alike does not depend on where in the source they stand, so the same source in
    another order, in another folder or with more rows has the same names.
    """

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def number(self, names: NDArray[Any]) -> NDArray[np.object_]:
        """The names `[n]`, each with how often it came by now where that is more than once."""
        numbered = []
        for name in names:
            self._seen[name] += 1
            count = self._seen[name]
            numbered.append(name if count == 1 else f"{name}-{count}")
        return objects(numbered)


def _bytes(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str} {value.shape} ".encode() + value.tobytes()
    if isinstance(value, bytes | bytearray | memoryview | SupportsBytes):
        return bytes(value)
    return str(value).encode(errors="surrogatepass")
