"""What is written of an item becomes numbers, and those become the vector that nobody gave it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.base.batch import objects
from recsys._content import Content, csr_arrays, csr_of

NAMES = ["a", "b", "c", "d"]
TITLES = {
    "item_id": objects(["d", "a", "b"]),
    "title": objects(["Red kite", "A red kite", "Blue boat (1995)"]),
    "categories": objects([["toy"], ["toy"], []]),
    "event_time": np.zeros(3, dtype="M8[us]"),
}


def vectors(content: Content, learnt: NDArray[np.float64]) -> NDArray[np.float32]:
    return content.vectors(learnt, np.ones(len(learnt)), ridge=0.1, width=0.6)


def test_items_that_are_written_of_alike_get_vectors_alike() -> None:
    learnt = np.array([[1.0, 0.0], [0.0, 1.0]])
    content = Content.of([TITLES], NAMES)
    assert content.known.tolist() == [True, True, False, True]
    nothing_known, kite = vectors(content, learnt)
    assert kite[0] > kite[1] + 0.3
    assert nothing_known[0] == pytest.approx(nothing_known[1], abs=0.1)
    assert nothing_known[0] > 0.1


def test_no_content_at_all_gives_vectors_of_zero() -> None:
    content = Content.of([], NAMES)
    assert vectors(content, np.ones((3, 2))).tolist() == [[0.0, 0.0]]
    assert content.alike(3).toarray().tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("ragged", [False, True])
def test_a_vector_counts_by_its_direction_and_an_item_without_one_has_zeros(
    ragged: bool,  # noqa: FBT001
) -> None:
    rows = np.array([[3.0, 4.0], [0.0, 2.0]], dtype=np.float32)
    image = objects(rows) if ragged else rows
    content = Content.of([{"item_id": objects(["b", "c"]), "image": image}], NAMES)
    assert content.features.toarray() == pytest.approx(
        np.array([[0, 0], [0.6, 0.8], [0, 1], [0, 0]])
    )


def test_numbers_count_by_their_tenth() -> None:
    names = [f"i{number}" for number in range(40)]
    price = np.arange(40.0)
    content = Content.of([{"item_id": objects(names), "price": price}], names)
    learnt = (price[:38, None] > 19).astype(float)
    assert vectors(content, learnt).ravel() == pytest.approx([1, 1], abs=0.2)


def test_an_item_of_which_more_is_said_counts_for_more_where_such_items_are_liked() -> None:
    names = [f"i{number}" for number in range(42)]
    tags = [["old", "slow", "grim"] if number % 2 else ["old"] for number in range(42)]
    content = Content.of([{"item_id": objects(names), "tags": objects(tags)}], names)
    little, much = vectors(content, np.array([[number % 2] for number in range(40)], float))
    assert much[0] > 0.7
    assert little[0] < 0.3


def test_the_items_that_stand_for_another_are_those_most_like_it() -> None:
    stands = Content.of([TITLES], NAMES).alike(2)
    assert stands.toarray()[0].tolist() == [0, 0]
    assert stands.toarray()[1].argmax() == 0
    assert stands.toarray()[1].sum() == pytest.approx(1)
    again = csr_of(csr_arrays(stands), 2)
    assert again.toarray() == pytest.approx(stands.toarray())
