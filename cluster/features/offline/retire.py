"""Keep files that count no more for those who still read them, and remove them after a while."""

import time
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from uuid import uuid4

import orjson

from cluster.features.offline.bucket import Bucket
from cluster.features.offline.datafile import DataFile

SMALL_ROWS = 4_096
"""Files with fewer rows are those of pushes: they stay less long once they were merged."""
LARGE_KEEP = 24
"""So many times as long do the others stay: trainings read them for hours."""


def retire(bucket: Bucket, view: str, files: Sequence[DataFile], keep_s: float) -> list[str]:
    """Notes until when files stay that are about to count no more.

    Returns:
        The names of the notes, to remove should they count on.
    """
    now = time.time_ns()
    notes = []
    for large, some in groupby(
        sorted(files, key=lambda file: file.rows), lambda file: file.rows >= SMALL_ROWS
    ):
        until = now + int(keep_s * 10**9) * (LARGE_KEEP if large else 1)
        notes.append(f"{view}/gone/{until:020d}-{uuid4().hex}.json")
        bucket.put(notes[-1], orjson.dumps([file.name for file in some]))
    return notes


def expire(bucket: Bucket, view: str, live: Collection[str]) -> None:
    """Removes the files that stayed long enough; those that do count stay, whatever was noted."""
    now = time.time_ns()
    for note in bucket.names(f"{view}/gone"):
        until, _, rest = note.partition("-")
        if not rest.endswith(".json") or int(until) > now:
            continue
        names = _noted(bucket, f"{view}/gone/{note}")
        bucket.remove(f"{view}/data/{name}" for name in names if name not in live)
        bucket.remove([f"{view}/gone/{note}"])


def retired(bucket: Bucket, view: str) -> set[str]:
    """The files that count no more and stay for a while."""
    notes = (f"{view}/gone/{note}" for note in bucket.names(f"{view}/gone"))
    return {name for note in notes for name in _noted(bucket, note)}


def _noted(bucket: Bucket, note: str) -> Iterable[str]:
    """The files of a note; of one that was cut short, or that somebody else removed, none."""
    try:
        found: list[str] = orjson.loads(bucket.read(note))
    except (orjson.JSONDecodeError, FileNotFoundError):
        return ()
    return found
