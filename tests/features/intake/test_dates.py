"""Dates with the day or the month first are read where a whole column tells which, else refused."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.base.errors import InvalidInput
from cluster.features.views.interactions import interactions
from tests.features.intake.reading import read
from tests.features.intake.workbook import workbook

HEAD = ("user_id", "item_id", "event_time")


def _csv(times: Sequence[str]) -> bytes:
    rows = [f'u,i{n},"{time}"' for n, time in enumerate(times)]
    return "\n".join([",".join(HEAD), *rows]).encode()


def _jsonl(times: Sequence[str]) -> bytes:
    rows = [dict(zip(HEAD, ("u", f"i{n}", time), strict=True)) for n, time in enumerate(times)]
    return "\n".join(map(json.dumps, rows)).encode()


def _parquet(times: Sequence[str]) -> bytes:
    ids = [f"i{n}" for n in range(len(times))]
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"user_id": ["u"] * len(ids), "item_id": ids, "event_time": times}), sink
    )
    return sink.getvalue()


def _xlsx(times: Sequence[str]) -> bytes:
    return workbook({"a": [HEAD, *(("u", f"i{n}", time) for n, time in enumerate(times))]})


FORMATS: dict[str, Callable[[Sequence[str]], bytes]] = {
    "csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "xlsx": _xlsx,
}  # fmt: skip


def moments(
    folder: Path, times: Sequence[str], kind: str = "csv", zone: str = "UTC", **columns: str
) -> list[str]:
    path = folder / f"a.{kind}"
    path.write_bytes(FORMATS[kind](times))
    good, bad = read(interactions, path, zone=zone, **columns)
    assert not bad
    return [np.datetime_as_string(moment, unit="s") for moment in good["event_time"]]


@pytest.mark.parametrize("kind", FORMATS)
def test_one_day_above_12_tells_the_order_of_all(tmp_path: Path, kind: str) -> None:
    times = ["12/1/2010 8:26", "1/13/2011 20:05"]
    assert moments(tmp_path, times, kind) == ["2010-12-01T08:26:00", "2011-01-13T20:05:00"]
    times = ["12/1/2010 8:26", "13/1/2011 20:05:09"]
    assert moments(tmp_path, times, kind) == ["2010-01-12T08:26:00", "2011-01-13T20:05:09"]


def test_the_whole_column_counts_and_not_its_first_rows(tmp_path: Path) -> None:
    times = ["2/1/2010", *["3/4/2010"] * 33_000, "31/12/2010"]
    assert moments(tmp_path, times)[0] == "2010-01-02T00:00:00"


@pytest.mark.parametrize("kind", FORMATS)
def test_an_order_that_nothing_tells_is_asked_for(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidInput) as told:
        moments(tmp_path, ["12/1/2010 8:26", "3/3/2010 8:26"], kind)
    assert str(told.value) == (
        f"a.{kind}: event_time '12/1/2010 8:26' leaves open which is the day and which the month: "
        "no row has a day above 12. Say how times are written: --map 'time_format=%m/%d/%Y %H:%M' "
        "where the month comes first, --map 'time_format=%d/%m/%Y %H:%M' where the day does."
    )


@pytest.mark.parametrize(
    ("times", "why", "form"),
    [
        (["1/13/2010", "13/1/2010"], "the day is the first number there, and the second in", "%Y"),
        (["31.12.10", "1.2.11"], "its year has two digits", "'time_format=%d.%m.%y'"),
    ],
)
def test_orders_that_contradict_and_short_years_are_refused(
    tmp_path: Path, times: list[str], why: str, form: str
) -> None:
    with pytest.raises(InvalidInput) as told:
        moments(tmp_path, times)
    assert why in str(told.value)
    assert form in str(told.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_that_is_named_is_read(tmp_path: Path, kind: str) -> None:
    times = ["12/1/2010 8:26", "3/3/2010 8:26"]
    assert moments(tmp_path, times, kind, time_format="%d/%m/%Y %H:%M") == [
        "2010-01-12T08:26:00", "2010-03-03T08:26:00",
    ]  # fmt: skip
    form = "%b %d, %Y %I:%M %p %z"
    assert moments(tmp_path, ["Dec 3, 2010 8:26 PM +0200"], kind, time_format=form) == [
        "2010-12-03T18:26:00"
    ]


def test_a_date_is_in_the_zone_that_is_named_and_in_none_is_refused(tmp_path: Path) -> None:
    times = ["12/31/2010 8:26:01 PM"]
    assert moments(tmp_path, times, zone="Asia/Tokyo") == ["2010-12-31T11:26:01"]
    _, (bad,) = read(interactions, tmp_path / "a.csv")
    assert "'2010-12-31 20:26:01' has no time zone" in bad.reason


def test_a_year_that_comes_first_leaves_nothing_open(tmp_path: Path) -> None:
    assert moments(tmp_path, ["2010/12/1 8:26", "2010-12-1", "2010.12.01"]) == [
        "2010-12-01T08:26:00", "2010-12-01T00:00:00", "2010-12-01T00:00:00",
    ]  # fmt: skip


def test_a_row_that_is_written_otherwise_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(_csv(["12/13/2010", "13/13/2010", "soon", ""]))
    good, bad = read(interactions, tmp_path / "a.csv", zone="UTC")
    assert len(good["user_id"]) == 1
    assert [reject.where for reject in bad] == ["a.csv line 3", "a.csv line 4", "a.csv line 5"]
    _, bad = read(interactions, tmp_path / "a.csv", zone="UTC", time_format="%m/%d/%Y")
    assert bad[0].reason == "event_time '13/13/2010' does not fit time_format"


def test_a_format_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"time_format=%Q is no format of a time: 'Q' is a bad"):
        moments(tmp_path, ["12/1/2010"], time_format="%Q")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("times", "form", "first"),
    [(["2020", "2023", "2021"], "%Y", "2020-01-01"), (["202401", "202412"], "%Y%m", "2024-01-01")],
)
def test_years_and_months_are_no_unix_time(
    tmp_path: Path, kind: str, times: list[str], form: str, first: str
) -> None:
    with pytest.raises(InvalidInput, match=r"January 1970 in unix time, and all .* years") as error:
        moments(tmp_path, times, kind)
    assert f"--map 'time_format={form},timezone=UTC'" in error.value.hint
    assert moments(tmp_path, times, kind, time_format=form)[0] == f"{first}T00:00:00"


def test_years_as_fractions_with_gaps_are_years(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="'2020' reads as a moment of January 1970"):
        moments(tmp_path, ["2020.0", "2023.0"])
    assert moments(tmp_path, ["2020.0"], time_format="%Y") == ["2020-01-01T00:00:00"]


def test_numbers_of_which_some_are_no_years_are_unix_time(tmp_path: Path) -> None:
    assert moments(tmp_path, ["2020", "2021", "874724710"])[2] == "1997-09-20T03:05:10"
    assert moments(tmp_path, ["0", "0"]) == ["1970-01-01T00:00:00"] * 2
