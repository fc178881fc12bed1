from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.schema.times import read_times, zone_named

NOON = np.datetime64("2024-05-01T12:00:00", "us")


@pytest.mark.parametrize(
    "written",
    [
        1714564800,
        "1714564800",
        1714564800000,
        "1714564800000000",
        1714564800000000000,
        1714564800.0,
        "2024-05-01T12:00:00Z",
        "2024-05-01 14:00:00+02:00",
        "2024-05-01 14:00:00 +0200",
        "2024-05-01 12:00:00 UTC",
        "2024-05-01 12:00:00.000000 utc",
        "2024-05-01 12:00 GMT",
        Decimal(1714564800),
        Decimal("1714564800.00"),
        np.int64(1714564800),
        datetime(2024, 5, 1, 12, tzinfo=UTC),
    ],
)
def test_one_moment_reads_the_same_however_it_is_written(written: object) -> None:
    moments, faults = read_times(objects([written]), "")
    assert not faults
    assert moments[0] == NOON


@given(st.datetimes(datetime(1975, 1, 1), datetime(2200, 1, 1)))
def test_iso_and_unix_seconds_agree_to_the_microsecond(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    moments, faults = read_times(objects([aware.isoformat(), aware]), "")
    assert not faults
    assert moments[0] == moments[1] == np.datetime64(moment, "us")


def test_a_time_without_a_zone_is_refused_and_says_how_to_name_one() -> None:
    _, faults = read_times(objects(["2024-05-01 12:00:00"]), "")
    assert "has no time zone" in faults[0]
    assert "timezone=Europe/London" in faults[0]


def test_a_time_without_a_zone_is_read_in_the_one_that_was_named() -> None:
    moments, faults = read_times(objects(["2024-05-01 13:00:00", "2024-01-01"]), "Europe/London")
    assert not faults
    assert moments.tolist() == [NOON, np.datetime64("2024-01-01", "us")]


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "is missing"),
        (None, "is missing"),
        (float("nan"), "is missing"),
        ("yesterday", "is no time"),
        ("2024_05", "is no time"),
        (
            "12/1/2010 8:26",
            "leaves open which is the day and which the month: write ISO 8601 as in",
        ),
        ("1.12.10", "leaves open which is the day and which the month"),
        ("20240501", "could be a date or unix seconds"),
        ("inf", "is no moment"),
        (1e40, "too large"),
        (10**400, "a number of more than 40 digits, too large"),
        ("1" * 400, "is inf, which is no moment"),
        ("1" * 5000, "is inf, which is no moment"),
        ("1" * 60, "too large"),
        ("45292.5", "is 45292.5: is it an Excel day? That would be 2024-01-01"),
        (45292, "is 45292: is it an Excel day? That would be 2024-01-01"),
        ("UTC", "is no time"),
        ([1], "is a list"),
        ("9999-12-31T23:00:00-05:00", "is outside the years 1 to 9999 in UTC"),
        ("0001-01-01T00:00:00+05:00", "is outside the years 1 to 9999 in UTC"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_reason(written: object, reason: str) -> None:
    _, faults = read_times(objects([written]), "")
    assert reason in faults[0]


def test_true_is_no_moment_after_the_number_that_equals_it() -> None:
    moments, faults = read_times(objects([1, True, 1.0]), "")
    assert faults == {1: "is a bool, which is no moment"}
    assert moments[0] == moments[2] == np.datetime64(1, "s")


def test_an_unknown_zone_is_one_mistake_and_not_one_bad_row_after_another() -> None:
    with pytest.raises(InvalidInput, match="There is no time zone 'Europe/Londn'"):
        zone_named("Europe/Londn")
