"""Read CSV and TSV from 20,000 made-up writers: rows as they were written, or the file refused.

A writer has a delimiter, line ends, a way to quote, an encoding, and remarks or not. One field in
some files has a million characters over many lines; some files are cut off anywhere, or have a
quote where none belongs. What is stored must be rows of the file, and with what is rejected it
must be all of them. What a broken file holds is said by a reading that is as plain as can be.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.tree import Tree
from cluster.features.intake.mapping import Wanted, read_table
from cluster.features.schema.view import Reject, Skipped
from tests.bench.report import Result, at_most, say

EXAMPLES = 20_000
NAMES = ("alpha", "beta", "gamma", "delta")
LONG = 1_000_000
Row = tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A file as somebody's program wrote it, and what it holds.

    Attributes:
        name: of the file.
        data: its bytes.
        columns: what `--map` says beside its columns.
        width: how many columns it has.
        rows: its records, the header left out; None where nobody can tell.
        sound: whether it has to be read, and may not be refused.
    """

    name: str
    data: bytes = field(repr=False)
    columns: dict[str, str]
    width: int
    rows: list[Row] | None = field(repr=False)
    sound: bool

    def shown(self) -> str:
        """As much as a reader can bear: a file may have a million characters."""
        return f"{self.name} {self.data[:300]!r} {self.columns}"


@dataclass(frozen=True)
class _Form:
    delimiter: str
    end: str
    quotes: str  # minimal, all or none
    gap: str  # after each delimiter

    def line(self, row: Sequence[str]) -> str:
        return (self.delimiter + self.gap).join(map(self.field, row)) + self.end

    def field(self, value: str) -> str:
        special = set(value) & {self.delimiter, '"', "\r", "\n"} or value.startswith(" ")
        if self.quotes == "none" or not (special or self.quotes == "all"):
            return value
        doubled = value.replace('"', '""')
        return f'"{doubled}"'


@st.composite
def written(draw: st.DrawFn) -> Written:
    """A file of any writer."""
    tabs = draw(st.booleans())
    form = _Form(
        delimiter="\t" if tabs else draw(st.sampled_from(",;|\t")),
        end=draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])),
        quotes=draw(st.sampled_from(["minimal", "all", "none"] if tabs else ["minimal", "all"])),
        gap="" if tabs else draw(st.sampled_from(["", "", " "])),
    )
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"]))
    letters = 'ab7,;|\t #"' + ("" if form.quotes == "none" else "\r\n")
    letters = (letters + ("é" if encoding == "cp1252" else "é漢🙂")).replace(
        "\t" if form.quotes == "none" else "", ""
    )
    rows = draw(_rows(letters))
    width = len(rows[0])
    if form.quotes == "none":  # else nobody could tell that its quotes are parts of words
        rows.insert(1, ('5" disk', *["x"] * (width - 1)))
    remarks = (
        "" if tabs else draw(st.sampled_from(["", "", "# by hand\n", f"sep={form.delimiter}\n"]))
    )
    head = remarks.replace("\n", form.end) + form.line(rows[0])
    body = "".join(map(form.line, rows[1:]))
    text = head + (body if draw(st.booleans()) else body.removesuffix(form.end))
    harm = draw(st.sampled_from(["", "", "cut", "" if tabs else "quote"]))
    if harm == "quote":
        at = draw(st.integers(len(head), len(text)))
        text = f'{text[:at]}"{text[at:]}'
    data = text.encode(encoding)
    start = len(head.encode(encoding))
    if harm == "cut" and start < len(data):
        data = data[: draw(st.integers(start, len(data)))]
    if harm:
        known = (
            None if form.quotes == "none" else plain(_decoded(data, encoding)[len(head) :], form)
        )
    else:
        known = rows[1:]
    only_newlines = not any("\n" in value for row in rows for value in row)
    sound = not harm and not tabs and (form.end != "\r" or only_newlines)
    columns = {"encoding": encoding} if encoding == "cp1252" else {}
    name = "a.tsv" if tabs else "a.csv"
    return Written(name, data, columns, width, known, sound)


@st.composite
def _rows(draw: st.DrawFn, letters: str) -> list[Row]:
    """A header and records, of which some have another number of values."""
    width = draw(st.integers(2, 4))
    value = st.text(letters, max_size=8)
    row = st.tuples(*[value] * width)
    odd = st.lists(value, min_size=2, max_size=5).map(tuple)
    rows: list[Row] = draw(st.lists(st.one_of(row, row, row, row, odd), max_size=6))
    if rows and "\n" in letters and draw(st.integers(0, 199)) == 77:
        at = draw(st.integers(0, len(rows) - 1))
        line = draw(value) + "x" * 199 + "\n"
        rows[at] = ((line * (LONG // len(line) + 1))[:LONG], *rows[at][1:])
    return [NAMES[:width], *rows]


def plain(text: str, form: _Form) -> list[Row] | None:
    """The records of a text, letter by letter; None where a quote is out of place."""
    records: list[Row] = []
    row: list[str] = []
    at = 0
    while at < len(text):
        at = _skip(text, at, form.gap)
        if text[at : at + 1] == '"':
            value, at = _enclosed(text, at)
            if at < 0:
                return None
        else:
            begin = at
            while at < len(text) and text[at] not in (form.delimiter, "\r", "\n"):
                at += 1
            value = text[begin:at]
        row.append(value)
        if text[at : at + 1] == form.delimiter:
            at += 1
            if at < len(text):
                continue
            row.append("")
        after = _line_end(text, at, form.end)
        if after < 0:
            return None
        at = after
        records.append(tuple(row))
        row = []
    return records


def _skip(text: str, at: int, gap: str) -> int:
    while gap and text[at : at + 1] == gap:
        at += 1
    return at


def _enclosed(text: str, at: int) -> tuple[str, int]:
    begin = at + 1
    while True:
        at = text.find('"', at + 1)
        if at < 0:
            return "", -1
        if text[at + 1 : at + 2] != '"':
            return text[begin:at].replace('""', '"'), at + 1
        at += 1


def _line_end(text: str, at: int, end: str) -> int:
    """Where the next line begins, or -1 where none ends here."""
    if at == len(text):
        return at
    if end == "\r":
        return at + 1 if text[at] == "\r" else -1
    while text[at : at + 1] == "\r":
        at += 1
    if at == len(text):
        return at
    return at + 1 if text[at] == "\n" else -1


def _decoded(data: bytes, encoding: str) -> str:
    errors = "surrogateescape" if encoding in ("utf-8", "utf-8-sig", "cp1252") else "ignore"
    return data.decode(encoding, errors)


def fault(file: Written) -> str:
    """What is wrong with how a file is read; nothing where it is right."""
    names = NAMES[: file.width]
    wanted = Wanted(names={name: (name,) for name in names}, needed=names)
    tree = Tree("made", (file.name,), lambda _: io.BytesIO(file.data))
    stored: list[Row] = []
    rejected = 0
    try:
        for piece in read_table(tree, file.name, file.columns, wanted):
            if isinstance(piece, Reject):
                rejected += 1
            elif not isinstance(piece, Skipped):
                columns = [piece[name].tolist() for name in names]
                stored += zip(*columns, strict=True)
    except InvalidInput as error:
        return f"refused: {error}" if file.sound else ""
    if file.rows is None:
        return "" if file.name.endswith(".tsv") else f"read, though broken: {stored}"
    true = [row for row in file.rows if len(row) == file.width]
    wrong = [row for row in file.rows if len(row) != file.width and row != ("",)]
    if stored != true:
        return f"stored {stored} in place of {true}"
    return "" if rejected == len(wrong) else f"rejected {rejected} in place of {len(wrong)}"


def results(home: Path) -> Iterator[Result]:
    """How many files of made-up writers are read wrong."""
    del home
    faults: list[str] = []
    files = {"read": 0}

    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(written())
    def look(file: Written) -> None:
        files["read"] += 1
        if why := fault(file):
            faults.append(f"{file.shown()}: {why[:400]}")

    look()
    say(f"{files['read']:,} files of made-up writers were read; {len(faults)} of them wrong.")
    for one in faults[:5]:
        say(one)
    yield at_most("csv_writers.wrong", len(faults), "files", 0)
