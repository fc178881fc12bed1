"""Find the keys whose vectors are nearest: exactly up to a size, above it by an index."""

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cluster.base.errors import InvalidInput

Floats = NDArray[np.float32]
Nearest = tuple[list[list[str]], list[list[float]]]
"""For each query the keys, nearest first, and how alike they are."""

EXACT_TO = 100_000
"""Up to so many vectors every one is compared: a millisecond or two, and nothing is missed."""
MOST = 1_000
"""The most neighbours that one query may ask for."""
BLOCK = 16_000_000  # scores that are in memory at once
PROBED = 64  # cells of the index that a query looks into
GROWTH = 2  # the index is made anew when there are so many times the vectors that it was made for
SAMPLE = 64  # vectors a cell that its centre is learnt from
MARGIN = 1e-5  # how far a sum of 32-bit products may be off, as a share of the lengths' product


class Vectors:
    """Keys and their vectors, of which the nearest to any other vector are found.

    How alike two vectors are is their inner product: the cosine, where they have unit length. What
    is equally alike comes in the order of the keys. Above `exact_to` vectors, faiss's inverted
    file (Jegou et al. 2011, doi:10.1109/TPAMI.2010.57) finds the candidates: about sqrt(n) cells,
    of which a query looks into the nearest `PROBED`, so that a few neighbours may be missed.

    Many threads may ask while one or more write; each query sees all or nothing of a write.

    Args:
        size: how many numbers a vector has.
        exact_to: how many vectors are searched without an index.
    """

    def __init__(self, size: int, *, exact_to: int = EXACT_TO) -> None:
        self.size = size
        self.exact_to = exact_to
        self._slots: dict[str, int] = {}
        self._keys: list[str] = []  # by slot; what stands in a free one means nothing
        self._free: list[int] = []
        self._rows: Floats = np.zeros((0, size), np.float32)
        self._live = np.zeros(0, dtype=bool)
        self._longest = 0.0  # of the vectors there ever were
        self._index: Any = None
        self._made_for = 0
        self._state = threading.Lock()  # held for a moment: while a block is read or a write shows
        self._writing = threading.Lock()  # held by a writer from its first line to its last

    @classmethod
    def of(cls, keys: Sequence[str], vectors: NDArray[Any], *, exact_to: int = EXACT_TO) -> Self:
        """Keys `[n]` with their vectors `[n, size]`; of a key that comes twice the last counts.

        Raises:
            InvalidInput: the vectors are not finite numbers `[n, size]`.
        """
        rows = _checked(vectors, "vectors")
        made = cls(rows.shape[1], exact_to=exact_to)
        made.put(keys, rows)
        return made

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: str) -> bool:
        return key in self._slots

    def nearest(self, queries: NDArray[Any], k: int) -> Nearest:
        """The `k` nearest keys of each query `[m, size]`; fewer where there are fewer.

        Raises:
            InvalidInput: a query is of another size or not finite, or `k` is out of its range.
        """
        asked = _checked(queries, "queries", self.size)
        if not isinstance(k, int | np.integer) or not 1 <= k <= MOST:
            raise InvalidInput(
                f"{k} nearest cannot be asked for.", hint=f"Ask for 1 to {MOST:,}.",
                limit=MOST, actual=float(k),
            )  # fmt: skip
        keys: list[list[str]] = []
        scores: list[list[float]] = []
        while len(keys) < len(asked):
            block = max(1, BLOCK // max(1, len(self._rows)))
            with self._state:
                for query, slots in self._candidates(asked[len(keys) :][:block], k):
                    best = self._best(query, slots, k)
                    keys.append([key for _, key in best])
                    scores.append([-score for score, _ in best])
        return keys, scores

    def put(self, keys: Sequence[str], vectors: NDArray[Any]) -> None:
        """Add vectors `[n, size]`, in the place of those that their keys had before.

        Raises:
            InvalidInput: the vectors are of another size, not finite, or not one a key.
        """
        rows = _checked(vectors, "vectors", self.size)
        if len(keys) != len(rows):
            raise InvalidInput(f"{len(keys)} keys came with {len(rows)} vectors; give one a key.")
        last = {key: row for row, key in enumerate(keys)}
        rows = rows[list(last.values())]
        with self._writing:
            with self._state:
                old = [self._slots[key] for key in last if key in self._slots]
                self._reserve(len(last) - len(old))
                slots = np.array([self._place(key) for key in last], dtype=np.int64)
                self._rows[slots] = rows
                self._live[slots] = True
                self._longest = max(self._longest, _length(rows))
                if self._index is not None:
                    self._index.remove_ids(np.array(old, dtype=np.int64))
                    self._index.add_with_ids(rows, slots)
            self._keep_index()

    def remove(self, keys: Iterable[str]) -> None:
        """Forget keys; those that are not there are none."""
        with self._writing:
            with self._state:
                slots = [self._slots.pop(key) for key in set(keys) if key in self._slots]
                self._live[slots] = False
                self._free += slots
                if self._index is not None:
                    self._index.remove_ids(np.array(slots, dtype=np.int64))
            self._keep_index()

    def _reserve(self, more: int) -> None:
        """Room for so many keys that are new."""
        wanted = len(self._slots) + more
        if wanted > len(self._rows):
            room = max(wanted, len(self._rows) * 3 // 2) - len(self._rows)
            self._rows = np.pad(self._rows, ((0, room), (0, 0)))
            self._live = np.pad(self._live, (0, room))

    def _place(self, key: str) -> int:
        """The slot of a key, a free one or the next if it has none."""
        if (slot := self._slots.get(key)) is None:
            if self._free:
                slot = self._free.pop()
                self._keys[slot] = key
            else:
                slot = len(self._keys)
                self._keys.append(key)
            self._slots[key] = slot
        return slot

    def _candidates(self, queries: Floats, k: int) -> Iterable[tuple[Floats, NDArray[np.int64]]]:
        """Each query with slots among which its nearest are."""
        if self._index is not None:
            _, found = self._index.search(queries, min(2 * k, len(self._slots)))
            return [(q, slots[slots >= 0]) for q, slots in zip(queries, found, strict=True)]
        used = len(self._keys)
        scores = queries @ self._rows[:used].T
        if self._free:
            scores[:, self._free] = -np.inf
        margins = MARGIN * self._longest * np.linalg.norm(queries, axis=1)
        tops = [_top(row, k, margin) for row, margin in zip(scores, margins, strict=True)]
        return [(q, top[self._live[top]]) for q, top in zip(queries, tops, strict=True)]

    def _best(self, query: Floats, slots: NDArray[np.int64], k: int) -> list[tuple[float, str]]:
        """The first k of these slots, as the negative of their score and their key.

        Summed again in 64 bits, row by row: equal vectors are equally alike wherever they stand.
        """
        products = self._rows[slots].astype(np.float64) * query.astype(np.float64)
        scores = (-products.sum(axis=1)).tolist()
        return sorted(zip(scores, (self._keys[slot] for slot in slots), strict=True))[:k]

    def _keep_index(self) -> None:
        """Make the index that so many vectors need, or none; readers go on with the one before."""
        count = len(self._slots)
        if self._index is not None and count <= self.exact_to // 2:
            with self._state:
                self._index, self._made_for = None, 0
        elif count > self.exact_to and count > GROWTH * self._made_for:
            slots = np.flatnonzero(self._live)
            index = _made(self._rows[slots], slots)
            with self._state:
                self._index, self._made_for = index, count


def _made(rows: Floats, slots: NDArray[np.int64]) -> Any:
    """An inverted file over rows that finds their slots."""
    import faiss  # noqa: PLC0415 - 40 MB that small views do not need

    cells = max(1, math.isqrt(len(rows)))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.min_points_per_centroid = 1  # else it prints a warning
    drawn = np.random.default_rng(0).choice(
        len(rows), min(len(rows), SAMPLE * cells), replace=False
    )
    index.train(rows[np.sort(drawn)])
    # A table of where each vector is, so that one is removed at once.
    index.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
    index.add_with_ids(rows, slots)
    index.nprobe = PROBED
    return index


def _top(scores: Floats, k: int, margin: float) -> NDArray[np.int64]:
    """The places of the k largest scores, and of all that may equal the last of them."""
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - margin)


def _length(rows: Floats) -> float:
    """That of the longest row."""
    return float(np.linalg.norm(rows, axis=1).max(initial=0.0))


def _checked(vectors: NDArray[Any], what: str, size: int | None = None) -> Floats:
    """Vectors as 32-bit floats `[n, size]`."""
    given = np.asarray(vectors)
    if given.ndim != 2 or given.dtype.kind not in "fiu" or size not in (None, given.shape[1]):
        wanted = "n x size" if size is None else f"n x {size}"
        raise InvalidInput(
            f"An array of {given.dtype} with shape {given.shape} holds no {what}.",
            hint=f"Give numbers of {wanted}.",
        )
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(given, np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InvalidInput(
            f"Of the {what}, the one at {bad[0]} holds a number that is not finite in 32 bits.",
            hint="Leave it out.",
        )
    return rows
