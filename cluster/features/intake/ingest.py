"""Bring raw files into the feature layer: all of their good rows, or none."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, length, objects, take, without
from cluster.base.errors import InvalidInput
from cluster.features.intake.dates import SAY_FORMAT
from cluster.features.intake.files.decoding import SAY_ENCODING
from cluster.features.intake.folders import split_in
from cluster.features.intake.naming import Repeats, fingerprints
from cluster.features.intake.summary import Summary, Tally
from cluster.features.offline.stage import Stage
from cluster.features.offline.store import Store
from cluster.features.schema.column import ALWAYS, Column, Time, times
from cluster.features.schema.times import ISO, zone_named
from cluster.features.schema.view import Piece, Reader, Reject, Skipped, Unused, View

Progress = Callable[[int, int], None]
"""Told after every batch how many rows were read so far, and how many of them rejected."""
MAX_REJECT_SHARE = 0.01
AHEAD = np.timedelta64(5, "m")
"""How far the clock of a source may be ahead of ours."""
OPTIONAL = frozenset(("event_time", "split", "created"))
"""What rows may leave out: they have held always, are in no part, were created when they came."""


@dataclass(frozen=True)
class Ingested:
    """What an ingest did.

    Args:
        view: the view's name.
        rows: how many rows the source holds, bad ones included.
        new: rows whose key and event time were not there.
        same: rows that were there with the same values.
        replaced: rows that were there with other values, or were created earlier.
        doubled: rows that another row of the same source took the place of.
        rejects: bad rows.
        rejects_file: where each of them, and each skipped file, stands with its reason, if there
            are any.
        commit: how many writes there were once all of it held.
        older: rows of which one that was created later is there: they change nothing.
        skipped: files of the sources that were not read, which are no rows.
        summary: what the rows hold, and what looks wrong with them.
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
    older: int = 0
    skipped: tuple[Skipped, ...] = ()
    summary: Summary = field(default_factory=Summary)


def ingest(
    view: View,
    paths: Sequence[Path | str],
    store: Store,
    *,
    columns: Mapping[str, str] | None = None,
    max_reject_share: float = MAX_REJECT_SHARE,
    progress: Progress | None = None,
) -> Ingested:
    """Reads raw files into a view; the same files again change nothing.

    Args:
        view: what the rows are.
        paths: files, folders or zips, as the view's reader describes them; each is a source of its
            own, so that several at once leave the same rows as one after the other.
        store: where the rows go.
        columns: which source column is which of ours, `-` for one that the source does not have;
            `created` for when the source says that rows were, which decides between two that are
            for one moment; and `timezone`, where times that name no zone were written:
            `Europe/London`.
        max_reject_share: the share of bad rows above which nothing is taken in.
        progress: is told how far it is.

    Raises:
        NotFound: a path is missing.
        InvalidInput: there are no rows, too many bad ones, or columns are not found.
        Conflict: the stored columns are not the view's.
        NotEnough: the disk is full; nothing was written.
    """
    if view.read is None:
        raise _unreadable(view)
    mapping = dict(columns or {})
    zone = mapping.pop("timezone", "")
    zone_named(zone)  # a wrong name is one mistake, not one bad row after another
    raw = _sources(view.read, paths, mapping)
    return _take_in(
        view, raw, store, zone=zone, max_reject_share=max_reject_share, progress=progress
    )


def _unreadable(view: View) -> InvalidInput:
    if view.needs:
        made_from = " or ".join(view.needs)
        return InvalidInput(
            f"View {view.name!r} is made from {made_from}, so no files are ingested into it.",
            hint=f"Ingest into {made_from}.",
        )
    return InvalidInput(
        f"View {view.name!r} has no reader, so no files are ingested into it.",
        hint=f"Push its rows, or declare the view with read=: python -m services push {view.name}",
    )


def ingest_rows(
    view: View, rows: Batch, store: Store, *, max_reject_share: float = MAX_REJECT_SHARE
) -> Ingested:
    """The same for rows that are at hand, such as those that a view's `sample` draws."""
    moments = rows.get("event_time", times([]))
    if moments.dtype.kind == "M" and (moments == ALWAYS).all():  # no moment of a source
        rows = without(rows, ("event_time",))
    return _take_in(view, [[rows]], store, max_reject_share=max_reject_share)


def admit(
    view: View, raw: Batch, *, zone: str = "", place: Callable[[int], str] | None = None
) -> tuple[Arrays, list[Reject]]:
    """Raw rows to the good ones of them, and a Reject for each bad one.

    A row of the future is bad: clocks may differ by `AHEAD`, and no more.
    Rows without a key get the one that their content gives them, alike for those that are alike.

    Args:
        view: what the rows are.
        raw: their columns.
        zone: where times that name none were written.
        place: says where a row stands, by its number; by default its column `where` does.

    Raises:
        InvalidInput: a column is missing, or columns differ in length.
    """
    rows = length(raw)
    if _nameless(view, raw):
        raw = {**raw, view.key[0]: fingerprints(raw[view.named_by])}
    raw = {**_gaps(view, raw), **raw}
    schema = {**view.schema, "event_time": Time(zone), "created": Time(zone)}
    good, faults = dict[str, NDArray[Any]](), dict[int, str]()
    for name, column in schema.items():
        if name not in raw:
            if name in OPTIONAL:
                continue
            raise InvalidInput(
                f"Rows of {view.name!r} need a column {name!r}; these have {', '.join(raw)}.",
                hint="Add it, or rename the column that holds it.",
            )
        if len(raw[name]) != rows:
            raise InvalidInput(f"Column {name!r} has {len(raw[name])} values for {rows} rows.")
        good[name], bad = _judged(name, column, raw[name])
        for row, reason in bad.items():
            faults.setdefault(row, f"{name} {reason}")
    place = place or (raw["where"].__getitem__ if "where" in raw else "row {}".format)
    rejects = [Reject(place(row), faults[row]) for row in sorted(faults)]
    kept = np.setdiff1d(np.arange(rows), list(faults))
    return (take(good, kept) if faults else good), rejects


def _gaps(view: View, raw: Batch) -> Batch:
    """Columns that a source leaves out and that may have gaps: no row has a value of them."""
    none = objects([None] * length(raw))
    names = [n for n, column in view.columns.items() if column.gap(np.zeros(0)) is not None]
    return {name: none for name in names if name not in raw}


def _judged(name: str, column: Column, raw: NDArray[Any]) -> tuple[NDArray[Any], dict[int, str]]:
    """What a column makes of raw values, and of each that is bad why.

    Online a row of the future would be the newest of its key at once, offline only when its moment
    comes; and one created there could never be replaced.
    """
    values, bad = column.admit(raw)
    return values, {**_ahead(values), **bad} if name in ("event_time", "created") else bad


def _ahead(moments: NDArray[np.datetime64]) -> dict[int, str]:
    """Why a moment that has not come yet is none, by row."""
    latest = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us") + AHEAD
    return {
        row: f"lies in the future: {np.datetime_as_string(moments[row], unit='s')}Z"
        for row in np.flatnonzero(moments > latest).tolist()
    }


def _sources(
    read: Reader, paths: Sequence[Path | str], columns: Mapping[str, str]
) -> Iterator[Iterator[Piece]]:
    """What each path holds; of those that are named together their names say the part."""
    distinct = _distinct(paths)
    parts = [split_in(path.name) for path in distinct]
    for path, part in zip(distinct, parts, strict=True):
        yield _in_part(read(path, columns), part if len({*parts}) > 1 else "")


def _in_part(rows: Iterable[Piece], part: str) -> Iterator[Piece]:
    """The rows, in a part of the data where they name none themselves."""
    for piece in rows:
        if not part or isinstance(piece, Reject | Skipped):
            yield piece
        else:
            own = piece.get("split", [""] * length(piece))
            yield {**piece, "split": objects(named or part for named in own)}


def _distinct(paths: Sequence[Path | str]) -> list[Path]:
    """The paths, each once."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not str(path):
            raise InvalidInput(
                "A path is empty.", hint="Name a file, a folder or a zip; `.` is this folder."
            )
        found.setdefault(Path(path).absolute(), Path(path))
    return list(found.values())


def _nameless(view: View, raw: Batch) -> bool:
    """Whether the rows come without a key, and their content may be it."""
    return view.named_by in raw and view.key[0] not in raw


def _admitted(
    view: View, sources: Iterable[Iterable[Piece]], zone: str, skipped: list[Skipped]
) -> Iterator[tuple[int, Arrays, list[str], list[Reject]]]:
    """Piece by piece how many rows it has, the good ones and where they stand, and the bad ones.

    Skipped files are put beside.
    """
    for source in sources:
        repeats = Repeats()
        for piece in source:
            if isinstance(piece, Skipped):
                skipped.append(piece)
                continue
            if isinstance(piece, Reject):
                yield 1, {}, [], [piece]
                continue
            good, bad = admit(view, piece, zone=zone)
            if _nameless(view, piece):
                good[view.key[0]] = repeats.number(good[view.key[0]])
            left_out = {reject.where for reject in bad}
            places = [where for where in piece.get("where", ()) if where not in left_out]
            yield length(piece), good, places, [_with_remedy(reject) for reject in bad]


def _with_remedy(reject: Reject) -> Reject:
    """What the user can say of a file whose bytes are no UTF-8, or whose times are no ISO 8601."""
    if reject.reason.endswith("is not valid UTF-8"):
        return Reject(reject.where, f"{reject.reason}: name {SAY_ENCODING}")
    if ISO in reject.reason:
        return Reject(reject.where, f"{reject.reason}, or say how, as in {SAY_FORMAT}")
    return reject


def _take_in(
    view: View,
    sources: Iterable[Iterable[Piece]],
    store: Store,
    *,
    zone: str = "",
    max_reject_share: float,
    progress: Progress | None = None,
) -> Ingested:
    rows, tally = 0, Tally(view)
    rejects: list[Reject] = []
    skipped: list[Skipped] = []
    with store.stage(view) as stage:
        for count, good, places, bad in _admitted(view, sources, zone, skipped):
            if good:
                stage.add(good)
                tally.add(good, places)
            rows += count
            rejects += bad
            if progress is not None:
                progress(rows, len(rejects))
        if not rows:
            raise InvalidInput(
                f"The source holds no rows for {view.name!r}.", hint="Name one with rows."
            )
        files = [one for one in skipped if not isinstance(one, Unused)]
        file = _write_rejects(store, stage, [*rejects, *files])
        if len(rejects) > max_reject_share * rows:
            raise _too_many(rejects, rows, max_reject_share, file)
        done = store.commit(stage)
    return Ingested(
        view.name, rows, done.new, done.same, done.replaced, done.doubled, len(rejects), file,
        done.commit, done.older, tuple(files), tally.summary(rejects, skipped),
    )  # fmt: skip


def _write_rejects(store: Store, stage: Stage, rejects: Sequence[Reject | Skipped]) -> Path | None:
    if not rejects:
        return None
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("where", "reason"))
    writer.writerows((reject.where, reject.reason) for reject in rejects)
    stage.begin()  # else another's sweep might take the file before it has its name
    name = f"{stage.view.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.csv"
    # Half characters of broken text are written as question marks: the file itself is UTF-8.
    return store.reject(name, text.getvalue().encode(errors="replace"))


def _too_many(
    rejects: Sequence[Reject], rows: int, max_reject_share: float, file: Path | None
) -> InvalidInput:
    enough = -(-100 * len(rejects) // rows) / 100
    first = "; ".join(f"{reject.where}: {reject.reason.rstrip('.')}" for reject in rejects[:3])
    return InvalidInput(
        f"{len(rejects):,} of {rows:,} rows are bad ({len(rejects) / rows:.1%}), more than the "
        f"{max_reject_share:.1%} that may be left out: nothing was taken in. The first: {first}.",
        hint=f"All stand in {file}; mend them, or allow a larger share, as in --max-rejects "
        f"{enough:g}.",
        limit=max_reject_share,
        actual=len(rejects) / rows,
    )
