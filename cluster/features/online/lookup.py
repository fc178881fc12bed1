"""Look up the newest values of many views by key, and write them as they come."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cluster.base.batch import Batch, length, objects
from cluster.base.errors import Conflict, NotFound, TooLarge, Unavailable
from cluster.features.derived.graph import Graph
from cluster.features.derived.windows import Windows
from cluster.features.offline.snapshot import Snapshot
from cluster.features.online.bring import changes, has, lacking, needed, tables
from cluster.features.online.erasing import erase
from cluster.features.online.events import Retention, Streams, streams_of
from cluster.features.online.found import (
    PRESENT,
    STATUSES,
    Inputs,
    Lookup,
    LookupResult,
    Readers,
    moment_of,
    nothing,
)
from cluster.features.online.keeper import Keeper, Put, Want
from cluster.features.online.lag import FEW_ROWS, Lag
from cluster.features.online.packing import types_of
from cluster.features.online.sqlite_keeper import SqliteKeeper
from cluster.features.schema.column import Time
from cluster.features.schema.view import View

MOST_KEYS = 100_000
DEGRADED = "degraded"
"""The status of what could not be looked up, where `lookup_anyway` answers all the same."""


class Online:
    """The newest values of every key, a fraction of a millisecond away; made from the offline rows.

    Of a view's rows the newest of each key is kept: of two the later event time counts, then the
    one that was created later, then the one that came in later; an old event never replaces a newer
    one. Of the events that windows are declared over, all are kept that a window can still need.

    Args:
        kept: the SQLite file, or what else holds the rows.
    """

    def __init__(self, kept: Path | Keeper) -> None:
        self.keeper: Keeper = SqliteKeeper(kept) if isinstance(kept, Path) else kept
        self.behind: set[str] = set()
        """Views of which this process could not write rows: the next `materialize` brings them."""
        self._readers = Readers()

    def __reduce__(self) -> tuple[Any, ...]:
        """What it remembers stays in its process."""
        return (Online, (self.keeper,))

    def lookup(
        self,
        views: Sequence[View],
        keys: Batch,
        *,
        at: datetime | np.datetime64 | None = None,
        inputs: Inputs | None = None,
    ) -> Batch:
        """Keys with the newest values of some views beside them, all read in one round trip.

        Windows and times-to-live are as of one moment; rows are the newest known. Of a moment
        before the newest event of a key, windows may lack events that were dropped since.

        Args:
            views: whose values are wanted, of any kind; model views at a version.
            keys: the key columns of all views, `[n]` of `str`; a key may come more than once.
            at: as of when, with a zone or in UTC by its type; now by default.
            inputs: what computed views are made from, where some of the views are.

        Returns:
            The keys; of each view its columns `[n]`, named as in a join; the mask `<view>_missing`;
            `<view>_status`: present, missing, or stale, which is older than the time-to-live; and
            `<view>_time`, when what is known became true. What is missing or stale is the view's
            default.

        Raises:
            InvalidInput: a key is missing, empty or no text, or `at` has no zone.
            TooLarge: there are more than `MOST_KEYS`.
            NotFound: a view is not online.
            Conflict: it is, but with other columns.
            Corrupt: what is kept is damaged.
            Unavailable: it cannot be read now.
        """
        _check_size(keys)
        look = Lookup(keys, moment_of(at), inputs, self._readers)
        wants = look.wants(views)
        got = dict(zip((want.shelf for want in wants), self.keeper.read(wants), strict=True))
        return self._answer(views, keys, {view.name: look.found(view, got) for view in views})

    def lookup_anyway(
        self,
        views: Sequence[View],
        keys: Batch,
        *,
        at: datetime | np.datetime64 | None = None,
        inputs: Inputs | None = None,
    ) -> Batch:
        """The same, but where nothing can be read now, all is missing and its status `degraded`.

        Raises:
            LeptonError: as `lookup`, less Unavailable.
        """
        try:
            return self.lookup(views, keys, at=at, inputs=inputs)
        except Unavailable:
            answer = dict(self._answer(views, keys, nothing(views, keys)))
            status = objects([DEGRADED] * length(keys))
            return answer | {f"{view.name}_status": status for view in views}

    def write(
        self, view: View, rows: Batch, graph: Graph | None = None, *, files: Sequence[str] = ()
    ) -> None:
        """Write rows of a view, and feed the windows over it, so that lookups see them at once.

        Args:
            view: whose rows; all its columns.
            rows: at least one; `created` says when they came in, now by default.
            graph: knows the windows over the view.
            files: the data files that the rows are all of.

        Raises:
            NotFound: the view, or a window over it, is not online yet: materialize it.
            Conflict: it is online with other columns: materialize it.
            Unavailable: it cannot be written to now. `materialize` brings stored rows.
            NotEnough: the disk is full.
            Corrupt: what is kept is damaged.
        """
        created = rows.get("created", np.full(length(rows), np.datetime64(moment_of(None), "us")))
        table = view.pack(rows).append_column("created", Time().pack(created))
        streams = _streams(view, graph)
        shelves = [view.name, *streams]
        got = self.keeper.read([Want(shelf, []) for shelf in shelves])
        declared = {shelf: one.declaration for shelf, one in zip(shelves, got, strict=True)}
        self.keeper.change_now(changes(view, table, declared, streams, files))

    def keep_up(
        self,
        view: View,
        rows: Batch,
        head: Callable[[], Snapshot],
        graph: Graph | None = None,
        *,
        files: Sequence[str] = (),
    ) -> None:
        """Write rows that are stored already, and all others of a view that is not online yet.

        Where the online side cannot be written to now, the view stays `behind`: the next rows that
        get through, or `catch_up`, bring what it misses if that are few rows.

        Args:
            view: whose rows; all its columns.
            rows: at least one; `created` says when they came in.
            head: gives the newest of all rows.
            graph: knows the windows over the view.
            files: the data files that the rows are all of.

        Raises:
            LeptonError: as `write` and `materialize`, less NotFound and Unavailable.
        """
        try:
            try:
                self.write(view, rows, graph, files=files)
            except (NotFound, Conflict):  # not online, or not as it is declared now
                self.materialize(view, head, graph)
            if view.name in self.behind:
                missed = self.lag(view, head, graph)
                if missed is not None and missed.rows <= FEW_ROWS:
                    self.materialize(view, head, graph)
        except Unavailable:
            self.behind.add(view.name)

    def materialize(
        self, view: View, head: Snapshot | Callable[[], Snapshot], graph: Graph | None = None
    ) -> int:
        """Bring over the rows that came since the last time; the same again changes nothing.

        Data files never change, so only new ones are read, some at a time: what is killed goes on
        where it was. Where the view's columns have changed, or windows over it look further back,
        all is brought anew.

        Args:
            view: whose rows.
            head: the newest of them, or what gives it: called after the shelves are declared.
            graph: knows the windows over the view.

        Returns:
            How many rows were read: those of every file that is new, superseded ones included.

        Raises:
            Conflict: the folder cannot be written to, or another process uses other code.
            Corrupt: a data file is damaged or gone, or what is kept is.
            Unavailable: it cannot be written to now. NotEnough: the disk is full.
        """
        view = view if graph is None else graph.stored(view)
        streams = _streams(view, graph)
        declared = self._declare(view, streams)
        brought = {shelf: self.keeper.files(shelf) for shelf in declared}
        head = head() if callable(head) else head  # last: no row falls between, and no note either
        self._note_merged(head, declared, brought)
        count = 0
        for files, table in tables(view, head, lacking(head, brought), streams):
            wanted = {
                shelf: declaration
                for shelf, declaration in declared.items()
                if not all(has(brought[shelf], file) for file in files)
            }
            self.keeper.change(changes(view, table, wanted, streams, [f.name for f in files]))
            count += table.num_rows
        self.behind.discard(view.name)
        return count

    def lag(
        self, view: View, head: Callable[[], Snapshot], graph: Graph | None = None
    ) -> Lag | None:
        """Which stored rows of a view are not online, or not in the events of windows over it.

        Args:
            view: whose rows.
            head: gives the newest of them.
            graph: knows the windows over the view.

        Returns:
            What is missing; None where the view is not online as it is declared now.

        Raises:
            LeptonError: the rows cannot be read now, on one side or the other.
        """
        streams = _streams(view, graph)
        shelves = [view.name, *streams]
        # read in these ways since they give up as soon as a look-up does
        declared = [got.declaration for got in self.keeper.read([Want(s, []) for s in shelves])]
        if not _holds(view, streams, dict(zip(shelves, declared, strict=True))):
            return None
        brought = dict(zip(shelves, self.keeper.files_now(shelves), strict=True))
        found = head()
        names = {file.name for file in found.files}
        unnoted = any(not names <= noted for noted in brought.values())
        return Lag(view.name, tuple(lacking(found, brought)), unnoted)

    def catch_up(
        self, view: View, head: Callable[[], Snapshot], graph: Graph | None = None
    ) -> Lag | None:
        """Bring what `lag` finds where that are few rows, and say what is missing then.

        Raises:
            LeptonError: as `lag` and `materialize`.
        """
        found = self.lag(view, head, graph)
        if found is None or not found.unnoted:
            self.behind.discard(view.name)  # another process may have brought it
            return found
        # all are counted, since all would be brought: also those of an `ingest` that has just ended
        if found.rows > FEW_ROWS or (found.files and not found.settled().files):
            return found
        self.materialize(view, head, graph)
        return self.lag(view, head, graph)

    def erase(self, view: View, gone: pl.DataFrame, head: Snapshot) -> int:
        """Erase rows of a view that are erased offline, and their events among those of windows.

        Args:
            view: whose rows.
            gone: their keys, whole.
            head: the rows that are left.

        Returns:
            How many keys had a row.

        Raises:
            Conflict: it was declared anew meanwhile.
            Unavailable: it cannot be written to now.
        """
        return erase(self.keeper, view, gone, head)

    def close(self) -> None:
        """End the connections of this thread; the next call makes new ones."""
        self.keeper.close()

    def _answer(
        self, views: Sequence[View], keys: Batch, found: Mapping[str, LookupResult]
    ) -> Batch:
        """Keys and what was found for them, each column by its name."""
        names = self._readers.names(views, keys)
        answer: dict[str, Any] = {**keys}
        for view in views:
            one = found[view.name]
            for name, column in one.columns.items():
                answer[names[view.name][name]] = column
            answer[f"{view.name}_missing"] = one.status != PRESENT
            answer[f"{view.name}_status"] = STATUSES[one.status]
            answer[f"{view.name}_time"] = one.times
        return answer

    def _declared(self, shelves: Sequence[str]) -> dict[str, str | None]:
        return dict(zip(shelves, self.keeper.declared(shelves), strict=True))

    def _declare(self, view: View, streams: Streams) -> dict[str, str]:
        """Say what each shelf holds from now on; one that holds something else is emptied."""
        held = self._declared([view.name, *streams])
        types = types_of(view.columns)
        declared = {view.name: held.pop(view.name) or ""}
        if not declared[view.name] or json.loads(declared[view.name]) != types:
            declared[view.name] = json.dumps(types)
            self.keeper.declare(view.name, declared[view.name])
        for shelf, declaration in held.items():
            _, wanted = streams[shelf]
            kept = wanted if declaration is None else Retention.read(declaration)
            if declaration is None or not kept.covers(wanted):
                kept = kept.joined(wanted)
                self.keeper.declare(shelf, kept.declaration)
            declared[shelf] = kept.declaration
        return declared

    def _note_merged(
        self, head: Snapshot, declared: Mapping[str, str], brought: Mapping[str, set[str]]
    ) -> None:
        """Note files whose rows are there since they were merged from files that were brought."""
        for shelf, names in brought.items():
            unnoted = [file for file in head.files if file.name not in names]
            merged = [file.name for file in unnoted if has(names, file)]
            if merged:
                self.keeper.change([Put(shelf, declared[shelf], [], [], merged)])
            # Each push notes a file. The names were read before the rows: all of those that came
            # since are there.
            if gone := sorted(names - needed(head, names.union(merged))):
                self.keeper.forget(shelf, gone)


def _holds(view: View, streams: Streams, declared: Mapping[str, str | None]) -> bool:
    """Whether shelves hold what the view and the windows over it need."""
    own, *others = (declared[shelf] for shelf in (view.name, *streams))
    if own is None or json.loads(own) != types_of(view.columns):
        return False
    pairs = zip(others, streams.values(), strict=True)
    return all(held is not None and Retention.read(held).covers(kept) for held, (_, kept) in pairs)


def _streams(view: View, graph: Graph | None) -> Streams:
    """The events of the view that windows over it need."""
    readers = [] if graph is None else graph.readers(view)
    return streams_of([reader for reader in readers if isinstance(reader, Windows)])


def _check_size(keys: Batch) -> None:
    if length(keys) > MOST_KEYS:
        raise TooLarge(
            f"{length(keys):,} keys were looked up at once; the limit is {MOST_KEYS:,}.",
            hint="Ask for fewer at a time, or join offline.",
            limit=MOST_KEYS,
            actual=length(keys),
        )
