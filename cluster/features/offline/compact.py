"""Merge small files into larger ones, and drop rows that others took the place of."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import ceil

import pyarrow.compute as pc

from cluster.base.errors import Conflict
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.commits import ViewState
from cluster.features.offline.datafile import (
    FILE_BYTES,
    FILE_ROWS,
    SPAN_ROWS,
    DataFile,
    Lineage,
    pieces,
    write_file,
)
from cluster.features.offline.ledger import Ledger
from cluster.features.offline.retire import retire
from cluster.features.offline.shape import ARRIVED
from cluster.features.offline.snapshot import Snapshot, overlapping
from cluster.features.schema.view import View

GROUP_BYTES = 1_000_000_000
"""Files that take more memory together are not merged whole: only the small ones of them are."""
LONGEST_S = 1_800.0
"""After so long a merge is given up: what it began from may be forgotten, see `OVERLAP_NS`."""
LINEAGE_S = 86_400.0
"""So long after its last row came it is known from which files the parents of a file were merged;
by then the online side has noted one of them."""
MOST_NAMED = 256
"""So many files are named there: each commit that says all repeats them."""

Choice = Callable[[Snapshot], list[list[DataFile]]]
"""Which files are to be merged, in groups."""


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Args:
        merged: how many files it merged.
        made: how many hold their rows now.
        dropped: how many rows it left out, since others took their place.
        left: how many more groups of files are worth merging.
    """

    merged: int
    made: int
    dropped: int
    left: int = 0


def compact(
    ledger: Ledger, view: View, snapshot: Snapshot, state: ViewState, *,
    choose: Choice, keep_s: float,
) -> Compacted:  # fmt: skip
    """Merges files of a view into others, and all its commits into one that says so.

    Args:
        ledger: where the commits are.
        view: whose files.
        snapshot: what the state says.
        state: what is known when it begins; what is written meanwhile stays as it is.
        choose: which files; of many groups as many as make `GROUP_BYTES`.
        keep_s: how long small files stay that others were made from.

    Raises:
        NotEnough: the disk is full; nothing has changed.
        Corrupt: a file that must be read is damaged.
    """
    chosen = choose(snapshot)
    groups = _first(chosen)
    old = [file for group in groups for file in group]
    if not old and not state.pending:
        return Compacted(0, 0, 0)
    made, notes = list[DataFile](), list[str]()
    place, begun = "", time.monotonic()
    try:
        for file in _merged(ledger.bucket, view, snapshot, groups):
            made.append(file)
        notes = retire(ledger.bucket, view.name, old, keep_s)
        _in_time(view, begun)
        name, commit = ledger.whole(snapshot, state, _live(state, old, made), old)
        place = ledger.place(view.name, name)
        ledger.publish(view.name, name, commit)
    except BaseException:
        if not place or ledger.bucket.absent(place):
            ledger.bucket.remove([f"{view.name}/data/{file.name}" for file in made] + notes)
        raise
    ledger.forget(view.name, state)
    dropped = sum(file.rows for file in old) - sum(file.rows for file in made)
    return Compacted(len(old), len(made), dropped, len(chosen) - len(groups))


def worthwhile(snapshot: Snapshot) -> list[list[DataFile]]:
    """What shares days, and neighbours that are small: so that every day is in few files."""
    groups: list[list[DataFile]] = []
    for neighbours in _neighbours(snapshot):
        files = neighbours
        if sum(file.size_bytes for file in files) > GROUP_BYTES:
            files = [file for file in files if file.size_bytes < FILE_BYTES // 4]
        if len(files) < 2:
            continue
        rows = sum(file.rows for file in files)
        size = sum(file.size_bytes for file in files)
        enough = max(ceil(rows / FILE_ROWS), ceil(size / FILE_BYTES))
        lost = sum(len(snapshot.superseded.get(file.name, ())) for file in files)
        if len(files) > 1.5 * enough or 10 * lost > rows:
            groups.append(files)
    return groups


def recent(snapshot: Snapshot) -> list[list[DataFile]]:
    """The files of late pushes, and earlier merged ones that are not much larger together.

    A row is thus written again only as often as the number of rows has doubled.
    """
    chosen: list[DataFile] = []
    rows = 0
    for file in sorted(snapshot.files, key=lambda file: file.rows):
        if file.rows > max(2 * rows, 64) or rows > SPAN_ROWS:
            break
        chosen.append(file)
        rows += file.rows
    return [chosen] if len(chosen) > 1 else []


def _merged(
    bucket: Bucket, view: View, snapshot: Snapshot, groups: list[list[DataFile]]
) -> Iterator[DataFile]:
    """The files that hold the live rows of others, made one by one."""
    names = [*snapshot.shape.types, ARRIVED]
    for files in groups:
        for table in replace(snapshot, files=tuple(files)).partitions(names):
            for part in pieces(table):
                file = write_file(bucket, view, part)
                parents = tuple(
                    f.name for f in files if f.oldest <= file.newest and f.newest >= file.oldest
                )
                arrived, lineage = pc.max(part[ARRIVED]).as_py(), lineage_of(files, parents)
                yield replace(file, arrived=arrived, parents=parents, lineage=lineage)


def lineage_of(files: Sequence[DataFile], parents: Sequence[str]) -> Lineage:
    """What those of the files were merged from that are parents, the latest merges first."""
    merged = [file for file in files if file.parents and file.name in parents and _late(file)]
    found = [(file.name, file.parents) for file in merged]
    found += [one for file in merged for one in file.lineage]
    found = list(dict(found[::-1]).items())[::-1]  # each once, after all that were merged from it
    named = accumulate(len(names) for _, names in found)
    return tuple(one for one, names in zip(found, named, strict=True) if names <= MOST_NAMED)


def _late(file: DataFile) -> bool:
    return time.time_ns() - file.arrived < LINEAGE_S * 1e9


def _in_time(view: View, begun: float) -> None:
    if time.monotonic() - begun > LONGEST_S:
        raise Conflict(
            f"Merging files of {view.name!r} took more than half an hour.",
            hint="It is given up, and nothing has changed: run it where more memory or time is.",
        )


def _live(state: ViewState, old: Sequence[DataFile], made: Sequence[DataFile]) -> list[DataFile]:
    gone = {file.name for file in old}
    live = [file for file in state.files if file.name not in gone]
    return [*(file if _late(file) else replace(file, lineage=()) for file in live), *made]


def _first(groups: list[list[DataFile]]) -> list[list[DataFile]]:
    """As many groups as may be merged before the next commit."""
    size = 0
    for number, group in enumerate(groups):
        size += sum(file.size_bytes for file in group)
        if size > GROUP_BYTES and number:
            return groups[:number]
    return groups


def _neighbours(snapshot: Snapshot) -> Iterator[list[DataFile]]:
    """Groups of files that share days, joined with the next ones while they are small."""
    held: list[DataFile] = []
    for files in overlapping(snapshot.files):
        rows = sum(file.rows for file in held)
        apart = bool(held) and _always(held) != _always(files)
        if held and (apart or rows + sum(file.rows for file in files) > SPAN_ROWS):
            yield held
            held = []
        held = [*held, *files]
    if held:
        yield held


def _always(files: Sequence[DataFile]) -> bool:
    """Whether they hold rows that have held always."""
    return any(file.days[0].astype(int) == 0 for file in files)
