"""Find the table that is meant in a folder: one by its name, or the parts of one side by side."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.formats import TABLES
from cluster.features.intake.files.movielens import layout_of
from cluster.features.intake.files.table import Chunk, Table
from cluster.features.intake.files.tree import LOG, Tree, stem, suffix

_LOOSE = frozenset((".dat", ".data", ".txt"))
_PART = re.compile(r"((part|data|chunk|shard|file)?[-_.]?\d[\w.-]*|.*-\d{3,}-of-\d{3,})")
_FOLDER = re.compile(r"(?P<column>[A-Za-z_]\w*)=(?P<value>.*)")
_NOTHING = "__HIVE_DEFAULT_PARTITION__"


def is_table(name: str) -> bool:
    """Whether a file's name says that it is one."""
    return suffix(name) in TABLES and LOG not in name


def may_be_table(name: str) -> bool:
    """Whether a file may be one where tables alone are looked for; some ends say little."""
    known = is_table(name) or suffix(name) in _LOOSE or layout_of(name) is not None
    return known or LOG in f"{name}/"


def meant(tree: Tree, files: Sequence[str]) -> tuple[str, ...]:
    """The files of the table to read: one, or all parts of one.

    Args:
        tree: where they are.
        files: names and stems of files that tell which of several is meant.

    Raises:
        InvalidInput: it is unclear which is meant, or a log says that not every file counts.
    """
    if any(LOG in name for name in tree.names):
        raise InvalidInput(
            f"{tree.place} is a Delta table: its log says which of its files count.",
            hint="Write its rows to Parquet, and ingest that.",
        )
    names = [name for name in tree.names if not re.search(r"(^|/)_", name)]
    if len(names) == 1:
        return tuple(names)
    named = [name for name in names if _is_called(PurePosixPath(name), files)]
    if len(named) == 1:
        return tuple(named)
    tables = [name for name in names if is_table(name)]
    below = [n for n in tables if any(_is_called(p, files) for p in PurePosixPath(n).parents)]
    for parts in (below, tables):
        if parts and len({suffix(name) for name in parts}) == 1 and all(map(_is_part, parts)):
            return tuple(parts)
    several = named or tables or names
    raise InvalidInput(
        f"{tree.place} holds several tables: {', '.join(several[:8])}.",
        hint="Name the one to read.",
    )


def with_folders(name: str, table: Table) -> Table:
    """The table with a column for each folder above it that is named as `day=2026-01-01` is."""
    found = [_FOLDER.fullmatch(part) for part in PurePosixPath(name).parts[:-1]]
    values = {one["column"]: unquote(one["value"]) for one in found if one}
    values = {column: value for column, value in values.items() if column not in table.names}
    return filled(table, {c: None if v == _NOTHING else v for c, v in values.items()})


def filled(table: Table, values: dict[str, str | None]) -> Table:
    """The table with columns that hold one value in every row."""

    def chunks() -> Iterator[Chunk]:
        for chunk in table.chunks:
            rows = len(chunk.lines)
            more = (np.full(rows, value, dtype=object) for value in values.values())
            yield Chunk((*chunk.columns, *more), chunk.lines, chunk.broken)

    return Table((*table.names, *values), chunks(), table.unit) if values else table


def _is_called(path: PurePosixPath, files: Sequence[str]) -> bool:
    name = path.name.lower()
    return name in files or PurePosixPath(stem(name)).name in files


def _is_part(name: str) -> bool:
    below = any(_FOLDER.fullmatch(part) for part in PurePosixPath(name).parts[:-1])
    return below or _PART.fullmatch(PurePosixPath(stem(name)).name.lower()) is not None
