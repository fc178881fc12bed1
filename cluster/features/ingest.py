"""Bring raw files into the feature layer: all of their good rows, or none."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from cluster.batch import Arrays, Batch, length, take
from cluster.errors import InvalidInput
from cluster.features.column import Time
from cluster.features.durable import make_folder, new_file
from cluster.features.store import Store
from cluster.features.times import zone_named
from cluster.features.view import Reject, View

Progress = Callable[[int, int], None]
"""Told after every batch how many rows were read so far, and how many of them rejected."""
MAX_REJECT_SHARE = 0.01


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Args:
        view: the view's name.
        rows: how many rows the source holds, bad ones included.
        new: rows whose key and event time were not there.
        same: rows that were there with the same values.
        replaced: rows that were there with other values.
        doubled: rows that a later row of the same source took the place of.
        rejects: bad rows.
        rejects_file: where each of them stands with its reason, if there are any.
        commit: the number of the commit after which all of it holds.
    """

    view: str
    rows: int
    new: int
    same: int
    replaced: int
    doubled: int
    rejects: int
    rejects_file: Path | None
    commit: int


def ingest(
    view: View,
    paths: Sequence[Path],
    store: Store,
    *,
    columns: Mapping[str, str] | None = None,
    max_reject_share: float = MAX_REJECT_SHARE,
    progress: Progress | None = None,
) -> Ingested:
    """Reads raw files into a view; the same files again change nothing.

    Args:
        view: what the rows are.
        paths: files or folders, as the view's reader describes them.
        store: where the rows go.
        columns: which source column is which of ours, and `timezone` for times that name no zone.
        max_reject_share: the share of bad rows above which nothing is taken in.
        progress: is told how far it is.

    Raises:
        NotFound: a path is missing.
        InvalidInput: there are no rows, too many bad ones, or columns are not found.
        Conflict: the stored columns are not the view's.
        NotEnough: the disk is full; nothing was written.
    """
    if view.read is None:
        raise InvalidInput(
            f"View {view.name!r} has no reader.", hint="Rows that are made go in by ingest_rows."
        )
    mapping = dict(columns or {})
    zone = mapping.pop("timezone", "")
    zone_named(zone)  # a wrong name is one mistake, not one bad row after another
    raw = view.read(paths, mapping)
    return _take_in(
        view, raw, store, zone=zone, max_reject_share=max_reject_share, progress=progress
    )


def ingest_rows(
    view: View, rows: Batch, store: Store, *, max_reject_share: float = MAX_REJECT_SHARE
) -> Ingested:
    """The same for rows that are at hand, such as those that a view's `sample` draws."""
    return _take_in(view, [rows], store, max_reject_share=max_reject_share)


def admit(view: View, raw: Batch, *, zone: str = "") -> tuple[Arrays, list[Reject]]:
    """Raw rows to the good ones of them, and a Reject for each bad one.

    Raises:
        InvalidInput: a column is missing, or columns differ in length.
    """
    rows = length(raw)
    schema = {**view.schema, "event_time": Time(zone)}
    good: Arrays = {}
    faults: dict[int, str] = {}
    for name, column in schema.items():
        if name not in raw:
            if name in ("event_time", "split"):
                continue
            raise InvalidInput(
                f"Rows of {view.name!r} need a column {name!r}; these have {', '.join(raw)}."
            )
        if len(raw[name]) != rows:
            raise InvalidInput(f"Column {name!r} has {len(raw[name])} values for {rows} rows.")
        good[name], bad = column.admit(raw[name])
        for row, reason in bad.items():
            faults.setdefault(row, f"{name} {reason}")
    where = raw.get("where")
    rejects = [
        Reject(f"row {row}" if where is None else where[row], faults[row]) for row in sorted(faults)
    ]
    if not faults:
        return good, rejects
    return take(good, np.setdiff1d(np.arange(rows), list(faults))), rejects


def _take_in(
    view: View,
    raw: Iterable[Batch | Reject],
    store: Store,
    *,
    zone: str = "",
    max_reject_share: float,
    progress: Progress | None = None,
) -> Ingested:
    rows = 0
    rejects: list[Reject] = []
    with store.stage(view) as stage:
        for piece in raw:
            if isinstance(piece, Reject):
                rejects.append(piece)
                rows += 1
                continue
            good, bad = admit(view, piece, zone=zone)
            stage.add(good)
            rejects += bad
            rows += length(piece)
            if progress is not None:
                progress(rows, len(rejects))
        if not rows:
            raise InvalidInput(
                f"The source holds no rows for {view.name!r}.", hint="Name one with rows."
            )
        file = _write_rejects(store, view, rejects)
        if len(rejects) > max_reject_share * rows:
            raise _too_many(rejects, rows, max_reject_share, file)
        done = store.commit(stage)
    return Ingested(
        view.name, rows, done.new, done.same, done.replaced, done.doubled, len(rejects), file,
        done.commit,
    )  # fmt: skip


def _write_rejects(store: Store, view: View, rejects: Sequence[Reject]) -> Path | None:
    if not rejects:
        return None
    folder = store.root / "rejects"
    make_folder(folder)
    path = folder / f"{view.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.csv"
    with new_file(path) as file:
        # Half characters of broken text are written as question marks: the file itself is UTF-8.
        text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        writer = csv.writer(text)
        writer.writerow(("where", "reason"))
        writer.writerows((reject.where, reject.reason) for reject in rejects)
        text.detach()  # leaves the file open for its fsync
    return path


def _too_many(
    rejects: Sequence[Reject], rows: int, max_reject_share: float, file: Path | None
) -> InvalidInput:
    first = "; ".join(f"{reject.where}: {reject.reason}" for reject in rejects[:3])
    return InvalidInput(
        f"{len(rejects):,} of {rows:,} rows are bad ({len(rejects) / rows:.1%}), more than the "
        f"{max_reject_share:.1%} that may be left out: nothing was taken in. The first: {first}.",
        hint=f"All stand in {file}; mend them, or allow a larger share.",
        limit=max_reject_share,
        actual=len(rejects) / rows,
    )
