"""Find our columns among those of a table, by the user's mapping or by their usual names."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.batch import Batch, objects
from cluster.errors import InvalidInput, nearest
from cluster.features.column import Number
from cluster.features.intake.parts import split_in
from cluster.features.intake.tables import TABLES, Chunk, open_table
from cluster.features.intake.tree import Tree, open_tree, stem, suffix
from cluster.features.times import read_times
from cluster.features.view import Piece, Reject, Unused

NONE = "-"
"""What a mapping says of a column that the table does not have: `event_time=-`."""

ALSO = {
    "event_time": ("eventtime", "timestamp", "time", "datetime"),
    "split": ("split",),
    "created": (),
}
"""The columns that any table may have, by the names that are recognised. When rows were created is
read only where it is mapped: what is called so may as well be when they became true."""


@dataclass(frozen=True)
class Wanted:
    """What a view looks for in a table.

    Args:
        names: for each of our columns the usual names of it in small letters, less all signs:
            `userid` stands for user_id, userId and USER-ID. Ours comes first.
        needed: the columns that a table must have.
        files: stems that tell which one of several tables in a folder is meant.
        timed: whether a table whose times are not recognised is refused.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    files: tuple[str, ...] = ()
    timed: bool = False
    known: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {**ALSO, **self.names})


def is_table(name: str) -> bool:
    """Whether a file's name says that it is one."""
    return suffix(name) in TABLES


def by_position(columns: Mapping[str, str]) -> bool:
    """Whether a mapping names columns by their positions, as of a table without a header."""
    named = [theirs for theirs in columns.values() if theirs != NONE]
    return bool(named) and all(theirs.isdigit() for theirs in named)


def read_tables(path: Path, columns: Mapping[str, str], wanted: Wanted) -> Iterator[Piece]:
    """The rows of a table; of several in one folder, the one that `wanted.files` names.

    Raises:
        NotFound: the path is missing.
        InvalidInput: no table is there, it is unclear which is meant, or it lacks a column.
    """
    with open_tree(path, is_table) as tree:
        meant = _meant(tree, wanted)
        yield from read_table(tree, meant, columns, wanted)
        yield from tree.unread([meant])


def read_table(
    tree: Tree, name: str, columns: Mapping[str, str], wanted: Wanted
) -> Iterator[Piece]:
    """The rows of one table, under our names; what of it is not read is told first.

    Raises:
        InvalidInput: it cannot be read to its end, or lacks a column.
    """
    where = tree.where(name)
    with tree.stream(name) as file:
        table = open_table(tree, name, file, numbered=by_position(columns))
        ours = match(where, table.names, columns, wanted)
        place = f"{where} {table.unit}"
        if spare := tuple(name for name in table.names if name not in ours.values()):
            yield Unused(where, "they are none of ours, and not mapped", spare)
        first = next(table.chunks, None)
        if first is None:
            return
        if wanted.timed and not {"event_time"} & {*ours, *columns}:
            _check_untimed(where, first, {*ours.values()})
        for chunk in chain([first], table.chunks):
            yield from (Reject(f"{place} {n}", why) for n, why in chunk.broken.items())
            yield _named(name, place, chunk, ours)


def header(tree: Tree, name: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a table's columns.

    Raises:
        InvalidInput: it cannot be read.
    """
    with tree.stream(name) as file:
        return open_table(tree, name, file, numbered=by_position(columns)).names


def match(
    where: str, names: Sequence[str], columns: Mapping[str, str], wanted: Wanted
) -> dict[str, str]:
    """Which column of the table each of ours is.

    Raises:
        InvalidInput: the mapping names a column that is not there, or a needed one is not found.
    """
    found: dict[str, str] = {}
    bare = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    for ours, usual in wanted.known.items():
        theirs = columns.get(ours) or next((bare[word] for word in usual if word in bare), NONE)
        if theirs != NONE:
            found[ours] = theirs
    for ours, theirs in columns.items():
        if ours not in wanted.known:
            raise InvalidInput(
                f"There is no column {ours!r} to map to.",
                hint=nearest(ours, [*wanted.known, "timezone"]),
            )
        if theirs not in names and theirs != NONE:
            close = difflib.get_close_matches(theirs, names, n=1, cutoff=0.5)
            raise InvalidInput(
                f"{where} has no column {theirs!r}; it has {_listed(names)}.",
                hint=f"Did you mean {close[0]!r}?" if close else "",
            )
    for ours in wanted.needed:
        if ours not in found:
            raise InvalidInput(
                f"{where} has no column that is known as {ours}; it has {_listed(names)}.",
                hint=f"Say which one it is, as in --map {ours}=NAME, or by its position where the "
                f"first line is no header, as in --map {ours}=0.",
            )
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _named(name: str, place: str, chunk: Chunk, ours: Mapping[str, str]) -> Batch:
    """The columns under our names, with the split from the file's name where there is none."""
    lines = chunk.lines.tolist()
    batch = {column: chunk.columns[theirs] for column, theirs in ours.items()}
    if "split" not in batch:
        batch["split"] = np.full(len(lines), split_in(name), dtype=object)
    return {**batch, "where": objects(f"{place} {line}" for line in lines)}


def _check_untimed(where: str, chunk: Chunk, read: set[str]) -> None:
    for name, values in chunk.columns.items():
        if name not in read and _looks_like_times(name, values[:20]):
            raise InvalidInput(
                f"{where} has no column that is known as event_time, but {name!r} looks like one.",
                hint=f"Say so with --map event_time={name}, or that there is none with "
                f"--map event_time={NONE}.",
            )


def _looks_like_times(name: str, values: NDArray[Any]) -> bool:
    """By a word in the name, or by values that read as dates; a plain number may be anything."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    if words[-1:] == ["at"] or {"time", "date", "datetime", "timestamp", "ts", "when"} & {*words}:
        return True
    if values.dtype.kind == "M":
        return True
    said = [value for value in values.tolist() if value not in (None, "")]
    if not said or not Number().admit(objects(said))[1].keys() >= {*range(len(said))}:
        return False
    return not read_times(objects(said), "UTC")[1]


def _meant(tree: Tree, wanted: Wanted) -> str:
    if len(tree.names) == 1:
        return tree.names[0]
    named = [n for n in tree.names if PurePosixPath(stem(n)).name.lower() in wanted.files]
    if len(named) == 1:
        return named[0]
    raise InvalidInput(
        f"{tree.place} holds several tables: {', '.join(tree.names[:8])}.",
        hint="Name the one to read.",
    )
