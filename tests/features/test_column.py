from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.batch import objects
from cluster.features.column import Column, Number, Split, Text, Texts, Time, Whole, times
from cluster.features.digest import digest_rows


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Text(), objects(["a", "ü", "漢字", "a\nb"])),
        (Number(), np.array([1.5, -0.0, 1e300])),
        (Whole(), np.array([1, -(2**62), 7])),
        (Texts(), objects([["a", "b"], [], ["c"]])),
        (Time(), times(["1996-03-29", "2018-09-24T14:27:30.123456"])),
        (Split(), objects(["train", "", "test"])),
    ],
)
def test_what_is_packed_is_unpacked_the_same(column: Column, values: Any) -> None:
    packed = column.pack(values)
    assert packed.type == column.arrow
    back = column.unpack(pa.chunked_array([packed[:1], packed[1:]]))
    assert back.tolist() == values.tolist()
    assert back.dtype == values.dtype
    assert column.size_bytes(packed) > 0


def test_ids_that_are_numbers_become_their_digits() -> None:
    words, faults = Text().admit(np.array([17850.0, 3.0]))
    assert not faults
    assert words.tolist() == ["17850", "3"]
    assert Text().admit(np.array([42]))[0].tolist() == ["42"]


def test_text_that_is_empty_a_list_or_half_a_character_is_refused() -> None:
    _, faults = Text().admit(objects(["ok", " ", None, float("nan"), ["a"], "\udcff"]))
    assert faults == {
        1: "is empty",
        2: "is empty",
        3: "is empty",
        4: "is a list, not text",
        5: "is not valid UTF-8",
    }


def test_numbers_that_are_none_are_refused_with_their_value() -> None:
    numbers, faults = Number().admit(objects(["1.5", "x", "", None, "nan", "inf"]))
    assert numbers[0] == 1.5
    assert faults[1] == "'x' is not a number"
    assert faults[2] == faults[3] == "is missing"
    assert faults[4] == "is nan, not a finite number"
    assert faults[5] == "is inf, not a finite number"
    assert Number().admit(objects([1.0, None]))[1] == {1: "is missing"}


def test_whole_numbers_keep_all_their_digits() -> None:
    numbers, faults = Whole().admit(objects(["9007199254740993", "1.0", "1.5"]))
    assert numbers[:2].tolist() == [9007199254740993, 1]
    assert list(faults) == [2]


def test_categories_are_lists_or_parted_by_bars() -> None:
    lists, faults = Texts().admit(objects(["Drama|War", ["x"], None, 3]))
    assert lists[:3].tolist() == [["Drama", "War"], ["x"], []]
    assert list(faults) == [3]


def test_a_split_has_one_of_three_names_whatever_the_source_calls_it() -> None:
    words, faults = Split().admit(objects(["Training", "dev", "t10k", "", "fold3"]))
    assert words[:4].tolist() == ["train", "valid", "test", ""]
    assert "'fold3' is none of train, valid, test" in faults[4]


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), min_size=1, max_size=8))
def test_a_digest_depends_on_the_row_and_not_on_its_batch(rows: list[tuple[str, float]]) -> None:
    try:
        words = pa.array([word for word, _ in rows], pa.string())
    except UnicodeEncodeError:
        return  # half a character cannot be stored and is refused before
    columns = [words, pa.array([number for _, number in rows])]
    together = digest_rows(columns, len(rows)).to_pylist()
    alone = [digest_rows([c[i : i + 1] for c in columns], 1)[0].as_py() for i in range(len(rows))]
    assert together == alone
    assert len(set(together)) == len({(word, number + 0.0) for word, number in rows})
