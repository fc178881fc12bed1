"""Find texts that are nearly the same: a word changed, a sentence added, a template filled in."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.features.quality.copies import plain

SHINGLE = 5
"""Characters that are compared at a time."""
BANDS, ROWS = 16, 3
"""16 bands of 3: texts that share 60% of their shingles meet with odds of 98%, 80% of 99.999%."""
ALIKE = 0.6
"""The share of shingles, of those of either, that two near-copies have in common."""
MET = 8
UNLIKE = 0.35
"""Texts that share fewer of their least hashes are not compared: of near-copies 1 in 5,000."""
AT_ONCE = 16_384  # shingles that are hashed at a time: a long text has millions
KEPT = 50_000_000
"""Shingles that are held, of 8 bytes each; those of the texts after are made again when needed."""


def near_copies(texts: Sequence[str], *, seed: int = 0, most: int = KEPT) -> list[tuple[int, int]]:
    """Pairs of near-copies by number; each text stands at most once as the second of a pair.

    MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman 2014, chapter 3). What meets
    in a band is compared with the first `MET` of those that met there, so the time is linear.
    Memory is that of `most` shingles, of those of two texts, and of 384 bytes a text.

    Args:
        texts: compared without case, spaces or Unicode form.
        seed: draws the hash functions.
        most: how many shingles are held.
    """
    shingles = Shingles(texts, most)
    signatures = _signatures(shingles, seed)
    found: dict[int, int] = {}
    for band in range(BANDS):
        met: dict[bytes, list[int]] = {}
        for row, part in enumerate(signatures[:, band * ROWS : (band + 1) * ROWS]):
            others = met.setdefault(part.tobytes(), [])
            if others and row not in found:
                agree = (signatures[others] == signatures[row]).mean(axis=1)
                likely = (one for one, share in zip(others, agree, strict=True) if share >= UNLIKE)
                near = (one for one in likely if _share(shingles[one], shingles[row]) >= ALIKE)
                if (other := next(near, None)) is not None:
                    found[row] = other
            if len(others) < MET:
                others.append(row)
    return sorted((other, row) for row, other in found.items())


class Shingles:
    """The different shingles of each text, of which at most some are held."""

    def __init__(self, texts: Sequence[str], most: int) -> None:
        self.most = most
        self.texts = texts
        self.held: dict[int, NDArray[np.uint64]] = {}
        self.count = 0

    def __getitem__(self, row: int) -> NDArray[np.uint64]:
        own = self.held.get(row)
        if own is None:
            own = _shingles(plain(self.texts[row]))
            if self.count + len(own) <= self.most:
                self.held[row] = own
                self.count += len(own)
        return own


def _shingles(text: str) -> NDArray[np.uint64]:
    """Different shingles of a text as numbers, sorted."""
    codes = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint64)
    if len(codes) < SHINGLE:
        codes = np.concatenate([codes, np.zeros(SHINGLE - len(codes), np.uint64)])
    hashed = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
    for offset in range(SHINGLE):  # overflow is the hash
        window = codes[offset : offset + len(hashed)]
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + window
    return np.unique(hashed ^ (hashed >> np.uint64(32)))


def _signatures(shingles: Shingles, seed: int) -> NDArray[np.uint64]:
    """The least value of each hash function over a text's shingles `[n, BANDS * ROWS]`."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
    shifts = rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    least = np.full((len(shingles.texts), BANDS * ROWS), np.iinfo(np.uint64).max, np.uint64)
    for row in range(len(shingles.texts)):
        own = shingles[row]
        for start in range(0, len(own), AT_ONCE):
            mixed = own[start : start + AT_ONCE, None] * factors + shifts
            hashed = mixed ^ (mixed >> np.uint64(29))
            least[row] = np.minimum(least[row], hashed.min(axis=0))
    return least


def _share(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
