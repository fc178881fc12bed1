"""Find our columns among those of a table, by the user's mapping or by their usual names."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, nearest
from cluster.features.intake import dates
from cluster.features.intake.files import movielens
from cluster.features.intake.files.formats import open_table
from cluster.features.intake.files.table import Chunk, Table
from cluster.features.intake.files.tree import Tree, open_tree, suffix
from cluster.features.intake.folders import split_in
from cluster.features.intake.parts import filled, is_table, may_be_table, meant, with_folders
from cluster.features.schema.column import Number
from cluster.features.schema.times import read_times
from cluster.features.schema.view import Piece, Reject, Unused

NONE = "-"
"""What a mapping says of a column that the table does not have: `event_time=-`."""

HOW = ("encoding", "quotes", dates.FORMAT)
"""What a mapping may say of a table beside its columns: `encoding=cp1252,quotes=no`."""

MOMENTS = ("event_time", "created")

ALSO = {
    "event_time": ("eventtime", "timestamp", "time", "datetime"),
    "split": ("split",),
    "created": (),
}
"""The columns that any table may have, by the names that are recognised. When rows were created is
read only where it is mapped: what is called so may as well be when they became true."""

ITEM = ("itemid", "item", "iid", "movieid", "productid", "product", "stockcode", "sku")
"""The usual names of an item's id."""


@dataclass(frozen=True)
class Wanted:
    """What a view looks for in a table.

    Args:
        names: for each of our columns the usual names of it in small letters, less all signs:
            `userid` stands for user_id, userId and USER-ID. Ours comes first.
        needed: the columns that a table must have.
        files: stems or names that tell which one of several tables in a folder is meant.
        timed: whether a table whose times are not recognised is refused.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    files: tuple[str, ...] = ()
    timed: bool = False
    known: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {**ALSO, **self.names})


def as_written(name: str) -> str:
    """A column's name as `--map` reads it: in quotes where it holds a comma or quotes."""
    if not re.search(r'[,"]', name):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def by_position(columns: Mapping[str, str]) -> bool:
    """Whether a mapping names columns by their positions, as of a table without a header."""
    named = [v for name, v in columns.items() if v != NONE and name not in HOW]
    return bool(named) and all(theirs.isdigit() for theirs in named)


def read_tables(path: Path, columns: Mapping[str, str], wanted: Wanted) -> Iterator[Piece]:
    """The rows of a table; of several in one folder, the one that `wanted.files` names.

    A folder of part files, as Spark and Hive write them, is one table.

    Raises:
        NotFound: the path is missing.
        InvalidInput: no table is there, it is unclear which is meant, or it lacks a column.
    """
    with open_tree(path, may_be_table) as tree:
        names = meant(tree, wanted.files)
        parts = [name for name in names if len(names) == 1 or not _is_empty(tree, name)]
        every: dict[str, None] = {}
        if len(parts) > 1:
            for name in parts:
                with _opened(tree, name, columns) as table:
                    every.update(dict.fromkeys(table.names))
        for name in parts or names[:1]:
            yield from read_table(
                replace(tree, names=tuple(parts)), name, columns, wanted, every=tuple(every)
            )
        yield from tree.unread(names)


def read_table(
    tree: Tree,
    name: str,
    columns: Mapping[str, str],
    wanted: Wanted,
    *,
    every: Sequence[str] = (),
) -> Iterator[Piece]:
    """The rows of one table, under our names; what of it is not read is told first.

    Args:
        tree: where it is.
        name: its file.
        columns: the user's mapping.
        wanted: what is looked for.
        every: the columns of all files of which this is a part; what it lacks is nothing.

    Raises:
        InvalidInput: it cannot be read to its end, or lacks a column.
    """
    where = tree.where(name)
    with _opened(tree, name, columns) as found:
        table = filled(found, {column: None for column in every if column not in found.names})
        ours = match(where, table.names, columns, wanted)
        place = f"{where} {table.unit}"
        if spare := tuple(n for at, n in enumerate(table.names) if at not in ours.values()):
            yield Unused(where, "they are none of ours, and not mapped", spare)
        first = next(table.chunks, None)
        if first is None:
            return
        if by_position(columns) and _is_header(first, ours, wanted):
            first = Chunk([values[1:] for values in first.columns], first.lines[1:], first.broken)
        if wanted.timed and not {"event_time"} & {*ours, *columns}:
            _check_untimed(where, table.names, first, {*ours.values()})
        split = _part(tree, name)
        rewrites = _rewrites(tree, name, columns, first, ours)
        for chunk in dates.all_rewritten(chain([first], table.chunks), rewrites, ours):
            yield from (Reject(f"{place} {n}", why) for n, why in chunk.broken.items())
            yield _named(split, place, chunk, ours)


def _rewrites(
    tree: Tree, name: str, columns: Mapping[str, str], first: Chunk, ours: Mapping[str, int]
) -> dict[str, dates.Rewrite]:
    """How the times of a table are to be written so that they are read, where they are not yet."""
    moments = {column: ours[column] for column in MOMENTS if column in ours}
    if form := columns.get(dates.FORMAT):
        return dict.fromkeys(moments, dates.by_format(form))
    found = {}
    for column, at in moments.items():
        begin = first.columns[at].tolist()
        dated = dates.is_dated(begin)
        if not dated and not dates.short_format(begin):
            continue
        with _opened(tree, name, columns) as again:
            values = (value for chunk in again.chunks for value in chunk.columns[at].tolist())
            if dated:
                found[column] = dates.by_column(values, tree.where(name), column)
            elif form := dates.short_format(values):
                example = next(value for value in begin if value not in (None, ""))
                raise dates.not_unix(form, tree.where(name), column, example)
    return found


def header(tree: Tree, name: str, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a table's columns.

    Raises:
        InvalidInput: it cannot be read.
    """
    with _opened(tree, name, columns) as table:
        return table.names


def match(
    where: str, names: Sequence[str], columns: Mapping[str, str], wanted: Wanted
) -> dict[str, int]:
    """Which column of the table each of ours is, by its place.

    Raises:
        InvalidInput: the mapping names a column that is not there, a needed one is not found, or
            several could be one.
    """
    mapped = {name: theirs for name, theirs in columns.items() if name not in HOW}
    for ours in mapped:
        if ours not in wanted.known:
            raise InvalidInput(
                f"There is no column {ours!r} to map to.",
                hint=nearest(ours, [*wanted.known, "timezone", *HOW]),
            )
    found: dict[str, int] = {}
    for ours, usual in wanted.known.items():
        theirs = mapped.get(ours)
        places = [] if theirs == NONE else _places(where, names, ours, theirs or usual)
        if len(places) > 1:
            raise _several(where, names, ours, places)
        if places:
            found[ours] = places[0]
    for ours in wanted.needed:
        if ours not in found:
            raise InvalidInput(
                f"{where} has no column that is known as {ours}; it has {_listed(names)}.",
                hint=f"Say which one it is, as in --map {ours}=NAME, or by its position where the "
                f"first line is no header, as in --map {ours}=0.",
            )
    return found


def _places(
    where: str, names: Sequence[str], ours: str, theirs: str | Sequence[str]
) -> Sequence[int]:
    """Where the columns stand that are called as the user says, or as is usual."""
    if not isinstance(theirs, str):
        plain = [_plain(name) for name in names]
        word = next((word for word in theirs if word in plain), None)
        places = [place for place, name in enumerate(plain) if name == word]
        same = [place for place in places if names[place] == ours]
        return same if len(same) == 1 else places
    if places := [place for place, name in enumerate(names) if name == theirs.strip()]:
        return places
    if theirs.isdigit() and int(theirs) < len(names):
        return [int(theirs)]
    close = difflib.get_close_matches(theirs, names, n=1, cutoff=0.5)
    raise InvalidInput(
        f"{where} has no column {theirs!r}; it has {_listed(names)}.",
        hint=f"Did you mean {close[0]!r}?" if close else "",
    )


def _several(where: str, names: Sequence[str], ours: str, places: Sequence[int]) -> InvalidInput:
    listed = " and ".join(f"{names[place]!r} at position {place}" for place in places)
    return InvalidInput(
        f"{where} has {len(places)} columns that could be {ours}: {listed}.",
        hint=f"Rename one of them, or say which it is beside another column's name, as in "
        f"--map {ours}={places[0]},...",
    )


def _plain(name: str) -> str:
    """A column's name in small letters, less all signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_header(chunk: Chunk, ours: Mapping[str, int], wanted: Wanted) -> bool:
    """Whether the first row of a table that is mapped by position holds the usual names."""
    return bool(len(chunk.lines)) and all(
        _plain(str(chunk.columns[place][0])) in wanted.known[name] for name, place in ours.items()
    )


@contextmanager
def _opened(tree: Tree, name: str, columns: Mapping[str, str]) -> Iterator[Table]:
    """A table with what the names of its file and its folders say of its columns."""
    numbered, encoding = by_position(columns), columns.get("encoding", "")
    layout = movielens.layout_of(name)
    if numbered or layout is None or not movielens.fits(layout, tree, name):
        layout = None
    else:
        encoding = encoding or movielens.encoding_of(tree, name)
    with open_table(
        tree,
        name,
        numbered=numbered or layout is not None,
        encoding=encoding,
        quotes=columns.get("quotes", ""),
    ) as table:
        yield with_folders(name, movielens.named(layout, table) if layout else table)


def _is_empty(tree: Tree, name: str) -> bool:
    with tree.stream(name) as file:
        return not file.read(1)


def _part(tree: Tree, name: str) -> str:
    """The part of the data that a file's name says, where those of other tables say others."""
    return split_in(name) if len(_parts(tree.names, suffix(name))) > 1 else ""


@lru_cache(maxsize=16)  # each of thousands of files of one table asks
def _parts(names: tuple[str, ...], end: str) -> frozenset[str]:
    """The parts that the names of tables speak of, and of files that end alike."""
    return frozenset(split_in(name) for name in names if is_table(name) or suffix(name) == end)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _named(split: str, place: str, chunk: Chunk, ours: Mapping[str, int]) -> Batch:
    """The columns under our names, with the split from the file's name where there is none."""
    lines = chunk.lines.tolist()
    batch = {column: chunk.columns[at] for column, at in ours.items()}
    if "split" not in batch:
        batch["split"] = np.full(len(lines), split, dtype=object)
    return {**batch, "where": objects(f"{place} {line}" for line in lines)}


def _check_untimed(where: str, names: Sequence[str], chunk: Chunk, read: set[int]) -> None:
    for at, (name, values) in enumerate(zip(names, chunk.columns, strict=True)):
        if at not in read and _looks_like_times(name, values[:20]):
            raise InvalidInput(
                f"{where} has no column that is known as event_time, but {name!r} looks like one.",
                hint=f"Say so with --map event_time={as_written(name)}, or that there is none with "
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
