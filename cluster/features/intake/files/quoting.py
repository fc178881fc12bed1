"""Tell whether quotes in a file of tabs have a meaning: pandas quotes fields, others do not."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import MAX_LINE

_HINT = "Say which: --map quotes=yes, or --map quotes=no where they are part of the texts."


def has_quotes(lines: Iterable[str], delimiter: str, where: str, first: int) -> bool:
    """Whether quotes enclose fields, as they do where every quote of the file fits that reading.

    Args:
        lines: all of them.
        delimiter: what parts the columns.
        where: how errors name the file.
        first: the number of the first line.

    Raises:
        InvalidInput: both readings are possible, and would give different rows.
    """
    begun = iter(lines)
    header = next(begun, "")
    width = _width(header, delimiter)
    numbered = enumerate(chain([header], begun), first)
    enclosed = doubled = False  # quotes within quotes are doubled: a sign that they enclose
    whole = _record(delimiter)
    for run in _runs(numbered):
        text = "".join(line for _, line in run)
        is_open = text.count('"') % 2 == 1  # where the run ends
        if is_open and whole.fullmatch(text.rstrip("\r\n") + '"'):
            raise _unclear(where, run[0][0])
        if is_open or not whole.fullmatch(text):
            _check_plain(chain(run, numbered), delimiter, where, width)
            return False
        doubled = doubled or '""' in text
        alone = all(_width(line, delimiter) == width for _, line in run)
        if len(run) > 1 and alone and not doubled:
            raise _unclear(where, run[0][0])
        enclosed = True
    return enclosed


def _runs(numbered: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Lines with quotes, each with those after it up to where as many close as open.

    A run that is longer than any record may be is left open there, as at the end of the file.
    """
    run: list[tuple[int, str]] = []
    quotes = size = 0
    for number, line in numbered:
        if not run and '"' not in line:
            continue
        run.append((number, line))
        quotes += line.count('"')
        size += len(line)
        if quotes % 2 == 0 or size > MAX_LINE:
            yield run
            run, quotes, size = [], 0, 0
    if run:
        yield run


def _record(delimiter: str) -> re.Pattern[str]:
    """A record in which every quote encloses a field, or stands twice within one."""
    between = re.escape(delimiter)
    field = rf'(?:"(?:[^"]++|"")*+"|[^"{between}\r\n]*+)'
    return re.compile(rf"{field}(?:{between}{field})*+\r?\n?")


def _width(line: str, delimiter: str) -> int:
    return line.count(delimiter) + 1


def _check_plain(
    numbered: Iterable[tuple[int, str]], delimiter: str, where: str, width: int
) -> None:
    """Refuse where a line with a quote is no whole row: a field might go on in the next line."""
    for number, line in numbered:
        if '"' in line and _width(line, delimiter) != width:
            raise _unclear(where, number)


def _unclear(where: str, line: int) -> InvalidInput:
    return InvalidInput(
        f"Whether the quotes in line {line:,} of {where} enclose a field, which may hold tabs and "
        "line ends, cannot be told.",
        hint=_HINT,
    )
