"""Make of rows of a view what is written online: its newest rows, and the events behind windows."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence

import polars as pl
import pyarrow as pa

from cluster.base.errors import Conflict, Corrupt
from cluster.features.offline.snapshot import DataFile, Snapshot
from cluster.features.online.events import Retention, Streams
from cluster.features.online.found import moment_of, never, other_columns
from cluster.features.online.keeper import Merge, Put
from cluster.features.online.merging import Merging
from cluster.features.online.packing import Layout, key_text, types_of
from cluster.features.schema.view import View

TOGETHER_ROWS = 250_000
TOGETHER_BYTES = 256_000_000
"""How much is brought in one transaction: many small files at once, but not all of many."""
EXTRA = ("event_time", "created")


def lacking(head: Snapshot, brought: Mapping[str, Collection[str]]) -> list[DataFile]:
    """The files of which some shelf lacks rows, in the order in which they came.

    A file that was merged from others lacks nothing where all of those were brought.
    """
    files = sorted(head.files, key=lambda file: file.arrived)
    return [file for file in files if not all(has(names, file) for names in brought.values())]


def has(brought: Collection[str], file: DataFile) -> bool:
    """Whether the rows of a file are there, as its own or as those of the files it was made of."""
    if file.name in brought:
        return True
    there: set[str] = set()
    for name, parents in reversed(((file.name, file.parents), *file.lineage)):
        if parents and all(parent in brought or parent in there for parent in parents):
            there.add(name)
    return file.name in there


def needed(head: Snapshot, noted: Collection[str]) -> set[str]:
    """The files by which `has` tells what is there, once some of them are noted."""
    names = {name for file in head.files for name in (file.name, *file.parents)}
    unnoted = (file for file in head.files if file.name not in noted)
    older = (parents for file in unnoted for _, parents in file.lineage)
    return names.union(*older)


def tables(
    view: View, head: Snapshot, files: Sequence[DataFile], streams: Streams
) -> Iterator[tuple[list[DataFile], pa.Table]]:
    """The rows of files, several files together, in their order.

    Raises:
        Corrupt: a file is damaged or gone; what comes before it is given first.
    """
    used = (name for _, kept in streams.values() for name in kept.types)
    names = list(dict.fromkeys([*view.key, *EXTRA, *view.columns, *used]))
    some: list[DataFile] = []
    read: list[pa.Table] = []
    for file in files:
        try:
            # A merged file comes after files that may hold what replaces rows of its own.
            table = (head.rows_of if file.parents else head.table_of)(file, names)
        except Corrupt:
            if some:
                yield some, pa.concat_tables(read)
            raise
        some.append(file)
        read.append(table)
        full = sum(one.nbytes for one in read) >= TOGETHER_BYTES
        if full or sum(one.num_rows for one in read) >= TOGETHER_ROWS:
            yield some, pa.concat_tables(read)
            some, read = [], []
    if some:
        yield some, pa.concat_tables(read)


def changes(
    view: View,
    rows: pa.Table,
    declared: Mapping[str, str | None],
    streams: Streams,
    files: Sequence[str] = (),
) -> list[Put | Merge]:
    """What is written to each shelf that is declared.

    Args:
        view: whose rows.
        rows: its key, columns, `event_time` and `created`.
        declared: of each shelf that is written to what it holds.
        streams: the events behind windows.
        files: the data files that the rows are all of.

    Raises:
        NotFound: a shelf is not declared.
        Conflict: it is declared to hold something else.
    """
    made: list[Put | Merge] = []
    index = _index(rows, [*view.key, *EXTRA])
    for shelf, declaration in declared.items():
        if declaration is None:
            raise never(view)
        if shelf == view.name:
            made.append(_put(view, rows, index, declaration, files))
            continue
        key, wanted = streams[shelf]
        kept = Retention.read(declaration)
        if not kept.covers(wanted):
            raise Conflict(
                f"Windows by {', '.join(key)} need more events of {view.name!r} than are online.",
                hint=f"Bring them: python -m services materialize {view.name}",
            )
        keys, own = index.select(key_text(key), key_text(view.key).alias("own"))
        merging = Merging.of(kept, rows, keys, own, moment_of(None))
        made.append(Merge(shelf, declaration, merging.keys, merging, files))
    return made


def _put(
    view: View, rows: pa.Table, index: pl.DataFrame, declaration: str, files: Sequence[str]
) -> Put:
    """The newest row of each key, by key: neighbours in the table are then written together."""
    types = json.loads(declaration)
    if types != types_of(view.columns):
        raise other_columns(view, types)
    places = index.select(key_text(view.key).alias("key"), *EXTRA).with_row_index("row")
    if len(places) > 1:
        newest = places.sort(*EXTRA, "row").unique("key", keep="last", maintain_order=True)
        places = newest.sort("key")
    table = rows.take(places["row"].to_arrow())
    return Put(view.name, declaration, places["key"].to_list(), Layout(types).pack(table), files)


def _index(rows: pa.Table, names: Sequence[str]) -> pl.DataFrame:
    """Some columns of rows as a frame, moments as microseconds."""
    frame = pl.DataFrame(pl.from_arrow(rows.select(names)))
    return frame.with_columns(pl.col(*EXTRA).to_physical())
