"""Measure vectors by what is found with them: rows that share a label should be neighbours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import numbered

COMPARED = 5_000
"""Rows that are compared with each other; of more, as many are drawn."""
BLOCK = 500


def retrieval(vectors: Any, labels: Sequence[str]) -> dict[str, float]:
    """Each row looks for others of its label among all other rows; averages over the rows.

    Rows whose label no other row has do not look, but may be found.

    Args:
        vectors: `[n, dim]`, dense or sparse; alike is what has a large inner product.
        labels: `[n]`.

    Returns:
        `recall_at_1`, whether the nearest has the label; `recall_at_10`, whether any of the ten
        nearest has it; `map`, the mean average precision of the whole ranking.
    """
    drawn = np.sort(np.random.default_rng(0).permutation(len(labels))[:COMPARED])
    rows = vectors[drawn]
    _, group = numbered(np.asarray(labels, dtype=object)[drawn])
    looking = np.flatnonzero(np.bincount(group)[group] > 1)
    sums = np.zeros(3)
    for start in range(0, len(looking), BLOCK):
        sums += _ranked(rows, group, looking[start : start + BLOCK])
    first, ten, precision = (sums / max(1, len(looking))).tolist()
    return {"recall_at_1": first, "recall_at_10": ten, "map": precision}


def _ranked(rows: Any, group: NDArray[np.int64], looking: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sums over some rows of first hits, hits in ten, and average precisions."""
    products: Any = rows[looking] @ rows.T
    scores = products.toarray() if hasattr(products, "toarray") else products
    scores[np.arange(len(looking)), looking] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]  # the row itself comes last
    hits = group[order] == group[looking, None]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    average = (precision * hits).sum(axis=1) / hits.sum(axis=1)
    return np.array([hits[:, 0].sum(), hits[:, :10].any(axis=1).sum(), average.sum()])
