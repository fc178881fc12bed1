"""Rank items by score, and measure rankings against what people then took."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.floating[Any]]
BLOCK = 16


def by_blocks(score: Callable[[Any], Floats], rows: Any) -> Floats:
    """Score rows in blocks of one size, so that a row does not depend on those beside it.

    BLAS rounds products of other shapes otherwise, and items with equal scores would swap places.

    Args:
        score: scores of all items `[n, items]` for `n` rows.
        rows: at least one, dense or sparse.
    """
    last = rows.shape[0] - 1
    starts = range(0, last + 1, BLOCK)
    blocks = [score(rows[np.minimum(np.arange(at, at + BLOCK), last)]) for at in starts]
    return np.concatenate(blocks)[: last + 1]


def top_k(scores: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """The best `k` items of each row, best first, ties by item number.

    Args:
        scores: `[rows, items]`; minus infinity marks what is not to be shown.
        k: how many; fewer come back where fewer are allowed, marked by item number -1.

    Returns:
        Item numbers and scores, both `[rows, min(k, items)]`.
    """
    k = min(k, scores.shape[1])
    part = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, scores.shape[1] - k :]
    part = np.sort(part, axis=1)
    best = np.take_along_axis(scores, part, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    items = np.take_along_axis(part, order, axis=1)
    return np.where(np.isneginf(best), -1, items), best


def ndcg(ranked: Sequence[Sequence[str]], taken: Sequence[Sequence[str]], k: int) -> float:
    """Normalised discounted cumulative gain at `k`, mean over rows that took anything.

    Gains are binary; the ideal ranking holds min(k, number taken) hits (Järvelin and Kekäläinen
    2002, doi:10.1145/582415.582418).
    """
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    values = []
    for shown, wanted in zip(ranked, taken, strict=True):
        if goal := set(wanted):
            hits = np.fromiter((item in goal for item in shown[:k]), float, min(k, len(shown)))
            values.append(hits @ discount[: len(hits)] / discount[: len(goal)].sum())
    return float(np.mean(values)) if values else 0.0


def recall(ranked: Sequence[Sequence[str]], taken: Sequence[Sequence[str]], k: int) -> float:
    """The share of what was taken that stands among the first `k`, mean over rows."""
    shares = [
        len(set(shown[:k]) & set(wanted)) / len(set(wanted))
        for shown, wanted in zip(ranked, taken, strict=True)
        if wanted
    ]
    return float(np.mean(shares)) if shares else 0.0


def ndcg_of_scores(
    scores: Floats, seen: sparse.csr_matrix, held: sparse.csr_matrix, k: int = 10
) -> float:
    """NDCG at `k` of a score matrix over unseen items: the inner measure when knobs are chosen."""
    ranked = np.array(scores, dtype=np.float64)
    ranked[seen.nonzero()] = -np.inf
    items, _ = top_k(ranked, k)
    rows = np.arange(len(items))[:, None]
    found: Any = held[rows, items]
    hits = (found.toarray() > 0) & (items >= 0)
    discount = 1.0 / np.log2(np.arange(2, items.shape[1] + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    count = held.getnnz(axis=1)
    asked = count > 0
    gains = (hits @ discount)[asked] / ideal[np.minimum(items.shape[1], count[asked])]
    return float(gains.mean()) if len(gains) else 0.0
