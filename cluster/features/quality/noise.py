"""Find rows whose label a linear model doubts that never saw them: confident learning."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 4
FEWEST = FOLDS
"""How many rows a label needs to be doubted: each fold must have seen it."""
ITERATIONS = 60
MOST_WEIGHTS = 10_000_000
"""Weights of the model: labels by features. It needs some 250 bytes for each while it learns."""


def out_of_fold(features: Any, labels: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.float64]:
    """What a logistic regression that never saw a row thinks of each label `[n, labels]`.

    Args:
        features: `[n, features]`, sparse.
        labels: the number of each row's label `[n]`; each has `FEWEST` rows or more.
        seed: draws the folds.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - takes a second
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415

    with warnings.catch_warnings():
        # stopped early it is a weaker model, and a calmer one
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(
            cross_val_predict(
                LogisticRegression(C=10.0, max_iter=ITERATIONS),
                features,
                labels,
                cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
                method="predict_proba",
            )
        )


def doubted(chances: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows whose label is likely wrong, the likeliest first.

    Confident learning (Northcutt, Jiang and Chuang 2021, doi:10.1613/jair.1.12125): a label's
    threshold is the mean chance that rows of it are given for it; a row counts for the likeliest of
    the labels whose thresholds it reaches, and is doubted where that is another than its own.

    Args:
        chances: out of fold `[n, labels]`.
        labels: as given `[n]`.
    """
    every = np.arange(len(labels))
    own = chances[every, labels]
    thresholds = np.bincount(labels, own) / np.maximum(1, np.bincount(labels))
    reached = np.where(chances >= thresholds, chances, -1.0)
    likeliest = reached.argmax(axis=1)
    odd = np.flatnonzero((reached.max(axis=1) > 0) & (likeliest != labels))
    margin = own[odd] - chances[odd, likeliest[odd]]
    return odd[np.argsort(margin, kind="stable")]
