"""Join tables that are larger than memory: by parts of the key, of which each fits."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.base.errors import NotEnough
from cluster.features.joins.held import (
    Asked,
    AsOf,
    among,
    held,
    history_of,
    leaves,
    micros,
)
from cluster.features.joins.history import History, Piece, batches, framed
from cluster.features.joins.join import all_held, asked_of, finish
from cluster.features.schema.view import Inputs, View

ROW, TIME, KNOWN = "__row", "__time", "__known"
MOST_FILES = 256  # open at once: of each part one for every view, while they are put together
TIMES_SIZE = 6  # how much more than its rows take a part needs: sorting, gathering, what is kept
PLAIN = pl.CompatLevel.oldest()  # else a slice of strings carries the strings of all rows
WORKING_BYTES = 150_000_000  # what reading, writing and the libraries take, however small a part is
MERGED_ROWS = 65_536  # examples that are put together at once
READ_ROWS = 4_096  # of each part, while the parts are put together

Each = Callable[[Callable[[Any], None], Sequence[Any]], None]
"""Does a piece of work for every item, in any order, anywhere: what is made lies in files."""


def one_by_one(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Does the work here."""
    for item in items:
        work(item)


def join_files(
    examples: Path,
    views: Sequence[View],
    history: History,
    target: Path,
    *,
    memory_bytes: int,
    inputs: Inputs | None = None,
    each: Each = one_by_one,
    parts: int = 0,
) -> int:
    """What `join_frame` gives, from a Parquet file to a Parquet file, in a bounded memory.

    Examples and rows are split by the hash of the key into parts that lie beside the target; each
    is joined by itself, and all is put back in order. Only a key that alone is too large is not.

    Args:
        examples: as for `join_frame`, as are views, history and inputs.
        views: whose columns are wanted.
        history: where the rows are.
        target: the file to write, there only once it is whole.
        memory_bytes: how much this process, or each worker, may take in all.
        inputs: what functions are made from.
        each: where the parts are joined; other machines must see the folder of the target.
        parts: how many parts are made; 0 for as few as the memory allows.

    Returns the number of rows.

    Raises:
        NotEnough: the memory allowed is too small even for many parts.
    """
    inputs = inputs or among(views)
    sources = leaves(views, inputs)
    parts = parts or _parts(sources, history, memory_bytes)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as made:
        folder, whole = Path(made), Path(made) / "joined.parquet"
        _join_parts(examples, sources, history, parts, folder, each=each)
        rows = _merge(examples, views, inputs, sources, whole)
        whole.replace(target)
    return rows


def _join_parts(
    examples: Path,
    sources: Sequence[View],
    history: History,
    parts: int,
    folder: Path,
    *,
    each: Each,
) -> None:
    """Splits both sides and joins part by part; what is found lies in a folder for each view."""
    _split_examples(examples, sources, parts, folder)
    each(_split, list(_splits(sources, history, parts, folder)))
    newest = {view.name: history.newest(history_of(view)[0]) for view in sources}
    each(
        _join,
        [_part(view, part, folder, newest[view.name]) for view in sources for part in range(parts)],
    )


def _parts(sources: Sequence[View], history: History, memory_bytes: int) -> int:
    """How many parts each of the tables is split in, so that one fits in what is still free."""
    room = memory_bytes - psutil.Process().memory_info().rss - WORKING_BYTES
    size = max((history.size_bytes(*history_of(view)) for view in sources), default=0)
    if room <= 0 or TIMES_SIZE * size > MOST_FILES // max(1, len(sources)) * room:
        raise NotEnough(
            f"{memory_bytes:,} bytes of memory are too few to join {size:,} bytes of rows.",
            hint=f"Allow more: what this process has, {WORKING_BYTES:,} to work with, and a part.",
            limit=memory_bytes,
            actual=size,
        )
    return max(1, math.ceil(TIMES_SIZE * size / room))


@dataclass(frozen=True)
class _Split:
    """Some rows to be split by key: the part of that number gets them as a file of this name."""

    piece: Piece
    key: tuple[str, ...]
    parts: int
    folder: Path
    name: str


def _splits(
    sources: Sequence[View], history: History, parts: int, folder: Path
) -> Iterator[_Split]:
    """All rows that must be split, some for each piece of work."""
    for view in sources:
        for number, piece in enumerate(history.pieces(*history_of(view))):
            yield _Split(piece, view.key, parts, folder / f"{view.name}-rows", f"{number:06d}")


def _split(work: _Split) -> None:
    with ExitStack() as opened:
        files: dict[int, Any] = {}
        for table in work.piece():
            keys = pl.DataFrame(pl.from_arrow(table.select(list(work.key))))
            # the same for the same strings wherever it is computed by one version of Polars
            part = (keys.hash_rows(seed=0) % work.parts).to_numpy().astype(np.int64)
            ordered = table.take(pa.array(np.argsort(part, kind="stable")))
            ends = np.cumsum(np.bincount(part, minlength=work.parts))
            for number in np.unique(part).tolist():
                if number not in files:
                    place = work.folder / str(number)
                    place.mkdir(parents=True, exist_ok=True)
                    files[number] = opened.enter_context(
                        _writer(place / f"{work.name}.arrow", table.schema)
                    )
                start = int(ends[number - 1]) if number else 0
                files[number].write_table(ordered.slice(start, int(ends[number]) - start))


def _split_examples(examples: Path, sources: Sequence[View], parts: int, folder: Path) -> None:
    """What the examples ask of each key, split by it."""
    keys = {view.key for view in sources}
    names = list(dict.fromkeys([*(name for key in keys for name in key), "event_time"]))

    def questions() -> Iterator[pa.Table]:
        row = 0
        for frame in examples_of(examples, names):
            asked = asked_of(frame, sources).frame
            numbers = pl.Series(ROW, np.arange(row, row + len(frame)))
            yield asked.with_columns(numbers).to_arrow(compat_level=PLAIN)
            row += len(frame)

    for key in keys:
        _split(_Split(questions, key, parts, _asked_folder(folder, key), "0"))


def _asked_folder(folder: Path, key: tuple[str, ...]) -> Path:
    return folder / f"asked-{'-'.join(key)}"


@dataclass(frozen=True)
class _Part:
    """One part of a view to be joined: files of questions and of rows, and the file to make."""

    view: View
    asked: Path
    rows: Path
    target: Path
    newest: np.datetime64


def _part(view: View, number: int, folder: Path, newest: np.datetime64) -> _Part:
    return _Part(
        view,
        _asked_folder(folder, view.key) / f"{number}",
        folder / f"{view.name}-rows" / f"{number}",
        folder / f"{view.name}-held" / f"{number:06d}.arrow",
        newest,
    )


def _join(work: _Part) -> None:
    if not work.asked.exists():
        return
    asked = pl.concat([_frame(path) for path in sorted(work.asked.iterdir())])
    view = work.view
    stored, columns = history_of(view)
    there = sorted(work.rows.iterdir()) if work.rows.exists() else []
    rows = pl.concat(map(_frame, there)) if there else framed(stored, None, columns)
    questions = Asked(asked.select(view.key), micros(asked["event_time"]))
    found = held(view, questions, rows, work.newest)
    made = found.frame().with_columns(
        asked[ROW], pl.Series(TIME, found.times), pl.Series(KNOWN, found.known)
    )
    work.target.parent.mkdir(exist_ok=True)
    table = made.to_arrow(compat_level=PLAIN)
    with _writer(work.target, table.schema) as file:
        file.write_table(table, max_chunksize=READ_ROWS)


class _Reader:
    """Reads what was found for the questions of one part, in their order."""

    def __init__(self, path: Path) -> None:
        self._frames = _frames(path)
        self._rest: pl.DataFrame | None = None

    def before(self, row: int) -> Iterator[pl.DataFrame]:
        """What was not read yet of the questions before that row of the examples."""
        while True:
            rest = next(self._frames, None) if self._rest is None else self._rest
            if rest is None:
                return
            end = int(rest[ROW].search_sorted(row))
            yield rest[:end]
            self._rest = rest[end:] if end < len(rest) else None
            if self._rest is not None:
                return


def _merge(
    examples: Path, views: Sequence[View], inputs: Inputs, sources: Sequence[View], target: Path
) -> int:
    """Puts what was found beside the examples, in their order, and says how many there are."""
    held_in = {view.name: target.parent / f"{view.name}-held" for view in sources}
    readers = {
        name: [_Reader(path) for path in sorted(folder.iterdir())] if folder.exists() else []
        for name, folder in held_in.items()
    }
    rows = 0
    with ExitStack() as opened:
        file: pq.ParquetWriter | None = None
        for frame in examples_of(examples):
            start, rows = rows, rows + len(frame)

            def found(view: View, start: int = start, end: int = rows) -> AsOf:
                parts = [part for reader in readers[view.name] for part in reader.before(end)]
                return _together(view, parts, end - start)

            asked = asked_of(frame, views)
            table = finish(frame, views, all_held(views, asked, found, inputs)).to_arrow(
                compat_level=PLAIN
            )
            if file is None:
                file = opened.enter_context(pq.ParquetWriter(target, table.schema))
            file.write_table(table)
    return rows


def _together(view: View, parts: Sequence[pl.DataFrame], count: int) -> AsOf:
    """What several parts found for examples that follow each other."""
    if not count:
        none = np.zeros(0, dtype=np.int64)
        return AsOf(framed(view, None, list(view.columns)), none, none)
    frame = pl.concat(parts).sort(ROW)
    found = np.where(frame[KNOWN].to_numpy(), np.arange(count), -1)
    return AsOf(frame.select(list(view.columns)), found, frame[TIME].to_numpy())


def examples_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """A Parquet file as frames of some rows each; an empty one as one empty frame."""
    schema = pq.read_schema(path)
    names = schema.names if columns is None else [n for n in schema.names if n in columns]
    empty = True
    for table in batches(path, names, MERGED_ROWS):
        empty = False
        yield pl.DataFrame(pl.from_arrow(table))
    if empty:
        yield pl.DataFrame(pl.from_arrow(pq.read_table(path, columns=names)))


def _writer(path: Path, schema: pa.Schema) -> Any:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    return pa.ipc.new_stream(path, schema, options=options)


def _frames(path: Path) -> Iterator[pl.DataFrame]:
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches([batch])))


def _frame(path: Path) -> pl.DataFrame:
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return pl.DataFrame(pl.from_arrow(stream.read_all()))
