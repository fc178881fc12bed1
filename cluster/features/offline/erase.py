"""Erase the rows of a key: rewrite the files that contain one without it, and remove the old."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.features.offline.bucket import Bucket
from cluster.features.offline.commits import ViewState
from cluster.features.offline.compact import lineage_of
from cluster.features.offline.datafile import DataFile, read_file, read_some, write_file
from cluster.features.offline.ledger import Ledger
from cluster.features.offline.retire import expire, retired
from cluster.features.offline.shape import ARRIVED
from cluster.features.offline.snapshot import Snapshot, winners
from cluster.features.schema.view import View

Wanted = Mapping[str, str]
"""Parts of a key and their values: all rows that have these."""


def rows_about(snapshot: Snapshot, wanted: Wanted) -> pl.DataFrame:
    """Key, event time and `created` of all rows with a key, those that count no more included."""
    names = [*snapshot.shape.key, "event_time", "created"]
    return _of(snapshot.index(snapshot.files), wanted).select(names)


def erase(ledger: Ledger, view: View, snapshot: Snapshot, state: ViewState, wanted: Wanted) -> int:
    """Rewrites all files of a view that hold rows of a key, and removes them; nobody may merge now.

    Killed in the middle, it leaves the rows as they were or erased; the same again completes it.

    Args:
        ledger: where the commits are.
        view: whose rows.
        snapshot: what the state says.
        state: what is known.
        wanted: which rows.

    Returns how many rows counted that are erased.

    Raises:
        NotEnough: the disk is full. Corrupt: a file is damaged. Nothing has changed then.
    """
    bucket = ledger.bucket
    _remove_older(bucket, snapshot, wanted)
    if not (affected := [file for file in snapshot.files if _has(bucket, view.name, file, wanted)]):
        return 0
    erased = len(winners(_of(snapshot.index(affected), wanted), snapshot.shape.key))
    made: list[DataFile] = []
    place = note = ""
    try:
        made += (new for old in affected for new in _without(bucket, view, snapshot, old, wanted))
        note = _note(bucket, view.name, affected)
        kept = (file for file in snapshot.files if file not in affected)
        name, commit = ledger.whole(snapshot, state, [*kept, *made], affected)
        commit = replace(commit, count=state.count + 1, erased=state.erased + 1)
        place = ledger.place(view.name, name)
        ledger.publish(view.name, name, commit)
    except BaseException:
        if not place or bucket.absent(place):
            bucket.remove([f"{view.name}/data/{file.name}" for file in made] + [note] * bool(note))
        raise
    ledger.forget(view.name, state)
    bucket.remove([note, *(f"{view.name}/data/{file.name}" for file in affected)])
    return erased


def _remove_older(bucket: Bucket, snapshot: Snapshot, wanted: Wanted) -> None:
    """Removes what was made of the rows, and files with such rows that count no more."""
    view, live = snapshot.view, {file.name for file in snapshot.files}
    expire(bucket, view, live)  # an erasure that was killed after its commit left a note
    sketches = bucket.ages(f"{view}/sketches")  # made of the rows, to find near-copies by
    bucket.remove(f"{view}/sketches/{name}" for name in sketches)
    for name in retired(bucket, view) - live:
        if _holds(bucket, f"{view}/data/{name}", wanted):
            bucket.remove([f"{view}/data/{name}"])


def _without(
    bucket: Bucket, view: View, snapshot: Snapshot, file: DataFile, wanted: Wanted
) -> list[DataFile]:
    """The file that holds the other rows of one, as they came; none where there are none."""
    names = [*snapshot.shape.types, ARRIVED]
    table = snapshot.shape.filled(read_file(bucket, view.name, file, names), names)
    kept = table.filter(pa.array(~_matching(table, wanted)))
    if not kept.num_rows:
        return []
    parents = (file.name,)
    lineage = lineage_of([file], parents)
    new = write_file(bucket, view, kept)
    return [replace(new, arrived=file.arrived, parents=parents, lineage=lineage)]


def _note(bucket: Bucket, view: str, files: Sequence[DataFile]) -> str:
    """Lets files be removed as soon as they count no more, by whoever comes next."""
    name = f"{view}/gone/{time.time_ns():020d}-{uuid4().hex}.json"
    bucket.put(name, orjson.dumps([file.name for file in files]))
    return name


def _has(bucket: Bucket, view: str, file: DataFile, wanted: Wanted) -> bool:
    return bool(_matching(read_some(bucket, view, file, list(wanted)), wanted).any())


def _holds(bucket: Bucket, place: str, wanted: Wanted) -> bool:
    """Whether a file that counts no more holds such a row; one that cannot be read may do so."""
    try:
        with pq.ParquetFile(bucket.source(place)) as file:
            return bool(_matching(file.read(columns=list(wanted)), wanted).any())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, pa.ArrowException):
        return True


def _of(index: pl.DataFrame, wanted: Wanted) -> pl.DataFrame:
    return index.filter(*(pl.col(name) == value for name, value in wanted.items()))


def _matching(table: pa.Table, wanted: Wanted) -> NDArray[np.bool_]:
    frame = pl.DataFrame(pl.from_arrow(table.select(list(wanted))))
    every = pl.all_horizontal(pl.col(name) == value for name, value in wanted.items())
    found: NDArray[np.bool_] = frame.select(every.alias("found"))["found"].to_numpy()
    return found
