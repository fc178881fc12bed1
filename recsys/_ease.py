"""EASE: a linear item-to-item model in closed form (Steck 2019, arXiv:1905.03375)."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy import sparse

from cluster.contract import NotEnough

MOST_SIDE = 10_000  # the solve of a 10,000 square matrix in float64 takes about 4 GB
MOST_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Ease:
    """Item-to-item weights, dense where users outnumber items, factored where items do.

    Factored (Woodbury): with A = W^½X and M = (I + AA'/ridge)^-1, P = (I - A'MA/ridge)/ridge, so
    that xB = x - xP/diag(P) needs A, which is sparse, and MA, which is users by items.

    Histories hold the items that were learnt; columns may stand for more, after those.

    Attributes:
        dense: B `[learnt, items]`, or None.
        right: MA / ridge² / diag(P), by column `[users, items]`, or None.
        left: A' `[learnt, users]`, or None.
        own: what keeps the diagonal of B at zero `[learnt]`, or None.
    """

    dense: NDArray[np.float32] | None = None
    left: sparse.csr_matrix | None = None
    right: NDArray[np.float32] | None = None
    own: NDArray[np.float32] | None = None

    @classmethod
    def fit(
        cls, x: sparse.csr_matrix, *, ridge: float, user_power: float, item_power: float
    ) -> Self:
        """Minimise ||W^½(X - XB)||² + ridge ||B||² with diag(B) = 0, then scale columns.

        W weighs users by their number of items to the power -user_power (DAN, arXiv:2504.05805),
        a column is multiplied by its number of users to the power -item_power; both 0 is EASE.

        Args:
            x: weights of pairs `[users, items]`.
            ridge: the regularisation.
            user_power: how much less a user with many items counts.
            item_power: how much the scores of popular items are taken back.

        Raises:
            NotEnough: the solve or the model would be larger than stated limits.
        """
        users, items = x.shape
        _check_size(users, items)
        x = sparse.csr_matrix(x, dtype=np.float64)
        counts = np.maximum(x.getnnz(axis=1), 1).astype(float)
        column = np.maximum(x.getnnz(axis=0), 1).astype(float) ** -item_power
        weight = (counts / np.exp(np.log(counts).mean())) ** -user_power
        a = sparse.csr_matrix(sparse.diags(np.sqrt(weight)) @ x)
        return cls._dense(a, ridge, column) if users >= items else cls._factored(a, ridge, column)

    @classmethod
    def _dense(cls, a: sparse.csr_matrix, ridge: float, column: NDArray[Any]) -> Self:
        gram = (a.T @ a).toarray()
        diagonal = np.diag_indices(len(gram))
        gram[diagonal] += ridge
        p = _inverse(gram)
        b = p / -np.diag(p)
        b[diagonal] = 0
        return cls(dense=(b * column).astype(np.float32))

    @classmethod
    def _factored(cls, a: sparse.csr_matrix, ridge: float, column: NDArray[Any]) -> Self:
        kernel = (a @ a.T).toarray() / ridge
        kernel[np.diag_indices(len(kernel))] += 1
        ma = _inverse(kernel) @ a
        diagonal = (1 - np.asarray(a.multiply(ma).sum(axis=0)).ravel() / ridge) / ridge
        return cls(
            left=sparse.csr_matrix(a.T, dtype=np.float32),
            right=(ma * (column / (ridge * ridge * diagonal))).astype(np.float32),
            own=(column * (1 - 1 / (ridge * diagonal))).astype(np.float32),
        )

    @property
    def vectors(self) -> NDArray[np.float32]:
        """What the score of each item is linear in `[items, ...]`."""
        columns = self.dense if self.dense is not None else self.right
        assert columns is not None  # noqa: S101 - one of the two forms is there
        return columns.T

    def joined(self, vectors: NDArray[np.float32]) -> Self:
        """The same with further items to score, by their vectors."""
        columns = np.ascontiguousarray(np.concatenate([self.vectors, vectors]).T)
        if self.dense is not None:
            return replace(self, dense=columns)
        return replace(self, right=columns)

    def scores(self, x: sparse.csr_matrix) -> NDArray[np.float32]:
        """XB `[rows, items]` for histories `[rows, learnt]`; a new user is one more row."""
        if self.dense is not None:
            return np.asarray(x @ self.dense, dtype=np.float32)
        assert self.left is not None  # noqa: S101 - one of the two forms is there
        assert self.right is not None  # noqa: S101
        assert self.own is not None  # noqa: S101
        scores = np.asarray((x @ self.left).todense(), dtype=np.float32) @ self.right
        row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
        np.add.at(scores, (row, x.indices), x.data * self.own[x.indices])
        return np.asarray(scores, dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `of` reads."""
        if self.dense is not None:
            return {"dense": self.dense}
        assert self.left is not None  # noqa: S101 - one of the two forms is there
        assert self.right is not None  # noqa: S101
        assert self.own is not None  # noqa: S101
        csr = {"data": self.left.data, "indices": self.left.indices, "indptr": self.left.indptr}
        return {**csr, "right": self.right, "own": self.own}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The model out of what `arrays` gave."""
        if "dense" in arrays:
            return cls(dense=arrays["dense"])
        right = arrays["right"]
        shape = (len(arrays["indptr"]) - 1, len(right))
        left = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
        return cls(left=left, right=right, own=arrays["own"])


def _check_size(users: int, items: int) -> None:
    side, size = min(users, items), 4 * items * min(users, items)
    if side > MOST_SIDE or size > MOST_BYTES:
        raise NotEnough(
            f"EASE over {users:,} users and {items:,} items solves a {side:,} square matrix and "
            f"keeps {size >> 20:,} MiB; the limits are {MOST_SIDE:,} and {MOST_BYTES >> 20:,} MiB.",
            hint="Train with method=ials.",
        )


def _inverse(positive: NDArray[Any]) -> NDArray[Any]:
    """The inverse of a symmetric positive definite matrix by Cholesky, in its own memory."""
    factor, failed = scipy.linalg.lapack.dpotrf(positive, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError(f"not positive definite (LAPACK info {failed})")
    lower = np.tril(factor)
    return np.asarray(lower + np.tril(factor, -1).T)
