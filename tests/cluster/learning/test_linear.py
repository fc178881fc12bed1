"""Linear classifiers: few classes and many, dense features and sparse, and one class only."""

import numpy as np
import pytest
from scipy import sparse

from cluster.learning.linear import fit_svm, folds_of, svm_answers, temperature

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


def test_folds_spread_each_class_and_keep_copies_together() -> None:
    numbers = np.array([0] * 40 + [1] * 10 + [0] * 10)
    contents = np.array([*range(50), *range(10)])
    fold = folds_of(numbers, contents, 5)
    assert [np.bincount(fold[:50], weights=numbers[:50] == c).tolist() for c in (0, 1)] == [
        [8.0] * 5,
        [2.0] * 5,
    ]
    assert fold[50:].tolist() == fold[:10].tolist()


def test_the_temperature_makes_probabilities_as_sure_as_they_are_right() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 2_000)
    right = rng.random(2_000) < 0.8
    answer = np.where(right, truth, 1 - truth)
    scores = np.stack([-(answer - 0.5), answer - 0.5], axis=1)  # always as far apart
    logits = scores * temperature(scores, truth)
    chance = 1 / (1 + np.exp(-(logits.max(axis=1) - logits.min(axis=1))))
    assert chance.mean() == pytest.approx(0.8, abs=0.03)


def test_a_class_that_was_not_learned_does_not_change_the_temperature_of_the_others() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    wanted = temperature(scores, truth)
    assert wanted != 1.0
    unlearned = np.append(np.column_stack([scores, np.full(200, -np.inf)]), [[0, 0, -np.inf]], 0)
    assert temperature(unlearned, np.append(truth, 2)) == wanted


def test_scores_that_are_never_wrong_have_a_bounded_temperature() -> None:
    scores = np.array([[0.5, -0.5], [-0.5, 0.5]] * 50)
    assert temperature(scores, np.array([0, 1] * 50)) < 20
    assert temperature(np.full((2, 2), -np.inf), np.array([0, 1])) == 1.0
