"""Read dates such as 12/31/2010 8:26, whose day and month only a whole column tells apart."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.table import Chunk
from cluster.features.schema.times import iso_date

FORMAT = "time_format"
"""What a mapping calls the way that times are written: `time_format=%d/%m/%Y %H:%M`."""
SAY_FORMAT = f"--map '{FORMAT}=%d/%m/%Y %H:%M'"
Rewrite = Callable[[object], object]
"""A time as its source has it to ISO 8601; raises ValueError for one that is not written so."""
_SHORT = {
    "%Y": re.compile(r"(19\d\d|20\d\d|2100)(\.0+)?"),
    "%Y%m": re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(\.0+)?"),
}
_DATE = re.compile(r"\s*(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?!\d)(.*)", re.DOTALL)


def by_format(form: str) -> Rewrite:
    """Read times as `strptime` does.

    Raises:
        InvalidInput: the format is none.
    """
    try:
        datetime.strptime("", form)
    except ValueError as error:
        if "does not match" not in str(error):
            raise InvalidInput(
                f"{FORMAT}={form} is no format of a time: {error}.",
                hint=f"Write it as Python's strptime does, as in {SAY_FORMAT}.",
            ) from None

    def rewritten(value: object) -> object:
        if value in (None, "") or not isinstance(value, str | int | float):
            return value
        if isinstance(value, float) and math.isnan(value):
            return value
        written = str(value).strip()
        if "." not in form:  # a column of numbers with gaps has 2020.0
            written = re.sub(r"\.0+$", "", written)
        return datetime.strptime(written, form).isoformat()

    return rewritten


def short_format(values: Iterable[object]) -> str:
    """How numbers are written that are all years, or all years with months; else nothing.

    As unix time they would lie in the first hour or the first days of 1970.
    """
    forms: set[str] = set()
    for value in values:
        text = str(value).strip()
        if value is None or text in ("", "nan"):
            continue
        form = next((form for form, pattern in _SHORT.items() if pattern.fullmatch(text)), "")
        forms.add(form)
        if not form or len(forms) > 1:
            return ""
    return next(iter(forms), "")


def not_unix(form: str, where: str, column: str, example: object) -> InvalidInput:
    """The error for a column of numbers that `short_format` knows."""
    what = "years" if form == "%Y" else "years and months"
    return InvalidInput(
        f"{where}: {column} {str(example).strip()!r} reads as a moment of January 1970 in unix "
        f"time, and all values look like {what}.",
        hint=f"Say so: --map '{FORMAT}={form},timezone=UTC'; or that there are no times: --map "
        f"{column}=-",
    )


def is_dated(values: Iterable[object]) -> bool:
    """Whether most values are dates whose first two numbers are a day and a month."""
    filled = [value for value in values if value not in (None, "")]
    return 2 * sum(_matched(value) is not None for value in filled) > len(filled)


def by_column(values: Iterable[object], where: str, column: str) -> Rewrite:
    """Read dates in the one order that all of a column allow, since no month is above 12.

    Args:
        values: all of the column.
        where: how errors name the file.
        column: what we call it.

    Raises:
        InvalidInput: the values allow both orders, or none.
    """
    seen: dict[str, str] = {}  # an example of each kind
    for value in values:
        if match := _matched(value):
            first, second = int(match[1]), int(match[3])
            kind = _kind(first, second, match[4])
            seen.setdefault(kind, match[0])
    if "short" in seen:
        raise _unclear(where, column, seen["short"], "its year has two digits")
    if "day" in seen and "month" in seen:
        why = f"the day is the first number there, and the second in {seen['month']!r}"
        raise _unclear(where, column, seen["day"], why)
    if seen.keys() == {"either"} or seen.keys() == {"either", "same"}:
        raise _unclear(where, column, seen["either"], "no row has a day above 12")
    day = "day" in seen

    def rewritten(value: object) -> object:
        match = _matched(value)
        if match is None:
            return value
        numbers = (match[1], match[3]) if day else (match[3], match[1])
        return iso_date(match[4], numbers[1], numbers[0], match[5])

    return rewritten


def all_rewritten(
    chunks: Iterable[Chunk], rewrites: Mapping[str, Rewrite], ours: Mapping[str, int]
) -> Iterator[Chunk]:
    """The chunks with some columns rewritten, each of which stands where `ours` says."""
    for chunk in chunks:
        done = chunk
        for column, rewrite in rewrites.items():
            done = _rewritten(done, ours[column], column, rewrite)
        yield done


def _rewritten(chunk: Chunk, at: int, column: str, rewrite: Rewrite) -> Chunk:
    """A chunk whose times in one column are ISO 8601; rows with others are broken."""
    values, broken = chunk.columns[at].astype(object), dict(chunk.broken)
    for row, value in enumerate(values.tolist()):
        try:
            values[row] = rewrite(value)
        except ValueError:
            broken[int(chunk.lines[row])] = f"{column} {str(value)[:40]!r} does not fit {FORMAT}"
    good = [row for row, line in enumerate(chunk.lines.tolist()) if line not in broken]
    columns = [values if place == at else found for place, found in enumerate(chunk.columns)]
    return Chunk([found[good] for found in columns], chunk.lines[good], broken)


def _matched(value: object) -> re.Match[str] | None:
    return _DATE.fullmatch(value) if isinstance(value, str) else None


def _kind(first: int, second: int, year: str) -> str:
    """What a date says of the order: "day" where the first number can only be a day."""
    if len(year) < len("2010"):
        return "short"
    if first > 12 and second > 12:
        return "none"
    if first == second:
        return "same"
    return "day" if first > 12 else "month" if second > 12 else "either"


def _unclear(where: str, column: str, example: str, why: str) -> InvalidInput:
    match = _DATE.fullmatch(example)
    mark = match[2] if match else "/"
    year = "%y" if why.startswith("its year") else "%Y"
    clock = " %H:%M" if ":" in example else ""
    clock += ":%S" if example.count(":") > 1 else ""
    month, day = (
        f"{FORMAT}={mark.join(order)}{clock}" for order in (("%m", "%d", year), ("%d", "%m", year))
    )
    return InvalidInput(
        f"{where}: {column} {example[:40]!r} leaves open which is the day and which the month: "
        f"{why}.",
        hint=f"Say how times are written: --map '{month}' where the month comes first, "
        f"--map '{day}' where the day does.",
    )
