"""The nearest vectors, against what sorting all of them gives."""

import re
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cluster.base.errors import InvalidInput
from cluster.features.vectors.nearest import MOST, Vectors

Floats = NDArray[np.float32]


def unit(count: int, size: int = 8, *, seed: int = 0) -> Floats:
    """Clustered vectors of unit length, as learnt ones are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(12, size))
    rows = centres[rng.integers(0, len(centres), count)] + 0.4 * rng.normal(size=(count, size))
    made: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return made


def by_sorting(held: dict[str, Floats], query: Floats, k: int) -> list[str]:
    """The definition: all keys by how alike they are, then by key."""
    wide = query.astype(np.float64)
    alike = {key: float((row.astype(np.float64) * wide).sum()) for key, row in held.items()}
    return sorted(alike, key=lambda key: (-alike[key], key))[:k]


few = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])  # so that many are equally alike
writes = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from("abcdefgh"), st.tuples(few, few), min_size=1),
        st.sets(st.sampled_from("abcdefghx")),
    ),
    max_size=12,
)


@given(writes, st.tuples(few, few), st.integers(1, 10))
def test_they_are_those_that_sorting_gives_whatever_was_put_and_removed(
    done: list[Any], asked: tuple[float, float], k: int
) -> None:
    vectors, held = Vectors(2), dict[str, Floats]()
    for write in done:
        if isinstance(write, set):
            vectors.remove(write)
            held = {key: row for key, row in held.items() if key not in write}
        else:
            rows = np.array(list(write.values()), np.float32)
            vectors.put(list(write), rows)
            held |= dict(zip(write, rows, strict=True))
    query = np.array(asked, np.float32)
    (keys,), (scores,) = vectors.nearest(query[None], k)
    assert keys == by_sorting(held, query, k)
    assert scores == [float(held[key] @ query) for key in keys]
    assert len(vectors) == len(held)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 20))
def test_real_vectors_are_found_in_their_order_alone_and_together(seed: int, k: int) -> None:
    rows, asked = unit(500, seed=seed), unit(9, seed=seed + 1)
    rows[100:200] = rows[:100]
    held = {f"k{number}": row for number, row in enumerate(rows)}
    vectors = Vectors.of(list(held), rows)
    keys, scores = vectors.nearest(asked, k)
    assert keys == [by_sorting(held, query, k) for query in asked]
    for number in range(len(asked)):
        assert vectors.nearest(asked[number : number + 1], k) == (
            [keys[number]],
            [scores[number]],
        )


def recall(vectors: Vectors, held: dict[str, Floats], asked: Floats) -> float:
    """The share of the ten nearest that are found."""
    keys, _ = vectors.nearest(asked, 10)
    right = [{*by_sorting(held, query, 10)} for query in asked]
    return float(
        np.mean([len(r & {*found}) / len(r) for r, found in zip(right, keys, strict=True)])
    )


@pytest.mark.slow
def test_an_index_finds_nearly_all_and_is_kept_current() -> None:
    rows, asked = unit(6_000), unit(40, seed=5)
    held = {f"k{number}": row for number, row in enumerate(rows)}
    vectors = Vectors.of(list(held), rows, exact_to=1_000)
    assert vectors._index is not None
    assert recall(vectors, held, asked) > 0.95
    late = {f"k{number}": row for number, row in enumerate(unit(600, seed=7), 5_700)}
    vectors.put(list(late), np.stack([*late.values()]))
    vectors.remove(f"k{number}" for number in range(300))
    held = {key: row for key, row in (held | late).items() if int(key[1:]) >= 300}
    assert len(vectors) == len(held) == 6_000
    assert recall(vectors, held, asked) > 0.95
    keys, _ = vectors.nearest(np.stack([*held.values()])[:50], 1)
    assert [key for (key,) in keys] == list(held)[:50]


def test_an_index_comes_grows_and_goes_with_the_number_of_vectors() -> None:
    rows = unit(900)
    keys = [f"k{number}" for number in range(len(rows))]
    vectors = Vectors.of(keys[:200], rows[:200], exact_to=200)
    assert vectors._index is None
    vectors.put(keys[200:300], rows[200:300])
    first = vectors._index
    assert first is not None
    vectors.put(keys[300:600], rows[300:600])
    assert vectors._index is first
    vectors.put(keys[600:], rows[600:])
    assert vectors._index is not first
    vectors.remove(keys[100:])
    assert vectors._index is None
    assert vectors.nearest(rows[:1], 1)[0] == [["k0"]]


@pytest.mark.parametrize("exact_to", [10_000, 50])
def test_readers_see_all_or_nothing_of_a_write(exact_to: int) -> None:
    one, other = unit(200, seed=1), unit(200, seed=2)
    keys = [f"k{number:03}" for number in range(200)]
    vectors = Vectors.of(keys, one, exact_to=exact_to)
    stop, seen = threading.Event(), list[bool]()

    def write() -> None:
        for turn in range(60):
            vectors.put(keys, other if turn % 2 else one)
            vectors.put(["late"], -one[:1])  # the farthest there is, never the nearest
            vectors.remove(["late"])
        stop.set()

    def read() -> None:
        right = [sorted(map(float, rows @ one[0]))[-1] for rows in (one, other)]
        while not stop.is_set():
            (found,), (scores,) = vectors.nearest(one[:1], 1)
            seen.append(found[0] in keys and min(abs(scores[0] - r) for r in right) < 1e-6)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    write()
    for reader in readers:
        reader.join()
    assert seen
    assert all(seen)
    assert len(vectors) == 200


def test_nothing_is_found_among_nothing() -> None:
    assert Vectors(4).nearest(np.zeros((2, 4)), 3) == ([[], []], [[], []])
    assert Vectors.of([], np.zeros((0, 4))).nearest(np.zeros((0, 4)), 3) == ([], [])
    assert "a" in Vectors.of(["a"], np.ones((1, 2)))


@pytest.mark.parametrize(
    ("asked", "k", "sentence"),
    [
        (np.zeros((1, 3)), 1, "An array of float64 with shape (1, 3) holds no queries. Give numb"),
        (np.zeros(4), 1, "with shape (4,) holds no queries. Give numbers of n x 4."),
        (np.array([["a"] * 4]), 1, "holds no queries."),
        (np.full((1, 4), np.nan), 1, "Of the queries, the one at 0 holds a number that is not fi"),
        (np.full((1, 4), 1e39), 1, "not finite in 32 bits. Leave it out."),
        (np.zeros((1, 4)), 0, "0 nearest cannot be asked for. Ask for 1 to 1,000."),
        (np.zeros((1, 4)), MOST + 1, "1001 nearest cannot be asked for."),
    ],
)
def test_a_query_that_cannot_be_answered_is_told_why(
    asked: NDArray[Any], k: int, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Vectors.of(["a"], np.ones((1, 4))).nearest(asked, k)


def test_keys_and_vectors_that_do_not_fit_are_refused_and_change_nothing() -> None:
    vectors = Vectors.of(["a"], np.ones((1, 4)))
    with pytest.raises(InvalidInput, match="2 keys came with 1 vectors; give one a key"):
        vectors.put(["b", "c"], np.ones((1, 4)))
    with pytest.raises(InvalidInput, match="Of the vectors, the one at 1 holds"):
        vectors.put(["b", "c"], np.array([[0.0] * 4, [np.inf] * 4]))
    assert len(vectors) == 1
