"""Rows in memory: whole, in passes, shuffled."""

import numpy as np

from cluster.base.batch import length, objects
from cluster.contract.rows import Resident

ROWS = Resident({"n": np.arange(10), "word": objects(map(str, range(10)))})


def test_a_pass_holds_every_row_in_order() -> None:
    parts = list(ROWS.batches(4))
    assert [length(part) for part in parts] == [4, 4, 2]
    assert [n for part in parts for n in part["n"]] == list(range(10))
    assert length(ROWS.whole()) == ROWS.count == 10
    assert ROWS.resident


def test_a_shuffled_pass_gives_full_batches_of_different_rows() -> None:
    parts = list(ROWS.shuffled(4, seed=3))
    seen = [n for part in parts for n in part["n"]]
    assert [length(part) for part in parts] == [4, 4]
    assert len(set(seen)) == 8
    assert all(str(n) == word for part in parts for n, word in zip(*part.values(), strict=True))


def test_the_seed_decides_the_order() -> None:
    one, same, other = (
        [n for part in ROWS.shuffled(5, seed=seed) for n in part["n"]] for seed in (1, 1, 2)
    )
    assert one == same != other


def test_fewer_rows_than_a_batch_make_no_full_batch() -> None:
    assert list(ROWS.shuffled(11, seed=0)) == []
