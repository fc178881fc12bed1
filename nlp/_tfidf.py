"""Weigh hashed n-grams by TF-IDF: sparse features for linear models and for comparing texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cluster.linear import svm_answers
from nlp._grams import AT_ONCE, Grams

WORDS = Grams(words=(1, 2), chars=(1, 0))
CHARS = Grams(words=(1, 0), chars=(2, 5))


@dataclass(frozen=True)
class TfIdf:
    """TF-IDF of one kind of n-grams (Salton and Buckley 1988), each row of unit length.

    A term counts 1 + log of its number in the text, as in scikit-learn's `sublinear_tf`. A text
    without a known n-gram is a row of zeros.

    Args:
        grams: which n-grams.
        buckets: those that the training texts hold, ascending `[size]`.
        rarity: the inverse document frequency of each `[size]`.
    """

    grams: Grams
    buckets: NDArray[np.int64]
    rarity: NDArray[np.float32]

    @classmethod
    def learn(cls, grams: Grams, texts: Iterable[Sequence[str]]) -> Self:
        """Count in how many texts each n-gram occurs.

        Args:
            grams: which n-grams.
            texts: in batches.
        """
        held, rows = np.zeros(1 << grams.bits, np.int64), 0
        for batch in texts:
            held += grams.count(batch)
            rows += len(batch)
        buckets = np.flatnonzero(held)
        rarity = np.log((1 + rows) / (1 + held[buckets])) + 1
        return cls(grams, buckets, rarity.astype(np.float32))

    def features(self, texts: Sequence[str]) -> Any:
        """One row a text `[n, size]`, sparse."""
        blocks = [
            self._features(texts[start : start + AT_ONCE])
            for start in range(0, max(1, len(texts)), AT_ONCE)
        ]
        return sparse.vstack(blocks, format="csr")

    def _features(self, texts: Sequence[str]) -> Any:
        row, bucket = self.grams.hash(texts)
        place = np.searchsorted(self.buckets, bucket)
        place[place == len(self.buckets)] = 0
        known = self.buckets[place] == bucket if len(self.buckets) else np.zeros(0, bool)
        shape = (len(texts), len(self.buckets))
        ones = np.ones(int(known.sum()), np.float32)
        counts = sparse.csr_matrix((ones, (row[known], place[known])), shape=shape)
        counts.sum_duplicates()
        counts.data = (1 + np.log(counts.data)) * self.rarity[counts.indices]
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        counts.data /= np.repeat(np.where(length > 0, length, 1), np.diff(counts.indptr))
        return counts


def svm_reference(
    train: Sequence[str], labels: Sequence[str], test: Sequence[str]
) -> tuple[str, list[str]]:
    """The labels that a linear SVM on TF-IDF gives to `test`, and what to call it."""
    tfidf = TfIdf.learn(WORDS, [train])
    answers = svm_answers(tfidf.features(train), labels, tfidf.features(test))
    return "a linear SVM on TF-IDF of words and word pairs", answers
