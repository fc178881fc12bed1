"""Read a moment however a source writes it, and refuse one whose zone nobody knows."""

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from cluster.base.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SAY_ZONE = "say which one it is in, as in --map timezone=Europe/London"
ISO = "write ISO 8601 as in 2024-05-01T12:00:00Z"
FIRST_SECOND = -62_135_596_800  # 0001-01-01
LAST_SECOND = 253_402_300_799  # 9999-12-31, beyond which `datetime` knows no moment
EXCEL_DAYS = (25_569, 73_051)  # days since 1899-12-30: from 1970 to the end of 2099
_EXCEL_BEGINS = datetime(1899, 12, 30)
_MOST_DIGITS = 40  # no unix time has as many, in whatever unit
_UTC = re.compile(
    r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE
)  # 2024-05-01 12:00:00 UTC, as BigQuery writes
_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")  # 2024-05-01 12:00:00 +0200
_YEAR_FIRST = re.compile(r"(\d{4})([/.-])(\d{1,2})\2(\d{1,2})(?!\d)(.*)", re.DOTALL)
_CLOCK = re.compile(
    r"(?:,?\s+|T)(\d{1,2}):(\d\d)(?::(\d\d)(\.\d+)?)?(?:\s*([AP])\.?M\b\.?)?", re.IGNORECASE
)
_DAY_OR_MONTH = re.compile(r"\d{1,2}([/.-])\d{1,2}\1(\d\d|\d{4})(?!\d)")  # 12/1/2010 8:26


def zone_named(name: str) -> ZoneInfo | None:
    """The zone to read naive times in; none for the empty name.

    Raises:
        InvalidInput: there is no zone of that name.
    """
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"There is no time zone {name!r}.", hint="Write it as in --map timezone=Europe/London."
        ) from None


def read_times(values: NDArray[Any], zone: str) -> tuple[NDArray[Any], dict[int, str]]:
    """Raw moments `[n]` to `datetime64[us]` `[n]` in UTC, and per row that has none, why.

    Takes `datetime64` (UTC by definition), `datetime`, ISO 8601 text with a zone, and unix time in
    seconds, milliseconds, microseconds or nanoseconds, told apart by their size. Naive text is read
    in `zone`, and refused where `zone` is empty.
    """
    if values.dtype.kind == "M":
        missing = dict.fromkeys(np.flatnonzero(np.isnat(values)).tolist(), "is missing")
        return np.where(np.isnat(values), np.datetime64(0, "us"), values.astype("M8[us]")), missing
    place = zone_named(zone)
    read: dict[tuple[type, object], int | str] = {}
    moments, faults = np.zeros(len(values), dtype=np.int64), {}
    for row, value in enumerate(values.tolist()):
        if isinstance(value, list | dict):  # JSON has these, and no dictionary takes them as keys
            faults[row] = f"is a {type(value).__name__}, which is no moment"
            continue
        written = (type(value), value)  # True equals 1, and is no moment
        found = read.get(written)
        if found is None:
            found = read[written] = _moment(value, place)
        if isinstance(found, str):
            faults[row] = found
        else:
            moments[row] = found
    return moments.view("M8[us]"), faults


def _moment(value: object, zone: ZoneInfo | None) -> int | str:
    """Microseconds since 1970 in UTC, or why there are none."""
    if isinstance(value, np.number):
        value = value.item()
    if isinstance(value, str | Decimal):
        return _written(f"{value}".strip(), zone)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "is missing"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _unix(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return _zoned(value, zone)
    return f"is a {type(value).__name__}, which is no moment"


def _written(text: str, zone: ZoneInfo | None) -> int | str:
    if not text:
        return "is missing"
    try:
        # Python reads 2024_05 as a number
        number = float(text) if "-" not in text[1:] and "_" not in text else None
    except ValueError:
        number = None
    if number is not None:
        whole = text.lstrip("+-").isdigit()
        return _unix(int(text) if whole and len(text) <= _MOST_DIGITS else number)
    plain = _OFFSET.sub("", _UTC.sub("+00:00", text))
    try:
        return _zoned(datetime.fromisoformat(_year_first(plain)), zone)
    except ValueError:
        if _DAY_OR_MONTH.match(text):
            return f"{text[:40]!r} leaves open which is the day and which the month: {ISO}"
        return f"{text[:40]!r} is no time: {ISO}, or unix time"


def iso_date(year: str, month: str, day: str, clock: str) -> str:
    """A date and what stands after it as ISO 8601: `8:26 PM` as `T20:26`.

    What is no time of day stays as it is, and so the whole is no time.
    """
    match = _CLOCK.match(clock)
    if match:
        hour = int(match[1])
        if match[5]:
            hour = hour % 12 + 12 * (match[5].upper() == "P")
        seconds = f"{match[3] or '00'}{match[4] or ''}"
        clock = f"T{hour:02}:{match[2]}:{seconds}{clock[match.end() :]}"
    return f"{year}-{month:0>2}-{day:0>2}{clock}"


def _year_first(text: str) -> str:
    """A date whose year comes first as ISO 8601: 2010/12/1 8:26 can be read in one way only."""
    match = _YEAR_FIRST.fullmatch(text)
    return iso_date(match[1], match[3], match[4], match[5]) if match else text


def _unix(number: float) -> int | str:
    if doubt := _doubt(number):
        return doubt
    # Seconds reach 1e11 in the year 5138; milliseconds reach it in March 1973, and so on upwards.
    for limit, unit in ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1)):
        if abs(number) < limit:
            return round(number * unit)
    nanoseconds = int(number)
    if abs(nanoseconds) // 1_000_000_000 > LAST_SECOND:
        return f"{number:g} is too large to be unix time"
    return nanoseconds // 1_000


def _doubt(number: float) -> str:
    """Why a number is no unix time, but for one that is too large; nothing where it may be one."""
    if isinstance(number, int) and abs(number) >= 10**_MOST_DIGITS:
        return f"is a number of more than {_MOST_DIGITS} digits, too large to be unix time"
    if not math.isfinite(number):
        return f"is {number}, which is no moment"
    if 19_000_101 <= number <= 20_991_231:  # August 1970 in unix time, and every day since 1900
        return f"{number:.0f} could be a date or unix seconds: write dates as in 2024-05-01"
    if EXCEL_DAYS[0] <= number < EXCEL_DAYS[1]:  # the first day of 1970 in unix time
        day = _EXCEL_BEGINS + timedelta(days=int(number))
        return (
            f"is {number}: is it an Excel day? That would be {day:%Y-%m-%d}: format the cells as "
            "dates before you save the file as text"
        )
    return ""


def _zoned(moment: datetime, zone: ZoneInfo | None) -> int | str:
    if moment.tzinfo is None:
        if zone is None:
            return f"{moment.isoformat(sep=' ')!r} has no time zone: {SAY_ZONE}"
        moment = moment.replace(tzinfo=zone)
    microseconds = (moment - EPOCH) // MICROSECOND
    if not FIRST_SECOND <= microseconds // 1_000_000 <= LAST_SECOND:
        return f"{moment.isoformat(sep=' ')!r} is outside the years 1 to 9999 in UTC"
    return microseconds
