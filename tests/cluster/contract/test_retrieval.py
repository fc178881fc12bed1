"""Vectors are measured by what is found with them."""

import numpy as np
import pytest

from cluster.contract.retrieval import COMPARED, retrieval


def test_each_row_looks_among_all_others() -> None:
    turn = np.radians([0, 10, 40, 45, 100])
    vectors = np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)
    measured = retrieval(vectors, ["a", "b", "a", "b", "c"])  # c is alone and does not look
    assert measured["recall_at_1"] == 0
    assert measured["recall_at_10"] == 1
    # Where the one of the same label stands: 2nd for the first, 3rd, 3rd, 2nd.
    assert measured["map"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 2) / 4)


def test_vectors_that_part_the_labels_are_perfect_and_others_are_no_better_than_chance() -> None:
    rng = np.random.default_rng(0)
    labels = [str(number % 10) for number in range(2_000)]
    parted = np.eye(10, dtype=np.float32)[np.arange(2_000) % 10]
    assert set(retrieval(parted, labels).values()) == {1.0}
    drawn = rng.normal(size=(2_000, 8)).astype(np.float32)
    assert retrieval(drawn, labels)["recall_at_1"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.slow
def test_many_rows_are_measured_on_some_of_them_always_the_same() -> None:
    rng = np.random.default_rng(0)
    labels = [str(number % 3) for number in range(COMPARED + 500)]
    vectors = rng.normal(size=(len(labels), 4)).astype(np.float32)
    assert retrieval(vectors, labels) == retrieval(vectors, labels)


def test_where_no_two_rows_share_a_label_nothing_is_found() -> None:
    vectors = np.eye(3, dtype=np.float32)
    nothing = {"recall_at_1": 0.0, "recall_at_10": 0.0, "map": 0.0}
    assert retrieval(vectors, ["a", "b", "c"]) == nothing
    assert retrieval(vectors[:0], []) == nothing
