"""Labels to numbers, logits to labels."""

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.contract.labels import as_numbers, guesses, labels_of, macro_f1


def test_labels_are_sorted_and_must_be_two() -> None:
    assert labels_of({"b", "a"}) == ["a", "b"]
    with pytest.raises(InvalidInput, match=r"All rows have the same label, 'a'."):
        labels_of({"a"})
    with pytest.raises(InvalidInput, match=r"No row has a label."):
        labels_of([])


def test_labels_become_their_numbers_and_an_unseen_one_is_named() -> None:
    numbers = as_numbers(objects(["b", "a", "b"]), ["a", "b"])
    assert numbers.tolist() == [1, 0, 1]
    assert numbers.dtype == np.int64
    with pytest.raises(InvalidInput, match=r"The label 'c' was not seen in training."):
        as_numbers(objects(["a", "c"]), ["a", "b"])


def test_the_likeliest_come_first_as_many_as_each_row_asks_for() -> None:
    logits = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]).astype(np.float32)
    first, second = guesses(logits, ["a", "b", "c"], [9, 1])
    assert [label for label, _ in first] == ["b", "c", "a"]
    assert [chance for _, chance in first] == pytest.approx([0.5, 0.3, 0.2])
    ((label, chance),) = second
    assert label == "c"
    assert chance == pytest.approx(0.8)


def test_labels_that_are_equally_likely_stand_in_their_own_order() -> None:
    assert [name for name, _ in guesses(np.zeros((1, 3)), ["a", "b", "c"], [3])[0]] == list("abc")


def test_huge_logits_are_chances_too() -> None:
    ((label, chance),) = guesses(np.array([[3e38, -3e38]], np.float32), ["a", "b"], [1])[0]
    assert (label, chance) == ("a", 1.0)


def test_macro_f1_weighs_each_label_alike() -> None:
    truth, answers = ["a", "a", "a", "b"], ["a", "a", "b", "b"]
    assert macro_f1(truth, answers) == pytest.approx((0.8 + 2 / 3) / 2)
    assert macro_f1(truth, truth) == 1.0
    assert macro_f1([], []) == 0.0
