from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import Batch, concat, objects, take
from cluster.features.intake.ingest import ingest_rows
from cluster.features.joins.history import InMemory, Stored
from cluster.features.joins.join import join
from cluster.features.offline.digest import digest_rows
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Column, Key, Number, Split, Text, Time, Whole, times
from cluster.features.schema.ragged import Texts, Vector
from cluster.features.schema.raw import key_text, typed_key
from cluster.features.schema.view import View


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (Text(), objects(["a", "ü", "漢字", "a\nb"])),
        (Number(), np.array([1.5, -0.0, 1e300])),
        (Whole(), np.array([1, -(2**62), 7])),
        (Texts(), objects([["a", "b"], [], ["c"]])),
        (Vector(3), np.array([[1, 2, 3], [-0.5, 0, 1e30], [0, 0, 0]], np.float32)),
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


@pytest.mark.parametrize(
    "written", [17850, 17850.0, Decimal(17850), Decimal("17850.00"), np.int64(17850), "17850"]
)
def test_a_whole_number_is_one_key_however_it_is_written(written: object) -> None:
    assert key_text(written) == ("17850", "")
    assert Key().admit(objects([written]))[0].tolist() == ["17850"]
    assert Text().admit(objects([written]))[0].tolist() == ["17850"]


def test_keys_have_all_their_digits_or_are_refused() -> None:
    big = 12345678901234567890123
    keys, faults = Key().admit(objects([big, str(big + 1), Decimal(big + 2), 2**53]))
    assert not faults
    assert keys.tolist() == [str(big), str(big + 1), str(big + 2), str(2**53)]
    said = "is about 1.2345e+22, a number too large to hold every digit: send the id as text"
    assert key_text(1.2345e22) == ("", said)
    assert "too large to hold every digit: send the id as text" in key_text(float(2**53))[1]
    assert key_text(float(2**53 - 1)) == (str(2**53 - 1), "")
    assert "too large" in Key().admit(np.array([2**24], np.float32))[1][0]
    assert "too large" in key_text(np.float32(2**24))[1]
    assert Key().admit(np.array([2**64 - 1], np.uint64))[0].tolist() == [str(2**64 - 1)]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (1.5, "is 1.5, which is no id"),
        (Decimal("1.5"), "is 1.5, which is no id"),
        (float("inf"), "is inf, which is no id"),
        (Decimal("1e999999"), "which is no id"),
        ("1.23457E+11", "is 1.23457E+11, a rounded number: write all digits of the id"),
        (10**400, "has more than 256 digits; the limit is 256"),
        ("7" * 257, "has 257 characters; the limit is 256"),
        (True, "is true, neither a number nor text"),
        (["a"], "is a list, not text"),
        ("\udcff", "is not valid UTF-8"),
        (" ", "is empty"),
        (None, "is empty"),
        (float("nan"), "is empty"),
        (Decimal("nan"), "is empty"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(written: object, reason: str) -> None:
    text, fault = key_text(written)
    assert text == ""
    assert reason in fault


def test_decimals_and_narrow_floats_are_text_and_numbers_as_they_are_written() -> None:
    assert Text().admit(objects([Decimal("2.50"), 4.0]))[0].tolist() == ["2.50", "4"]
    assert Text().admit(np.array([4.1], np.float32))[0].tolist() == ["4.1"]
    assert Whole().admit(objects([Decimal(9007199254740993)]))[0].tolist() == [9007199254740993]
    assert Number().admit(objects([Decimal("2.50"), "1"]))[0].tolist() == [2.5, 1.0]
    assert "has more than 256 digits" in key_text(10**5000)[1]
    assert "is a int, not text" in Text().admit(objects([10**5000]))[1][0]
    assert "beyond what a 64-bit float" in Number().admit(objects([10**5000]))[1][0]


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


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = st.integers(1, 9).flatmap(
    lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1, max_size=9)
)


@given(vectors, st.integers(0, 9))
def test_vectors_come_back_bit_for_bit_however_they_were_given_and_cut(
    rows: list[list[float]], cut: int
) -> None:
    column = Vector(len(rows[0]))
    given, faults = column.admit(objects(rows))
    assert not faults
    assert given.shape == (len(rows), column.size)
    assert column.admit(np.array(rows))[0].tobytes() == given.tobytes()
    packed = column.pack(given)
    assert packed.type == column.arrow
    back = column.unpack(pa.chunked_array([packed[:cut], packed[cut:]]))
    assert back.tobytes() == given.tobytes()
    assert column.unpack(packed[cut:]).tobytes() == given[cut:].tobytes()
    together, alone = concat([{"v": given}, {"v": given}]), take({"v": given}, [0])
    assert together["v"].shape == (2 * len(rows), column.size)
    assert alone["v"].tolist() == [given[0].tolist()]


@given(vectors)
def test_vectors_have_one_digest_as_long_as_they_are_equal(rows: list[list[float]]) -> None:
    column = Vector(len(rows[0]))
    packed = column.pack(np.array(rows, np.float32))
    together = digest_rows([packed], len(rows)).to_pylist()
    alone = [digest_rows([packed[i : i + 1]], 1)[0].as_py() for i in range(len(rows))]
    assert together == alone
    assert len(set(together)) == len({tuple(number + 0.0 for number in row) for row in rows})


def test_a_column_of_no_vectors_keeps_its_shape() -> None:
    column = Vector(4)
    assert column.unpack(pa.array([], type=column.arrow)).shape == (0, 4)
    assert column.unpack(pa.chunked_array([], type=column.arrow)).shape == (0, 4)
    assert column.admit(objects([]))[0].shape == (0, 4)


def test_what_is_no_vector_of_the_size_is_refused_with_its_fault() -> None:
    raw = [
        [1, 2.5], np.array([1, 2]), None, "12", [1], [1, "2"], [True, 1], [1, float("nan")],
        [1, float("inf")], [1, 10**400], np.array([1e39, 0]), np.zeros((2, 1)), [[1], [2]],
        np.array(1.0),
    ]  # fmt: skip
    rows, faults = Vector(2).admit(objects(raw))
    assert rows[:2].tolist() == [[1, 2.5], [1, 2]]
    assert faults == {
        2: "is missing",
        3: "is a str, not a vector",
        4: "has 1 numbers, not 2",
        5: "holds a str among its numbers",
        6: "holds a bool among its numbers",
        7: "holds nan, not a finite 32-bit number",
        8: "holds inf, not a finite 32-bit number",
        9: f"holds 1{'0' * 39}, not a finite 32-bit number",
        10: "holds 1e+39, not a finite 32-bit number",
        11: "has 2 axes, not one",
        12: "holds a list among its numbers",
        13: "has 0 axes, not one",
    }


def test_vectors_are_stored_joined_and_looked_up_like_any_column(tmp_path: Path) -> None:
    def sample(n: int, rng: np.random.Generator) -> Batch:
        return {"id": objects(map(str, range(n))), "vector": rng.normal(size=(n, 3))}

    view = View(name="vectors", key=("id",), columns={"vector": Vector(3)}, sample=sample)
    rows = view.sample(5, np.random.default_rng(0))
    store, online = Store(tmp_path / "store"), Online(tmp_path / "online.db")
    assert ingest_rows(view, rows, store).new == 5
    assert ingest_rows(view, rows, store).same == 5
    asked = {"id": objects(["3", "x", "0"]), "event_time": times([1, 1, 1])}
    right = rows["vector"].astype(np.float32)[[3, 0, 0]]
    right[1] = 0
    joined = join(asked, [view], Stored(store.head))
    online.materialize(view, store.head(view))
    for found in (joined, online.lookup([view], {"id": asked["id"]})):
        assert found["vector"].dtype == np.float32
        assert found["vector"].tolist() == right.tolist()
        assert found["vectors_missing"].tolist() == [False, True, False]
    unknown = join(asked, [view], InMemory({}))
    assert unknown["vector"].tolist() == np.zeros((3, 3)).tolist()
    assert unknown["vectors_missing"].all()


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


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (Number(), True, "is true, neither a number nor text"),
        (Whole(), False, "is false, neither a number nor text"),
        (Key(), True, "is true, neither a number nor text"),
        (Key(), 1.5, "is 1.5, which is no id"),
    ],
)
def test_what_python_would_take_for_a_number_or_an_id_is_refused(
    column: Column, value: object, reason: str
) -> None:
    assert column.admit(objects(["7", value]))[1] == {1: reason}


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("17850.0", "17850"),
        ("-7.00", "-7"),
        ("007", "007"),
        ("17.5", "17.5"),
        ("1.0.0", "1.0.0"),
        ("1e5", "1e5"),
        ("1234e567", "1234e567"),
        ("1e22", 1e22),
        ("9007199254740992.0", 2.0**53),
    ],
)
def test_a_key_is_typed_as_tables_of_numbers_write_it(typed: str, key: str | float) -> None:
    assert typed_key(typed) == key
