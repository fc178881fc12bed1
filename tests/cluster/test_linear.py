"""Linear classifiers: few classes and many, dense features and sparse, and one class only."""

import numpy as np
import pytest
from scipy import sparse

from cluster.linear import fit_svm, svm_answers

POINTS = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0.1, 0.9, 0], [0, 0, 1], [0, 0.1, 0.9]])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("made", [np.array, sparse.csr_matrix], ids=["dense", "sparse"])
def test_it_learns_classes_that_a_plane_parts(classes: int, made: type) -> None:
    labels = [f"c{row // 2}" for row in range(2 * classes)]
    features = made(POINTS[: len(labels)])
    assert svm_answers(features, labels, features) == labels


def test_a_class_without_a_row_is_never_answered() -> None:
    linear = fit_svm(POINTS[:4], np.array([0, 0, 2, 2]), 3)
    assert set(linear.scores(POINTS).argmax(axis=1)) <= {0, 2}


def test_rows_of_one_class_are_answered_with_it() -> None:
    assert svm_answers(POINTS, ["x"] * 6, POINTS[:2]) == ["x", "x"]


def test_the_same_seed_gives_the_same_weights() -> None:
    numbers = np.array([0, 0, 1, 1, 2, 2])
    one, other = (fit_svm(POINTS, numbers, 3, seed=5) for _ in range(2))
    assert np.array_equal(one.weights, other.weights)
