"""Look up the newest values by key: one packed row for each key of each view, in SQLite."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa

from cluster.batch import Batch
from cluster.durable import make_folder
from cluster.errors import Conflict, Corrupt, NotFound, Unavailable
from cluster.features.join import beside
from cluster.features.snapshot import DataFile, Snapshot
from cluster.features.view import View

SCHEMA = """
create table if not exists views (view text primary key, columns text not null);
create table if not exists files (
    view text, name text, primary key (view, name)
) without rowid;
create table if not exists rows (
    view text, key text, event_time integer, created integer, value blob, primary key (view, key)
) without rowid;
"""
NEWEST_WINS = """
insert into rows values (?, ?, ?, ?, ?) on conflict do update set
    event_time = excluded.event_time, created = excluded.created, value = excluded.value
where (excluded.event_time, excluded.created) >= (event_time, created)
"""
FIND = """
select key, event_time, value from rows
where view = ? and key in (select value from json_each(?))
"""


class Online:
    """The newest row of every key, a few microseconds away; made from the offline rows.

    Of two rows of one key the later event time counts, then the one that came in later; an old
    event never replaces a newer one.

    Args:
        path: the SQLite file; it is made by the first `materialize`.
        wait_s: how long another process that is writing is waited for.
    """

    def __init__(self, path: Path, *, wait_s: float = 30.0) -> None:
        self.path = path
        self.wait_s = wait_s

    def materialize(self, view: View, head: Snapshot) -> int:
        """Bring over the rows that came since the last time; the same again changes nothing.

        Data files never change, so only new ones are read, each in a transaction of its own: what
        is killed goes on where it was. Where the view's columns have changed, all is made anew.

        Args:
            view: whose rows.
            head: the newest of them.

        Returns:
            How many rows were read: those of every file that is new, superseded ones included.

        Raises:
            Conflict: the folder cannot be written to.
            Corrupt: a data file is damaged or gone, or the SQLite file is damaged.
            Unavailable: another process keeps writing, or the disk is full.
        """
        make_folder(self.path.parent)
        with self._opened("rwc") as online:
            online.executescript("pragma journal_mode = wal;" + SCHEMA)
            _declare(online, view)
            return sum(_bring(online, view, head, file) for file in head.files)

    def lookup(self, views: Sequence[View], keys: Batch) -> Batch:
        """Keys with the newest values of some views beside them: what `join` gives as of now.

        Args:
            views: whose values are wanted.
            keys: the key columns of each view, `[n]` of `str`; a key may come more than once.

        Returns:
            The keys; of each view its columns `[n]`, the mask `<view>_missing`, and `<view>_time`,
            when the values became true: what it holds where they are missing means nothing. All
            of it as it stood at one moment.

        Raises:
            NotFound: a view was never materialized.
            Conflict: it was when it had other columns.
            Corrupt: the SQLite file is damaged.
            Unavailable: it cannot be read now.
        """
        found: dict[str, Any] = {**keys}
        if not views:
            return found
        if not self.path.is_file():
            raise _never(views[0])
        with self._opened("ro") as online:
            online.execute("begin")  # so that all is read as of one moment
            for view in views:
                found |= _found(online, view, keys)
        return found

    @contextmanager
    def _opened(self, mode: str) -> Iterator[sqlite3.Connection]:
        """The file, and what SQLite says of it in a sentence."""
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            with closing(
                sqlite3.connect(uri, uri=True, timeout=self.wait_s, isolation_level=None)
            ) as online:
                # a power cut may cost rows, never the file
                online.execute("pragma synchronous = normal")
                yield online
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"{self.path} cannot be used now: {error}.",
                hint="Another process may be writing, or the disk be full: try again.",
            ) from None
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"{self.path} is damaged: {error}.",
                hint="Remove it, then bring the rows anew: python -m services materialize",
            ) from None


def _declare(online: sqlite3.Connection, view: View) -> None:
    """Note the view's columns; forget its rows where they were others."""
    columns = _columns(view)
    online.execute("begin immediate")
    with online:
        if _stored_columns(online, view) != columns:
            for table in ("rows", "files", "views"):
                online.execute(f"delete from {table} where view = ?", (view.name,))  # noqa: S608
            online.execute("insert into views values (?, ?)", (view.name, columns))


def _bring(online: sqlite3.Connection, view: View, head: Snapshot, file: DataFile) -> int:
    """The rows of one file, unless they were brought before."""
    names = [*view.key, "event_time", "created", *view.columns]
    online.execute("begin immediate")
    with online:
        place = (view.name, file.name)
        if online.execute("select 1 from files where view = ? and name = ?", place).fetchone():
            return 0
        table = head.table_of(file, names)
        for number, name in enumerate(names):
            if pa.types.is_timestamp(table.schema.field(name).type):
                table = table.set_column(number, name, table[name].cast(pa.int64()))
        columns = [table[name].to_pylist() for name in names]
        keys = _keys(columns[: len(view.key)])
        times, created, *values = columns[len(view.key) :]
        tuples = zip(*values, strict=True) if values else [()] * len(keys)
        packed = map(msgpack.packb, tuples)
        rows = zip([view.name] * len(keys), keys, times, created, packed, strict=True)
        online.executemany(NEWEST_WINS, rows)
        online.execute("insert into files values (?, ?)", place)
    return len(keys)


def _found(online: sqlite3.Connection, view: View, keys: Batch) -> Batch:
    """The view's columns for each key."""
    stored = _stored_columns(online, view)
    if stored is None:
        raise _never(view)
    if stored != _columns(view):
        others = ", ".join(json.loads(stored))
        raise Conflict(
            f"View {view.name!r} was materialized with other columns: {others}.",
            hint=f"Bring it up to date: python -m services materialize {view.name}",
        )
    asked = _keys([list(keys[name]) for name in view.key])
    rows = online.execute(FIND, (view.name, json.dumps(list(set(asked))))).fetchall()
    place = {key: number for number, (key, _, _) in enumerate(rows)}
    places = np.array([place.get(key, -1) for key in asked], dtype=np.int64)
    values = zip(*(msgpack.unpackb(value) for *_, value in rows), strict=True)
    columns = dict(zip(view.columns, values, strict=True)) if rows else {}
    known = {
        name: column.unpack(pa.array(columns.get(name, ()), type=column.arrow))
        for name, column in view.columns.items()
    }
    times = np.array([time for _, time, _ in rows] or [0], dtype="datetime64[us]")
    return {**beside(view, known, places), f"{view.name}_time": times[places]}


def _keys(columns: Sequence[Sequence[str]]) -> list[str]:
    """Each row's key as one text: itself, or a JSON list where several columns make it."""
    if len(columns) == 1:
        return list(columns[0])
    return [json.dumps(parts, ensure_ascii=False) for parts in zip(*columns, strict=True)]


def _columns(view: View) -> str:
    return json.dumps({name: str(column.arrow) for name, column in view.columns.items()})


def _stored_columns(online: sqlite3.Connection, view: View) -> str | None:
    row = online.execute("select columns from views where view = ?", (view.name,)).fetchone()
    return row[0] if row else None


def _never(view: View) -> NotFound:
    return NotFound(
        f"View {view.name!r} is not online.",
        hint=f"Bring it there: python -m services materialize {view.name}",
    )
