"""Find our columns among those of a table, by the user's mapping or by their usual names."""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from cluster.batch import Batch, objects
from cluster.errors import InvalidInput, nearest
from cluster.features.tables import TABLES, Chunk, open_table
from cluster.features.tree import Tree, open_tree, split_in, stem, suffix
from cluster.features.view import Reject

ALSO = {"event_time": ("eventtime", "timestamp", "time", "datetime"), "split": ("split",)}
"""The columns that any table may have, by the names that are recognised."""


@dataclass(frozen=True)
class Wanted:
    """What a view looks for in a table.

    Args:
        names: for each of our columns the usual names of it in small letters, less all signs:
            `userid` stands for user_id, userId and USER-ID. Ours comes first.
        needed: the columns that a table must have.
        numbered: the key that is made of file and line where a table has none.
        files: stems that tell which one of several tables in a folder is meant.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    numbered: str = ""
    files: tuple[str, ...] = ()
    known: Mapping[str, tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {**ALSO, **self.names})


def is_table(name: str) -> bool:
    """Whether a file's name says that it is one."""
    return suffix(name) in TABLES


def read_tables(
    paths: Sequence[Path], columns: Mapping[str, str], wanted: Wanted
) -> Iterator[Batch | Reject]:
    """The rows of tables; of several in one folder, the one that `wanted.files` names.

    Raises:
        NotFound: a path is missing.
        InvalidInput: no table is there, it is unclear which is meant, or it lacks a column.
    """
    for path in paths:
        with open_tree(path, is_table) as tree:
            yield from read_table(tree, _meant(tree, wanted), columns, wanted)


def read_table(
    tree: Tree, name: str, columns: Mapping[str, str], wanted: Wanted
) -> Iterator[Batch | Reject]:
    """The rows of one table, under our names.

    Raises:
        InvalidInput: it cannot be read to its end, or lacks a column.
    """
    numbered = bool(columns) and all(theirs.isdigit() for theirs in columns.values())
    try:
        with tree.stream(name) as file:
            table = open_table(tree, name, file, numbered=numbered)
            ours = match(tree.where(name), table.names, columns, wanted)
            for chunk in table.chunks:
                place = f"{tree.where(name)} {table.unit}"
                yield from (Reject(f"{place} {n}", why) for n, why in chunk.broken.items())
                yield _named(name, place, chunk, ours, wanted)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise InvalidInput(
            f"{tree.where(name)} cannot be read to its end: {error}.", hint="Fetch it again."
        ) from None


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
        theirs = columns.get(ours) or next((bare[word] for word in usual if word in bare), None)
        if theirs is not None:
            found[ours] = theirs
    for ours, theirs in columns.items():
        if ours not in wanted.known:
            raise InvalidInput(
                f"There is no column {ours!r} to map to.", hint=nearest(ours, wanted.known)
            )
        if theirs not in names:
            raise InvalidInput(
                f"{where} has no column {theirs!r}; it has {_listed(names)}.",
                hint=nearest(theirs, names),
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


def _named(name: str, place: str, chunk: Chunk, ours: Mapping[str, str], wanted: Wanted) -> Batch:
    """The columns under our names, with key and split from the file's name where it has none."""
    lines = chunk.lines.tolist()
    batch = {column: chunk.columns[theirs] for column, theirs in ours.items()}
    if wanted.numbered and wanted.numbered not in batch:
        batch[wanted.numbered] = objects(f"{stem(name)}-{line:06d}" for line in lines)
    if "split" not in batch:
        batch["split"] = np.full(len(lines), split_in(name), dtype=object)
    return {**batch, "where": objects(f"{place} {line}" for line in lines)}


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
