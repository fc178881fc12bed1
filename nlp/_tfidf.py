"""Weigh hashed n-grams by TF-IDF: sparse features for linear models and for comparing texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cluster.contract import Arrays
from cluster.learning.linear import svm_answers
from nlp._grams import AT_ONCE, Grams

WORDS = Grams(words=(1, 2), chars=(1, 0))


@dataclass(frozen=True)
class TfIdf:
    """TF-IDF of one kind of n-grams (Salton and Buckley 1988), each row of unit length.

    A term counts 1 + log of its number in the text, as in scikit-learn's `sublinear_tf`. A text
    without a known n-gram is a row of zeros.

    Args:
        grams: which n-grams.
        buckets: those that are known, ascending `[size]`.
        rarity: the inverse document frequency of each `[size]`.
    """

    grams: Grams
    buckets: NDArray[np.int32]
    rarity: NDArray[np.float32]

    @classmethod
    def of(
        cls, grams: Grams, buckets: NDArray[np.int64], held: NDArray[np.int64], rows: int
    ) -> Self:
        """From how many of the training texts hold each bucket.

        Args:
            grams: which n-grams.
            buckets: those that are known, ascending `[size]`.
            held: how many texts hold each of them `[size]`.
            rows: how many texts there are.
        """
        rarity = np.log((1 + rows) / (1 + held)) + 1
        return cls(grams, buckets.astype(np.int32), rarity.astype(np.float32))

    @classmethod
    def learn(cls, grams: Grams, texts: Sequence[str]) -> Self:
        """From all n-grams of the texts."""
        held = grams.count(texts)
        buckets = np.flatnonzero(held)
        return cls.of(grams, buckets, held[buckets], len(texts))

    @classmethod
    def restore(cls, kinds: Sequence[Grams], state: Mapping[str, Any]) -> list[Self]:
        """Those of several kinds of n-grams, from what `arrays_of` gave."""
        return [
            cls(grams, state[f"buckets_{number}"], state[f"rarity_{number}"])
            for number, grams in enumerate(kinds)
        ]

    def features(self, texts: Sequence[str]) -> Any:
        """One row a text `[n, size]`, sparse float32."""
        from scipy import sparse  # noqa: PLC0415 - 14 MB that networks do without

        blocks = [
            self._features(texts[start : start + AT_ONCE])
            for start in range(0, max(1, len(texts)), AT_ONCE)
        ]
        return sparse.vstack(blocks, format="csr")

    def _features(self, texts: Sequence[str]) -> Any:
        from scipy import sparse  # noqa: PLC0415 - 14 MB that networks do without

        row, bucket = self.grams.hash(texts)
        place = self._table[bucket]
        known = place >= 0
        shape = (len(texts), len(self.buckets))
        ones = np.ones(np.count_nonzero(known), np.float32)
        counts: Any = sparse.csr_matrix((ones, (row[known], place[known])), shape=shape)
        counts.sum_duplicates()
        counts.data = (1 + np.log(counts.data)) * self.rarity[counts.indices]
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        counts.data /= np.repeat(np.where(length > 0, length, 1), np.diff(counts.indptr))
        return counts

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        """The column of each bucket, -1 for those that are not known."""
        table = np.full(1 << self.grams.bits, -1, np.int32)
        table[self.buckets] = np.arange(len(self.buckets))
        return table


def arrays_of(tfidf: Sequence[TfIdf]) -> Arrays:
    """The arrays to save."""
    arrays: Arrays = {}
    for number, part in enumerate(tfidf):
        arrays |= {f"buckets_{number}": part.buckets, f"rarity_{number}": part.rarity}
    return arrays


def features_of(tfidf: Sequence[TfIdf], texts: Sequence[str]) -> Any:
    """Features side by side `[n, size]`, sparse; each kind of n-gram weighs the same."""
    from scipy import sparse  # noqa: PLC0415 - 14 MB that networks do without

    blocks = [part.features(texts) for part in tfidf]
    return sparse.hstack(blocks, format="csr") * np.float32(len(blocks) ** -0.5)


def svm_reference(
    train: Sequence[str], labels: Sequence[str], test: Sequence[str]
) -> tuple[str, list[str]]:
    """The labels that a linear SVM on TF-IDF gives to `test`, and what to call it."""
    tfidf = TfIdf.learn(WORDS, train)
    answers = svm_answers(tfidf.features(train), labels, tfidf.features(test))
    return "a linear SVM on TF-IDF of words and word pairs", answers
