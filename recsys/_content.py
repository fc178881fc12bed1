"""Know an item by what is written of it, so that one which nobody has touched can be ranked."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy import sparse

from cluster.contract import Batch
from recsys._said import said

MOST_LEARNT = 10_000  # the solve of a 10,000 square matrix in float32 takes 0.8 GB
STANDS_FOR = 10
BLOCK = 1_024
MEAN = 0.1
"""What is added to the kernel, so that an item of which nothing is known is the mean item."""
AMOUNT = 0.3
"""How much it matters that two items have much said of them, or little: the known are liked."""


@dataclass(frozen=True)
class Content:
    """What is known of each item, as numbers.

    Attributes:
        features: `[items, features]`, rows of length one, or zero where nothing is known.
        amounts: how much each column says of each item `[items, columns]`.
        known: whether any table says something of the item `[items]`.
    """

    features: sparse.csr_matrix
    amounts: NDArray[np.float32]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, tables: Sequence[Batch], names: Sequence[str]) -> "Content":
        """Make features out of every column of some tables whose key is `item_id`.

        Words of texts, categories and tenths of numbers are one bag for each item, which counts as
        TF-IDF of length one. A vector counts by its direction; an item without one has zeros.

        Args:
            tables: columns `[rows]` of text, lists of text or numbers, or `[rows, dim]` vectors.
            names: the items, in the order of the rows that come back.
        """
        told = said(tables, "item_id", names)
        blocks = [_tfidf(told.bags), *map(sparse.csr_matrix, told.vectors)]
        features = _of_length_one(sparse.csr_matrix(sparse.hstack(blocks)))
        return cls(features.astype(np.float32), told.amounts, np.diff(features.indptr) > 0)

    def vectors(
        self, learnt: NDArray[Any], weight: NDArray[Any], *, ridge: float, width: float
    ) -> NDArray[np.float32]:
        """Vectors of the items that a model has not learnt, from those that it has.

        The mapping from attributes to factors of Gantner et al. 2010
        (doi:10.1109/ICDM.2010.129), by kernel ridge regression in closed form. The kernel is a
        Gaussian of how far two items' features are apart, since what an old comedy is to a user
        is not the sum of what is old and what is a comedy. It is multiplied by a line in how much
        is said of either, since an item of many tags is one that many know; a constant in it is
        the mean item. A model whose scores are linear in an item's vector ranks the new ones by
        the same product.

        Args:
            learnt: `[touched, dim]`, of the first items.
            weight: how many took each of these `[touched]`; the most taken are learnt from where
                there are more than `MOST_LEARNT`.
            ridge: the regularisation.
            width: how far apart two items are that tell of each other.

        Returns:
            `[items - touched, dim]`.
        """
        rows = np.flatnonzero(self.known[: len(learnt)])
        rows = np.sort(rows[np.argsort(-weight[rows], kind="stable")[:MOST_LEARNT]])
        found = np.zeros((len(self.known) - len(learnt), learnt.shape[1]), dtype=np.float32)
        if not len(rows):
            return found
        kernel = self._kernel(rows, rows, width)
        kernel[np.diag_indices(len(kernel))] += ridge
        factor = scipy.linalg.cho_factor(kernel, lower=True, overwrite_a=True)
        solved = scipy.linalg.cho_solve(factor, np.asarray(learnt[rows], dtype=np.float32))
        for start in range(0, len(found), BLOCK):
            others = np.arange(start, min(start + BLOCK, len(found)))
            found[others] = self._kernel(len(learnt) + others, rows, width) @ solved
        return found

    def _kernel(
        self, some: NDArray[np.int64], others: NDArray[np.int64], width: float
    ) -> NDArray[np.float32]:
        """exp(-|x - y|² / 2 width²) (1 + AMOUNT a.b) + MEAN, for features of length one."""
        product = (self.features[some] @ self.features[others].T).todense()
        kernel = np.asarray(product, dtype=np.float32)
        kernel -= 1
        kernel /= np.float32(width * width)
        np.exp(kernel, out=kernel)
        kernel *= 1 + np.float32(AMOUNT) * (self.amounts[some] @ self.amounts[others].T)
        kernel += np.float32(MEAN)
        return kernel

    def alike(self, touched: int) -> sparse.csr_matrix:
        """The touched items that stand for each other item in a history `[others, touched]`.

        They are the nearest by the cosine of their content, and their weights sum to one.
        """
        wanted, others = self.features[:touched], self.features[touched:]
        most = min(STANDS_FOR, touched)
        parts = []
        for start in range(0, others.shape[0], BLOCK):
            near = np.asarray((others[start : start + BLOCK] @ wanted.T).todense())
            best = np.argsort(-near, axis=1, kind="stable")[:, :most]
            weight = np.maximum(np.take_along_axis(near, best, axis=1), 0)
            weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)
            rows = np.repeat(np.arange(len(near)), most)
            shape = (len(near), touched)
            part = sparse.csr_matrix((weight.ravel(), (rows, best.ravel())), shape=shape)
            part.eliminate_zeros()
            parts.append(part)
        return sparse.csr_matrix(sparse.vstack(parts)) if parts else nothing(touched)


def nothing(width: int) -> sparse.csr_matrix:
    """A sparse matrix without rows."""
    return sparse.csr_matrix((0, width))


def csr_arrays(matrix: sparse.csr_matrix) -> dict[str, NDArray[Any]]:
    """What `csr_of` reads."""
    indices, indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64)
    return {"data": matrix.data.astype(np.float32), "indices": indices, "indptr": indptr}


def csr_of(arrays: Mapping[str, NDArray[Any]], width: int) -> sparse.csr_matrix:
    """The sparse matrix of that many columns out of what `csr_arrays` gave."""
    parts = (arrays["data"], arrays["indices"], arrays["indptr"])
    return sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, width))


def _tfidf(bags: Sequence[set[str]]) -> sparse.csr_matrix:
    """The TF-IDF of each bag, of length one."""
    count = Counter(token for bag in bags for token in bag)
    idf = np.log(max(len(bags), 1) / np.array([count[token] for token in sorted(count)])) + 1
    return _of_length_one(sparse.csr_matrix(_ones(bags, sorted(count)) @ sparse.diags(idf)))


def _ones(bags: Iterable[set[str]], names: Sequence[str]) -> sparse.csr_matrix:
    """1 where a bag holds a name `[bags, names]`."""
    number: Mapping[str, int] = {name: column for column, name in enumerate(names)}
    rows = [sorted(number[name] for name in bag if name in number) for bag in bags]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    columns = np.fromiter((column for row in rows for column in row), np.int64, int(starts[-1]))
    return sparse.csr_matrix(
        (np.ones(len(columns)), columns, starts.astype(np.int64)), shape=(len(rows), len(names))
    )


def _of_length_one(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    size = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(size, 1e-12)) @ rows)


def categories_of(catalogue: Batch, number: Mapping[str, int]) -> dict[str, list[int]]:
    """The item numbers of each category."""
    found: dict[str, set[int]] = {}
    for item, categories in zip(catalogue["item_id"], catalogue["categories"], strict=True):
        for category in categories:
            found.setdefault(category, set()).add(number[str(item)])
    return {category: sorted(found[category]) for category in sorted(found)}
