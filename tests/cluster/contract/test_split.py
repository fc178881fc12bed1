"""The laws of splits: which rows are learnt from and which are kept to measure."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cluster.base.batch import Batch, concat, objects, take
from cluster.base.errors import InvalidInput
from cluster.contract.split import ByGroup, ByKey, ByTime, Folds, Given, PerUser, Split, draw

KEY = ("row_id",)
ASKED: list[Split] = [ByKey(), ByGroup(column="user_id"), ByTime(), PerUser()]
ALL = [*ASKED, Folds()]
counts = st.integers(1, 120)
seeds = st.integers(0, 1_000)


def rows(count: int, seed: int = 0, *, given: str = "") -> Batch:
    rng = np.random.default_rng(seed)
    return {
        "row_id": objects(f"r{number}" for number in range(count)),
        "user_id": objects(f"u{number}" for number in rng.integers(0, 7, count)),
        "event_time": rng.integers(0, 10**15, count).astype("datetime64[us]"),
        "split": objects([given] * count),
    }


@given(count=counts, more=counts)
def test_by_key_a_row_keeps_its_part_when_others_are_added(count: int, more: int) -> None:
    before, after = rows(count), rows(count + more)
    assert ByKey().parts(before, KEY).tolist() == ByKey().parts(after, KEY)[:count].tolist()


def test_by_key_the_shares_are_about_those_asked_for() -> None:
    parts = Counter(ByKey(valid=0.1, test=0.2).parts(rows(4_000), KEY).tolist())
    assert parts["valid"] / 4_000 == pytest.approx(0.1, abs=0.02)
    assert parts["test"] / 4_000 == pytest.approx(0.2, abs=0.02)


@given(count=counts, seed=seeds, test=st.floats(0, 1), valid=st.floats(0, 1))
def test_per_user_every_user_gives_the_rounded_share(
    count: int, seed: int, test: float, valid: float
) -> None:
    batch = rows(count, seed)
    parts = PerUser(valid=valid, test=test, seed=seed).assign(batch, KEY)
    for user in set(batch["user_id"]):
        mine = parts[batch["user_id"] == user]
        assert (mine == "test").sum() == np.round(test * len(mine))
        assert (mine == "valid").sum() == min(
            np.round(valid * len(mine)), len(mine) - (mine == "test").sum()
        )


@given(count=counts, folds=st.integers(2, 12), seed=seeds)
def test_folds_hold_each_row_once_and_differ_by_one_row_at_most(
    count: int, folds: int, seed: int
) -> None:
    batch = rows(count)
    tests = np.array(
        [
            Folds(count=folds, fold=fold, seed=seed).assign(batch, KEY) == "test"
            for fold in range(folds)
        ]
    )
    assert (tests.sum(axis=0) == 1).all()
    sizes = tests.sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


@given(count=counts, seed=seeds, test=st.floats(0, 0.5), valid=st.floats(0, 0.4))
def test_by_time_what_is_measured_is_newer_than_what_is_learnt(
    count: int, seed: int, test: float, valid: float
) -> None:
    batch = rows(count, seed)
    parts = ByTime(valid=valid, test=test).assign(batch, KEY)
    ordered = parts[np.argsort(batch["event_time"], kind="stable")].tolist()
    assert ordered == sorted(ordered, key=["train", "valid", "test"].index)
    assert abs(ordered.count("test") - test * count) <= 1
    assert abs(ordered.count("valid") - valid * count) <= 1


@pytest.mark.parametrize("split", [*ASKED, Given()], ids=repr)
def test_what_the_source_says_is_kept(split: Split) -> None:
    batch = concat([rows(30, given=part) for part in ("train", "valid", "test")])
    assert split.parts(batch, KEY).tolist() == batch["split"].tolist()


@pytest.mark.parametrize("split", ASKED, ids=repr)
def test_rows_of_which_the_source_says_nothing_are_learnt_where_it_names_the_test(
    split: Split,
) -> None:
    batch = concat([rows(40), rows(40, given="test")])
    parts = split.parts(batch, KEY)
    assert (parts[40:] == "test").all()
    assert (parts[:40] != "test").all()


def test_where_the_source_names_train_and_valid_alone_the_valid_ones_measure() -> None:
    batch = concat([rows(400, given="train"), rows(40, given="valid")])
    parts = Counter(ByKey().parts(batch, KEY).tolist())
    assert parts["test"] == 40
    assert 0 < parts["valid"] < parts["train"]


def test_rows_to_watch_come_out_of_the_training_rows_where_the_source_names_none() -> None:
    batch = concat([rows(1_000, given="train"), rows(10, given="test")])
    parts = Counter(ByKey(valid=0.1).parts(batch, KEY).tolist())
    assert parts["test"] == 10
    assert 60 < parts["valid"] < 140


@pytest.mark.parametrize("split", ALL, ids=repr)
@given(count=counts, seed=seeds)
def test_the_order_of_the_rows_does_not_matter(split: Split, count: int, seed: int) -> None:
    batch = rows(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    turned = split.assign(take(batch, order), KEY)
    distinct = len(set(batch["event_time"].tolist())) == count
    assert not distinct or turned.tolist() == split.assign(batch, KEY)[order].tolist()


@pytest.mark.parametrize("split", ALL, ids=repr)
def test_no_rows_are_no_parts(split: Split) -> None:
    assert split.parts(take(rows(1), slice(0)), KEY).tolist() == []


def test_given_refuses_rows_that_do_not_say() -> None:
    with pytest.raises(InvalidInput, match=r"3 rows do not say which part they belong to. Give"):
        Given().parts(rows(3), KEY)


def test_a_draw_depends_on_the_named_columns_and_the_seed() -> None:
    batch = rows(200)
    drawn = draw(batch, KEY)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(set(drawn)) == 200
    assert draw(take(batch, slice(3, 9)), KEY).tolist() == drawn[3:9].tolist()
    assert draw(batch, KEY, seed=1).tolist() != drawn.tolist()


def test_where_one_name_ends_and_the_next_begins_matters() -> None:
    batch = {"a": objects(["x", "xy"]), "b": objects(["yz", "z"])}
    assert len(set(draw(batch, ("a", "b")))) == 2


CONTENT: list[Split] = [ByKey(valid=0.2, test=0.3), Folds(count=4, valid=0.2)]


def copies(count: int, seed: int) -> NDArray[np.int64]:
    """For each row the first of its group; about every other row has none."""
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(count) < 0.5, rng.integers(0, 9, count), 9 + np.arange(count))
    return np.array([np.flatnonzero(group == mine)[0] for mine in group], np.int64)


@pytest.mark.parametrize("split", CONTENT, ids=repr)
@given(count=counts, seed=seeds)
def test_copies_are_in_one_part_and_rows_without_any_stay_where_they_were(
    split: Split, count: int, seed: int
) -> None:
    batch, alike = rows(count), copies(count, seed)
    before, parts = split.parts(batch, KEY), split.parts(batch, KEY, alike)
    assert parts.tolist() == parts[alike].tolist()
    firsts = alike == np.arange(count)
    assert parts[firsts].tolist() == before[firsts].tolist()


@pytest.mark.parametrize("split", [ByTime(), PerUser(), ByGroup(column="user_id")], ids=repr)
def test_where_time_or_people_decide_copies_change_nothing(split: Split) -> None:
    batch = rows(100)
    assert split.parts(batch, KEY, copies(100, 1)).tolist() == split.parts(batch, KEY).tolist()


def test_the_parts_of_today_are_those_of_earlier_releases() -> None:
    drawn = draw(rows(4), KEY)
    assert drawn.round(6).tolist() == [0.552162, 0.487493, 0.470863, 0.548288]
    parts = "".join(part[1] for part in ByKey(valid=0.2, test=0.3).parts(rows(24), KEY))
    assert parts == "reerrerreeeaaererrrerraa"


def test_a_row_without_a_part_goes_where_the_source_puts_its_copies() -> None:
    batch = concat([rows(2, given="test"), rows(2, given="train"), rows(6)])
    batch["row_id"] = objects(f"r{number}" for number in range(10))
    alike = np.array([0, 1, 2, 0, 0, 1, 2, 1, 8, 9])
    parts = ByKey(valid=0.0).parts(batch, KEY, alike)
    assert parts[:4].tolist() == ["test", "test", "train", "train"]
    assert parts[4:].tolist() == ["train", "test", "train", "test", "train", "train"]


def test_rows_to_watch_are_taken_with_their_copies() -> None:
    batch = concat([rows(60, given="train"), rows(1, given="test")])
    batch["row_id"] = objects(f"r{number}" for number in range(61))
    alike = np.append(copies(60, 3), 60)
    parts = ByKey(valid=0.3).parts(batch, KEY, alike)
    assert set(parts[:60]) == {"train", "valid"}
    assert parts.tolist() == parts[alike].tolist()


def test_folds_measure_every_row_once_whatever_its_source_says() -> None:
    batch = concat([rows(30, given=part) for part in ("train", "test", "")])
    batch["row_id"] = objects(f"r{number}" for number in range(90))
    tests = [Folds(count=3, fold=fold).parts(batch, KEY) == "test" for fold in range(3)]
    assert np.sum(tests, axis=0).tolist() == [1] * 90
    assert [int(test.sum()) for test in tests] == [30, 30, 30]


@given(count=counts, seed=seeds)
def test_by_group_nobody_is_on_two_sides(count: int, seed: int) -> None:
    batch = rows(count, seed)
    parts = ByGroup(column="user_id", valid=0.2, test=0.4).parts(batch, KEY)
    for user in set(batch["user_id"]):
        assert len(set(parts[batch["user_id"] == user])) == 1
    alone = take(batch, batch["user_id"] == batch["user_id"][0])
    assert ByGroup(column="user_id", valid=0.2, test=0.4).parts(alone, KEY)[0] == parts[0]


def test_a_group_is_not_both_learnt_from_and_watched_where_the_source_names_test_rows() -> None:
    batch = concat([rows(20, given="test"), rows(200)])
    batch["user_id"][:20] = "tested"
    parts = ByGroup(column="user_id", valid=0.3).parts(batch, KEY)
    assert {"train", "valid"} <= set(parts)
    for user in set(batch["user_id"]):
        assert len(set(parts[batch["user_id"] == user])) == 1


def test_one_long_id_takes_no_memory_in_other_rows_and_no_id_is_cut() -> None:
    names = objects(f"{number:08}" for number in range(20_000))
    long = names.copy()
    long[7], long[8] = "x" * 256, f"{names[8]}\0"
    peaks = []
    for ids in (names, long):
        batch = {"row_id": ids, "user_id": ids, "split": objects([""] * 20_000),
                 "event_time": np.zeros(20_000, "M8[us]")}  # fmt: skip
        tracemalloc.start()
        ByKey().parts(batch, KEY)
        PerUser().parts(batch, KEY)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]
    assert draw({"row_id": long[8:9]}, KEY) != draw({"row_id": names[8:9]}, KEY)


def test_users_with_one_row_each_are_the_reason_why_none_is_kept() -> None:
    each = {**rows(40), "user_id": objects(f"u{row}" for row in range(40))}
    assert "test" not in PerUser(test=0.25).parts(each, KEY)
    said = PerUser(test=0.25).remedy(each, "test")
    assert said.startswith("No user_id has more than 1 row, and 25% of that, rounded, is none")
    assert "There must be users with 3 rows or more." in said
    assert "--map user_id=NAME" in said
    assert PerUser().remedy(rows(40), "train").startswith("Ingest more rows")
    assert "users with 5001 rows or more" in PerUser(test=1e-4).remedy(each, "test")
    assert PerUser(test=0.0).remedy(each, "test").startswith("Ingest more rows")
