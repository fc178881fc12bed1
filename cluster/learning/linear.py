"""Fit a linear classifier with scikit-learn and keep it as two plain arrays."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.1  # LIBLINEAR's own; scikit-learn's 1e-4 takes up to 1.4 times as long
ITERATIONS = 300  # LIBLINEAR's passes; where labels are often wrong it would go on for long


@dataclass(frozen=True)
class Linear:
    """A linear classifier: `features @ weights + bias` are its scores.

    Args:
        weights: `[features, classes]`.
        bias: `[classes]`.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def scores(self, features: Any) -> NDArray[np.float64]:
        """One score a class `[n, classes]`, of a dense or a sparse matrix `[n, features]`."""
        return np.asarray(features @ self.weights, np.float64) + self.bias

    def scaled(self, factor: float) -> "Linear":
        """The same answers with scores that are `factor` times as large."""
        weights, bias = (array * np.float32(factor) for array in (self.weights, self.bias))
        return Linear(np.asarray(weights), np.asarray(bias))


def mean_of(models: Sequence[Linear]) -> Linear:
    """The model whose scores are the mean of theirs."""
    if len(models) == 1:
        return models[0]
    weights: Any = np.mean([model.weights for model in models], axis=0, dtype=np.float32)
    bias: Any = np.mean([model.bias for model in models], axis=0, dtype=np.float32)
    return Linear(weights, bias)


def fit_svm(
    features: Any, numbers: NDArray[np.int64], classes: int, *, c: float = 1.0, seed: int = 0
) -> Linear:
    """A linear support vector machine, one class against the rest (Fan et al. 2008, LIBLINEAR).

    Args:
        features: `[n, features]`, dense or sparse; about unit length a row suits `c` of 1.
        numbers: the class of each row `[n]`.
        classes: how many there are; those without a row are never answered.
        c: the inverse of the strength of regularisation.
        seed: orders the rows that the solver visits.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - training alone needs it
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    seen = np.unique(numbers)
    weights = np.zeros((features.shape[1], classes), np.float32)
    bias = np.full(classes, -np.inf, np.float32)
    if len(seen) == 1:
        bias[seen] = 0
        return Linear(weights, bias)
    solver = LinearSVC(C=c, tol=TOLERANCE, random_state=seed, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # a weaker model is a model all the same
        solver.fit(features, numbers)
    linear = Linear(solver.coef_.T, solver.intercept_)
    if len(seen) == 2:
        linear = two_sided(linear.weights, linear.bias)
    weights[:, seen], bias[seen] = linear.weights, linear.bias
    return Linear(weights, bias)


def two_sided(weights: NDArray[Any], bias: NDArray[Any]) -> Linear:
    """A model of two classes from one direction `[features, 1]`: half of it speaks for each."""
    both = np.concatenate([-weights, weights], axis=1) / 2, np.concatenate([-bias, bias]) / 2
    return Linear(both[0].astype(np.float32), both[1].astype(np.float32))


def svm_answers(train: Any, labels: Sequence[str], test: Any, *, seed: int = 0) -> list[str]:
    """The labels that a linear SVM gives the rows of `test` after learning those of `train`.

    Args:
        train: features `[n, features]`, dense or sparse, of about unit length.
        labels: the label of each row of `train`.
        test: features `[m, features]`.
        seed: orders the rows that the solver visits.
    """
    names, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    linear = fit_svm(train, numbers, len(names), seed=seed)
    answers: list[str] = names[linear.scores(test).argmax(axis=1)].tolist()
    return answers


def folds_of(
    numbers: NDArray[np.int64], contents: NDArray[np.int64], count: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """The fold of each row `[n]`, from 0; each class is spread evenly over the folds.

    Args:
        numbers: the class of each row.
        contents: rows with an equal one are copies, and come into one fold.
        count: how many folds.
        seed: which of the possible draws.
    """
    _, first, copy = np.unique(contents, return_index=True, return_inverse=True)
    drawn = np.random.default_rng(seed).random(len(first))
    fold = np.empty(len(first), np.int64)
    fold[np.lexsort((drawn, numbers[first]))] = np.arange(len(first)) % count
    return fold[copy]


def temperature(scores: NDArray[np.float64], numbers: NDArray[np.int64]) -> float:
    """What to multiply scores by, so that their softmax is a probability.

    Temperature scaling of Guo et al. 2017 (arXiv:1706.04599). Labels are smoothed as by Platt
    (1999), or scores that are never wrong would have no bound.

    Args:
        scores: of rows that the model did not learn from `[n, classes]`; minus infinity for a class
            that it learned nothing of, and rows that are truly of that class do not count.
        numbers: the class of each row `[n]`.
    """
    known = np.isfinite(scores[np.arange(len(numbers)), numbers])
    scores, numbers = scores[known], numbers[known]
    if not len(numbers):
        return 1.0
    smooth, possible = 1 / (len(numbers) + 2), np.isfinite(scores)

    def loss(factor: float) -> float:
        logits = scores * factor
        logits = logits - logits.max(axis=1, keepdims=True)
        chances = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        true = chances[np.arange(len(numbers)), numbers]
        mean = chances.mean(axis=1, where=possible)
        return float(-((1 - smooth) * true + smooth * mean).mean())

    return float(min(np.geomspace(0.1, 100, 61), key=loss))
