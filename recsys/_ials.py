"""iALS: implicit matrix factorisation as in Rendle et al. 2021 (arXiv:2110.14037)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import ThreadpoolController

from cluster.contract import Run

OnEpoch = Callable[[int], None]
BUDGET = 3_000_000  # numbers that one batch of solves may hold


@dataclass(frozen=True)
class Knobs:
    """What the objective weighs; the names of the paper stand beside.

    Attributes:
        dim: length of a factor (d).
        ridge: regularisation (lambda).
        alpha0: weight of every cell, observed or not (alpha_0).
        nu: exponent of the frequency scaling (nu).
        epochs: rounds of both half-steps.
        sigma: initial values are N(0, sigma/sqrt(d)) (sigma*).
    """

    dim: int
    ridge: float
    alpha0: float
    nu: float
    epochs: int
    sigma: float = 0.1


@dataclass(frozen=True)
class Ials:
    """The factors of both sides.

    Attributes:
        users: `[users, dim]`.
        items: `[learnt, dim]`.
        knobs: what they were fitted with.
        more: factors of further items to score, which no history holds `[others, dim]`, or None.
    """

    users: NDArray[np.float64]
    items: NDArray[np.float64]
    knobs: Knobs
    more: NDArray[np.float32] | None = None

    @classmethod
    def fit(
        cls, x: sparse.csr_matrix, knobs: Knobs, run: Run, on_epoch: OnEpoch = lambda _: None
    ) -> Self:
        """Minimise the paper's equation 3 with frequency-scaled regularisation, by turns.

        sum over observed of c (1 - w.h)² + alpha0 sum over all of (w.h)² + ridge times
        sum_u (|I_u| + alpha0 |I|)^nu |w_u|² + sum_i (|U_i| + alpha0 |U|)^nu |h_i|².

        Every worker solves each `workers`-th row of a side, then all gather the side. The initial
        values come from the seed alone and every worker forms the Gram matrix of the whole side
        itself, so the number of workers changes nothing but rounding.

        Args:
            x: confidence c of the observed cells `[users, items]`, the same on every worker.
            knobs: what to weigh.
            run: seed and collectives.
            on_epoch: called with the number of each epoch that ended.
        """
        x = sparse.csr_matrix(x, dtype=np.float64)
        by_item = sparse.csr_matrix(x.T)
        rng = np.random.default_rng(run.seed)
        scale = knobs.sigma / np.sqrt(knobs.dim)
        users, items = (rng.normal(0, scale, (count, knobs.dim)) for count in x.shape)
        with _one_thread():
            for epoch in range(knobs.epochs):
                users = _half_step(x, items, knobs, run)
                items = _half_step(by_item, users, knobs, run)
                on_epoch(epoch + 1)
        return cls(users, items, knobs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the model is made of, beside its knobs."""
        more = {} if self.more is None else {"more": self.more}
        return {"users": self.users, "items": self.items, **more}

    @property
    def vectors(self) -> NDArray[np.float64]:
        """What the score of each learnt item is linear in `[learnt, dim]`."""
        return self.items

    def joined(self, vectors: NDArray[np.float32]) -> Self:
        """The same with further items to score, by their vectors."""
        return replace(self, more=vectors)

    def fold_in(self, x: sparse.csr_matrix) -> NDArray[np.float64]:
        """Factors of histories `[rows, learnt]`: one user half-step against the fitted items."""
        rows = sparse.csr_matrix(x, dtype=np.float64)
        with _one_thread():
            return _solve(rows, self.items, self.knobs, np.arange(rows.shape[0]))

    def scores(self, factors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of all items `[rows, items]` for user factors `[rows, dim]`."""
        learnt = factors @ self.items.T
        return learnt if self.more is None else np.hstack([learnt, factors @ self.more.T])


def _one_thread() -> AbstractContextManager[Any]:
    """Let BLAS solve in this thread: many small systems gain nothing from a second one.

    Ray gives its workers one thread; elsewhere BLAS takes every core.
    """
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks for libraries for 15 ms, where a limit takes 0.01


def _half_step(
    rows: sparse.csr_matrix, other: NDArray[np.float64], knobs: Knobs, run: Run
) -> NDArray[np.float64]:
    """One side's factors, every worker solving its share."""
    solved = np.empty((rows.shape[0], knobs.dim))
    mine = np.arange(run.rank, rows.shape[0], run.workers)
    for rank, block in enumerate(run.all_gather(_solve(rows, other, knobs, mine))):
        solved[rank :: run.workers] = block
    return solved


def _solve(
    rows: sparse.csr_matrix, other: NDArray[np.float64], knobs: Knobs, which: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(alpha0 G + F'CF + reg I)^-1 F'C1 for the rows in `which`; F are the factors of its entries.

    In the eigenbasis of alpha0 G the part that all rows share is diagonal. Rows of similar length
    are solved as one batch, padded with zero factors.
    """
    dim = other.shape[1]
    shared, basis = np.linalg.eigh(knobs.alpha0 * (other.T @ other))
    shared = np.maximum(shared, 0)
    turned = np.vstack([other @ basis, np.zeros((1, dim))])
    length = np.diff(rows.indptr)[which]
    ridge = knobs.ridge * (length + knobs.alpha0 * len(other)) ** knobs.nu
    solved = np.zeros((len(which), dim))
    for batch, width in _similar(length, dim):
        real = np.arange(width) < length[batch][:, None]
        at = np.where(real, rows.indptr[which[batch]][:, None] + np.arange(width), 0)
        factors = turned[np.where(real, rows.indices[at], len(other))]
        confidence = np.where(real, rows.data[at], 1.0)
        base = shared + ridge[batch][:, None]
        inner = _by_entries if width < dim else _by_dimensions
        solved[batch] = inner(factors, confidence, real, base) @ basis.T
    return solved


def _similar(length: NDArray[Any], dim: int) -> list[tuple[NDArray[np.int64], int]]:
    """Rows in batches of similar length, each with its longest; empty rows are left out."""
    order = np.argsort(length, kind="stable")
    ordered = length[order]
    batches = []
    start = int(np.searchsorted(ordered, 1))
    while start < len(order):
        longest = int(ordered[start] * 1.25) + 1
        stop = int(np.searchsorted(ordered, longest, side="right"))
        most = max(1, BUDGET // (max(int(ordered[stop - 1]), dim) * dim))
        stop = min(stop, start + most)
        batches.append((order[start:stop], int(ordered[stop - 1])))
        start = stop
    return batches


def _by_entries(
    factors: NDArray[Any], confidence: NDArray[Any], real: NDArray[Any], base: NDArray[Any]
) -> NDArray[Any]:
    """The solve as a system over entries (Woodbury), for rows with few of them."""
    scaled = factors / base[:, None, :]
    system = scaled @ factors.transpose(0, 2, 1)
    diagonal = np.arange(system.shape[1])
    system[:, diagonal, diagonal] += 1 / confidence
    dual = np.linalg.solve(system, real.astype(float)[..., None])
    return np.asarray((dual.transpose(0, 2, 1) @ scaled)[:, 0])


def _by_dimensions(
    factors: NDArray[Any], confidence: NDArray[Any], real: NDArray[Any], base: NDArray[Any]
) -> NDArray[Any]:
    """The solve as a system over dimensions; padding has zero factors and so adds nothing."""
    del real
    weighted = factors * confidence[..., None]
    system = weighted.transpose(0, 2, 1) @ factors
    diagonal = np.arange(system.shape[1])
    system[:, diagonal, diagonal] += base
    return np.asarray(np.linalg.solve(system, weighted.sum(axis=1)[..., None])[..., 0])
