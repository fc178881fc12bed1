"""Tell whether quotes in a file of tabs have a meaning: pandas quotes fields, others do not."""

import re
from collections.abc import Iterable
from itertools import chain

from cluster.errors import InvalidInput

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
    enclosed = doubled = False  # quotes within quotes are doubled: a sign that they enclose
    width, quotes = 0, 0
    open_lines: list[str] = []
    numbered = enumerate(lines, first)
    whole = _record(delimiter)
    for number, line in numbered:
        width = width or _width(line, delimiter)
        if not open_lines and '"' not in line:
            continue
        open_lines.append(line)
        quotes += line.count('"')
        if quotes % 2:
            continue  # a quote is open: its field goes on in the next line
        begun = number - len(open_lines) + 1
        if not whole.fullmatch("".join(open_lines)):
            _check_plain(chain(enumerate(open_lines, begun), numbered), delimiter, where, width)
            return False
        doubled = doubled or any('""' in line for line in open_lines)
        alone = all(_width(line, delimiter) == width for line in open_lines)
        if len(open_lines) > 1 and alone and not doubled:
            raise _unclear(where, begun)
        enclosed = True
        open_lines = []
    if open_lines:
        begun = number - len(open_lines) + 1
        if whole.fullmatch("".join(open_lines).rstrip("\r\n") + '"'):
            raise _unclear(where, begun)
        _check_plain(enumerate(open_lines, begun), delimiter, where, width)
        return False
    return enclosed


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
