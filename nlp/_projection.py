"""Turn texts into vectors by a linear projection of TF-IDF: what an SVM says, and topics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contract import Arrays, Rows, Run
from cluster.learning.linear import Linear, fit_svm
from cluster.neural import State
from nlp._linear import LARGEST, Shown, gather, grams_of, step_for, weigh
from nlp._reading import ReadingConfig, say_unused
from nlp._tfidf import TfIdf, arrays_of, features_of

WEIGHT = 4.0  # of what the SVM says of a training row, beside its topics
TOPICS_FROM = 10_000  # rows: more change topics little


class Projection:
    """Two projections side by side: what an SVM says of the labels, and what a text is about.

    Topics are brought to unit length first. What the SVM says is not: where it is sure, labels
    decide who is near, and where it is not, topics do.

    Args:
        tfidf: the features.
        speaks: for the labels, as an SVM weighs features `[size, some]`; without columns where
            labels are not learned from.
        topics: of the texts, whatever their labels `[size, the others]`.
    """

    def __init__(self, tfidf: Sequence[TfIdf], speaks: Linear, topics: NDArray[np.float32]) -> None:
        self.tfidf, self.speaks, self.topics = tfidf, speaks, topics

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of unit length `[n, dim]`, of zeros for a text without a known n-gram."""
        features = features_of(self.tfidf, texts)
        topics = _unit(np.asarray(features @ self.topics))
        both = _unit(np.concatenate([self.speaks.scores(features), topics], axis=1))
        both[np.diff(features.indptr) == 0] = 0
        return both.astype(np.float32)

    def state(self) -> Arrays:
        """The arrays that `restore` needs."""
        model = {"weights": self.speaks.weights, "bias": self.speaks.bias, "topics": self.topics}
        return {**model, **arrays_of(self.tfidf)}

    @classmethod
    def restore(cls, config: ReadingConfig, state: Mapping[str, Any]) -> "Projection":
        """The projection of a state."""
        tfidf = TfIdf.restore(grams_of(config), state)
        return cls(tfidf, Linear(state["weights"], state["bias"]), state["topics"])


def learn(
    config: ReadingConfig,
    labels: Sequence[str],
    train: Rows,
    run: Run,
    *,
    dim: int,
    supervised: bool,
) -> State | None:
    """Learn from the rows of all workers: the state to save, the same on every worker.

    Args:
        config: which n-grams.
        labels: all of them.
        train: this worker's rows.
        run: the workers agree through it.
        dim: how many numbers a vector has.
        supervised: whether labels are learned from; topics alone are without them.
    """
    kinds = len(grams_of(config))
    tfidf, entries = weigh(config, train, run, most=min(config.vocabulary, LARGEST // dim // kinds))
    step = step_for(entries, len(labels) if supervised else 1, config, run)
    if step is None:
        return None
    say_unused(config, run)
    shown = gather(tfidf, labels, train, run, step=step)
    classes = len(labels) if supervised else 0
    projected = _fitted(shown, classes, dim, run.seed) if shown else None
    speaks, topics = run.agree(projected)
    return {"labels": list(labels), **Projection(tfidf, speaks, topics).state()}


def _fitted(shown: Shown, classes: int, dim: int, seed: int) -> tuple[Linear, NDArray[np.float32]]:
    """What speaks for labels in three quarters of the dimensions at most, topics in the others.

    Of more labels all dimensions are theirs: a random orthogonal projection of what the SVM says
    keeps distances (Johnson and Lindenstrauss 1984), and the commonest topics would blur them.
    """
    size = shown.features.shape[1]
    empty = Linear(np.zeros((size, 0), np.float32), np.zeros(0, np.float32))
    speaks, rest = empty, dim
    if classes:
        turn = np.eye(classes) - 1 / classes  # what all labels share tells none of them
        rest = dim - classes if classes <= dim * 3 / 4 else 0
        if not rest:
            drawn = np.random.default_rng(seed).standard_normal((classes, dim))
            across = np.linalg.qr(drawn)[0] if classes >= dim else np.linalg.qr(drawn.T)[0].T
            turn = turn @ across
        svm = fit_svm(shown.features, shown.numbers, classes, seed=seed)
        # a label may have no row where some are left out: its bias is then minus infinity
        bias = np.where(np.isfinite(svm.bias), svm.bias, np.float32(-1))
        speaks = Linear(svm.weights @ turn.astype(np.float32), bias @ turn.astype(np.float32))
        spread = np.sqrt((speaks.scores(shown.features) ** 2).sum(axis=1).mean())
        speaks = speaks.scaled(WEIGHT / max(float(spread), 1e-9))
    return speaks, _topics(shown.features, rest, seed)


def _topics(features: Any, dim: int, seed: int) -> NDArray[np.float32]:
    """Latent semantic analysis (Deerwester et al. 1990): the directions in which texts differ most.

    Zeros fill up where there are fewer directions than `dim`.
    """
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - training alone needs it

    rows = np.random.default_rng(seed).permutation(features.shape[0])[:TOPICS_FROM]
    some = min(dim, len(rows), features.shape[1])
    topics = np.zeros((features.shape[1], dim), np.float32)
    if some:
        _, _, directions = randomized_svd(features[rows], some, n_iter=4, random_state=seed)
        topics[:, :some] = directions.T
    return topics


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of length one; those of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
