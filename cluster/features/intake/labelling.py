"""Give files their classes: by a table that names them, or by the folders that they lie in."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, objects, take, without
from cluster.base.errors import InvalidInput
from cluster.features.intake.class_names import class_names, with_names
from cluster.features.intake.files.tree import Tree, stem
from cluster.features.intake.finding import Files
from cluster.features.intake.folders import are_shelves, classes, part_of, split_in
from cluster.features.intake.loading import load_column, load_folders
from cluster.features.intake.mapping import HOW, Wanted, header, match, read_table
from cluster.features.schema.view import Piece, Reject, Skipped


@dataclass(frozen=True)
class Content:
    """What rows hold of files, and how tables speak of it.

    Args:
        column: ours, for the content.
        wanted: the columns of a table that holds the content, or paths of files.
        by_id: the columns of one that names files by an id: `train000` of `train000.png`.
        paths: whether text in that column of a table is the path of a file, not the content.
        load: the bytes of a file to the content.
    """

    column: str
    wanted: Wanted
    by_id: Wanted
    paths: bool
    load: Callable[[bytes], object]


@dataclass(frozen=True)
class Source:
    """The files of one place that can be read.

    Args:
        tree: where they are.
        files: those that hold content.
        tables: those that may say what the files are.
        columns: which column of a table is which of ours, where the user says so.
    """

    tree: Tree
    files: Files
    tables: Sequence[str]
    columns: Mapping[str, str]

    @property
    def mapped(self) -> bool:
        """Whether the user says which column is which."""
        return bool(self.columns.keys() - {*HOW})


@dataclass(frozen=True)
class _Sheet:
    """A table that gives labels."""

    name: str
    wanted: Wanted
    classes: tuple[str, ...]  # what its numbers of classes stand for, where it says so
    holds: bool  # the content itself; else it names files
    parted: bool  # by a column of its own


def read_labelled(source: Source, content: Content) -> Iterator[Piece]:
    """Rows with a label: of tables that hold them or name the files, else of a folder per class.

    - A table with labels that names files here decides: files that it does not name are skipped,
      unless they lie in folders that are called as its labels are. Where such a folder says
      another label than the table, the row is rejected, unless columns are mapped.
    - A table that lacks a column, names no file here, or is a sample of a submission, is skipped
      where another table, or folders, give labels. Beside it a lone folder, or some that differ by
      a number alone, are no classes: what says the labels may be in that table.
    - The part is that of the table's column, else of the folder that the file lies in, else of the
      table's name. Where all labelled rows are of one part, nothing is said of parts.

    Raises:
        InvalidInput: nothing gives labels, or a table that does cannot be read.
    """
    sheets, unread = [], {}
    for name in source.tables:
        try:
            sheets.append(_sheet(source, name, content))
        except _Unfit as unfit:
            unread[name] = unfit.error
    classed = list(classes(source.files.names))
    folders = {label for _, label, _ in classed if label}
    if sheets:
        yield from _read_sheets(source, sheets, classed, content)
    elif source.mapped or not folders or (unread and are_shelves(folders)):
        raise _no_labels(source, unread)
    else:
        yield from load_folders(source.tree, classed, content.column, content.load)
    for name, error in unread.items():
        yield Skipped(source.tree.where(name), error.message.rstrip("."))


def content_of(value: object) -> object:
    """A value of a table less what is around it: hubs keep `{"bytes": ..., "path": ...}`."""
    return value.get("bytes") or value.get("path") if isinstance(value, dict) else value


def is_bytes(value: object) -> bool:
    """Whether a value of a table is the content of a file."""
    return isinstance(value, bytes | bytearray | memoryview)


class _Unfit(Exception):
    """A table gives no labels of what is here, and why."""

    def __init__(self, error: InvalidInput) -> None:
        super().__init__(error.message)
        self.error = error


def _sheet(source: Source, name: str, content: Content) -> _Sheet:
    """How a table gives labels, judged by its columns and its first rows."""
    tree, where = source.tree, source.tree.where(name)
    if len(source.tables) > 1 and "submission" in PurePosixPath(stem(name)).name.lower():
        raise _Unfit(InvalidInput(f"{where} is a sample of a submission, with labels made up"))
    names = header(tree, name, source.columns)
    wanted, holds = content.wanted, not content.paths
    try:
        ours = match(where, names, source.columns, wanted)
    except InvalidInput:
        wanted, holds = content.by_id, False
        try:
            ours = match(where, names, source.columns, wanted)
        except InvalidInput as error:
            raise _Unfit(error) from None
    first = [] if holds else _first(source, name, content, wanted)
    holds = holds or (wanted is content.wanted and any(map(is_bytes, first)))
    believed = wanted is content.wanted and not source.files.names
    if not holds and not believed and not _names_some(source.files, name, first):
        raise _Unfit(InvalidInput(f"{where} names no file that is here"))
    said = class_names(tree, name, names[ours["label"]])
    return _Sheet(name, wanted, said, holds=holds, parted="split" in ours)


def _first(source: Source, name: str, content: Content, wanted: Wanted) -> list[object]:
    """What the first rows of a table say of the content."""
    for piece in read_table(source.tree, name, source.columns, wanted):
        if not isinstance(piece, Reject | Skipped):
            return [content_of(value) for value in piece[content.column]]
    return []


def _names_some(files: Files, table: str, values: Sequence[object]) -> bool:
    for value in values:
        try:
            files.find(value, table)
        except InvalidInput:
            continue
        return bool(files.names)
    return False


def _read_sheets(
    source: Source,
    sheets: Sequence[_Sheet],
    classed: Sequence[tuple[str, str, str]],
    content: Content,
) -> Iterator[Piece]:
    naming: list[Batch] = []
    said = {split_in(sheet.name) for sheet in sheets if sheet.holds}
    for sheet in sheets:
        for piece in () if sheet.holds else _find_files(source, sheet, content):
            if isinstance(piece, Reject | Skipped):
                yield piece
            else:
                naming.append(piece)
                said.update(piece["split"])
    parted = len(said) > 1 or any(sheet.parted for sheet in sheets)
    for sheet in sheets:
        if sheet.holds:
            yield from _read_content(source, sheet, content, parted=parted)
    rows = naming if parted else [_unparted(rows) for rows in naming]
    yield from _read_named(source, _sure_of_ids(rows, content.column), classed, content)


def _read_named(
    source: Source,
    named: Sequence[Batch],
    classed: Sequence[tuple[str, str, str]],
    content: Content,
) -> Iterator[Piece]:
    """The rows that name files, and what becomes of each file that none of them names."""

    def load(file: object) -> object:
        return content.load(source.tree.read(str(file)))

    folders = {} if source.mapped else {name: label for name, label, _ in classed if label}
    labels = _labels(named, content.column)
    words = {label for given in labels.values() for label in given}
    if not words & {*folders.values()}:
        folders = {}  # they are called otherwise than the labels are: shelves, and not classes
    for rows in named:
        kept, refused = _judge(rows, labels, folders, content.column)
        yield from refused
        yield from load_column(take(rows, kept), content.column, load)
    files = {file for _, file in labels}
    rest = [entry for entry in classed if entry[0] not in files]
    spare = [entry for entry in rest if entry[0] in folders]
    yield from load_folders(source.tree, spare, content.column, content.load)
    for name, _, _ in rest:
        if name not in folders:
            yield Skipped(source.tree.where(name), "no table with labels names it")


def _sure_of_ids(named: Sequence[Batch], column: str) -> Sequence[Batch]:
    """The rows; less their ids where one stands for two files, as each part may count from 1."""
    files: dict[object, str] = {}
    for rows in named:
        for id_, file in zip(rows.get(f"{column}_id", ()), rows[column], strict=False):
            if files.setdefault(id_, file) != file:
                return [without(some, [f"{column}_id"]) for some in named]
    return named


def _unparted(rows: Batch) -> Batch:
    return {**rows, "split": objects([""] * len(rows["split"]))}


def _rows(source: Source, sheet: _Sheet) -> Iterator[Piece]:
    for piece in read_table(source.tree, sheet.name, source.columns, sheet.wanted):
        if isinstance(piece, Reject | Skipped):
            yield piece
        else:
            yield from with_names(piece, sheet.classes)


def _read_content(
    source: Source, sheet: _Sheet, content: Content, *, parted: bool
) -> Iterator[Piece]:
    def load(value: object) -> object:
        value = content_of(value)
        if is_bytes(value):
            return value
        return content.load(source.tree.read(_found(source, sheet, content, value)))

    for piece in _rows(source, sheet):
        if isinstance(piece, Reject | Skipped):
            yield piece
        else:
            rows = piece if parted else _unparted(piece)
            yield from load_column(rows, content.column, load) if content.paths else [rows]


def _find_files(source: Source, sheet: _Sheet, content: Content) -> Iterator[Piece]:
    """The rows of a table with the paths of the files that it means, and the part of each."""
    part = split_in(sheet.name)
    for piece in _rows(source, sheet):
        if isinstance(piece, Reject | Skipped):
            yield piece
            continue
        kept, paths = [], []
        for row, value in enumerate(piece[content.column]):
            try:
                paths.append(_found(source, sheet, content, content_of(value)))
                kept.append(row)
            except InvalidInput as error:
                yield Reject(piece["where"][row], error.message)
        rows = {**take(piece, np.asarray(kept, dtype=np.int64)), content.column: objects(paths)}
        if not sheet.parted:
            rows["split"] = objects(part_of(path) or part for path in paths)
        yield rows


def _found(source: Source, sheet: _Sheet, content: Content, value: object) -> str:
    try:
        return source.files.find(value, sheet.name)
    except InvalidInput as error:
        raise InvalidInput(f"{content.column} {error.message}") from None


def _labels(batches: Sequence[Batch], column: str) -> dict[tuple[str, str], dict[str, str]]:
    """Of each file, by its row's id and its name: the labels that it is given, and where first."""
    labels: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for rows in batches:
        ids = rows.get(f"{column}_id", objects([""] * len(rows["where"])))
        for id_, file, label, where in zip(
            ids, rows[column], rows["label"], rows["where"], strict=True
        ):
            labels[str(id_), file].setdefault(str(label), where)
    return labels


def _judge(
    rows: Batch,
    labels: Mapping[tuple[str, str], Mapping[str, str]],
    folders: Mapping[str, str],
    column: str,
) -> tuple[NDArray[np.int64], list[Piece]]:
    """The rows to take, and what is said of each other: named twice, or against another label."""
    ids = rows.get(f"{column}_id", objects([""] * len(rows["where"])))
    kept: list[int] = []
    refused: list[Piece] = []
    for row, (file, where) in enumerate(zip(rows[column], rows["where"], strict=True)):
        label, given = str(rows["label"][row]), labels[str(ids[row]), file]
        if len(given) > 1:
            both = " and ".join(repr(word) for word in [*given][:2])
            refused.append(Reject(where, f"label of {file!r} is {both} in different rows"))
        elif given[label] != where:
            refused.append(Skipped(where, f"{file!r} is named before, with the same label"))
        elif folders.get(file, label) != label:
            reason = f"label is {label!r}, but {file!r} lies in the folder {folders[file]!r}"
            refused.append(Reject(where, reason))
        else:
            kept.append(row)
    return np.asarray(kept, dtype=np.int64), refused


def _no_labels(source: Source, unread: Mapping[str, InvalidInput]) -> InvalidInput:
    files, tree = source.files.names, source.tree
    tops = sorted({PurePosixPath(name).parts[0] for name in files if "/" in name})
    if unread and (source.mapped or not tops):
        return next(iter(unread.values()))
    lie = f"{', '.join(tops[:5])} are no folders of classes" if tops else "they lie in no folders"
    said = "".join(f" {error.message.rstrip('.')}." for error in [*unread.values()][:3])
    return InvalidInput(
        f"Nothing says what the {len(files):,} files in {tree.place} show: {lie}, "
        f"and no table with labels names them.{said}",
        hint="Put them into a folder per class (train/cat/1.png), or a table beside them, with a "
        "column of their paths and one of labels"
        + (", or say which one that is, as in --map label=NAME." if unread else "."),
    )
