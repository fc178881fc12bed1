"""Read a table from a file, whatever its format, some thousands of rows at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.columnar import open_arrow, open_parquet, open_sheet
from cluster.features.intake.files.decoding import text_lines
from cluster.features.intake.files.delimited import open_delimited
from cluster.features.intake.files.json_lines import (
    ONE_A_LINE,
    begins_array,
    check_lines,
    open_array,
    open_json,
)
from cluster.features.intake.files.table import Table
from cluster.features.intake.files.tree import Tree, suffix

JSON = frozenset((".json", ".jsonl", ".ndjson"))
ARROW = frozenset((".feather", ".arrow", ".arrows", ".ipc"))
SCHEMATIC = ARROW | {".parquet"}
"""Ends of files with a schema."""
TABLES = frozenset((".csv", ".tsv", ".xlsx")) | JSON | SCHEMATIC


@contextmanager
def open_table(
    tree: Tree, name: str, *, numbered: bool = False, encoding: str = "", quotes: str = ""
) -> Iterator[Table]:
    """One table, which is open as long as it is read.

    Args:
        tree: where the file is.
        name: its name, whose end says what it is; what is no known end is a table of text.
        numbered: it has no header: its columns are "0", "1" and so on.
        encoding: of a table of text, where it is not UTF-8 and no byte order mark says so.
        quotes: "yes" or "no" where the user says whether quotes enclose fields.

    Raises:
        InvalidInput: it is empty, or cannot be read.
    """
    kind, where = suffix(name), tree.where(name)
    if kind == ".xlsx":
        yield open_sheet(where, tree.read(name), numbered=numbered)
    elif kind == ".parquet" or kind in ARROW:
        with tree.whole(name) as file:
            yield (open_parquet if kind == ".parquet" else open_arrow)(where, file)
    else:
        yield _open_text(tree, name, numbered=numbered, encoding=encoding, quotes=quotes)


def _open_text(tree: Tree, name: str, *, numbered: bool, encoding: str, quotes: str) -> Table:
    kind, where = suffix(name), tree.where(name)
    if quotes not in ("", "yes", "no"):
        raise InvalidInput(f"quotes={quotes} says nothing.", hint="Say quotes=yes or quotes=no.")

    def lines() -> Iterator[str]:
        with tree.stream(name) as again:
            yield from text_lines(again, where, encoding)

    if kind == ".json":
        if begins_array(tree.head(name)):
            return open_array(tree.read(name, hint=ONE_A_LINE), where, encoding)
        check_lines(lines(), where)
    if kind in JSON:
        return open_json(lines, where)
    return open_delimited(lines, where, kind, numbered=numbered, quotes=quotes)
