"""Fit a linear classifier with scikit-learn and keep it as two plain arrays."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 1_000


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
    solver = LinearSVC(C=c, random_state=seed, max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # a weaker model is a model all the same
        solver.fit(features, numbers)
    coefficients, intercepts = solver.coef_, solver.intercept_
    if len(seen) == 2:  # the solver keeps one direction; half of it speaks for each class
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights[:, seen], bias[seen] = coefficients.T, intercepts
    return Linear(weights, bias)


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
