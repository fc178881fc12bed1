"""Hold packed rows in one SQLite file that many processes read while one writes."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from cluster.base import durable
from cluster.base.durable import make_folder
from cluster.base.errors import Conflict, Corrupt, NotEnough, Unavailable
from cluster.features.online.keeper import (
    LAYOUT,
    Got,
    Merge,
    Put,
    Want,
    other_declaration,
    parts_of,
)

SCHEMA = """
drop table if exists views;
drop table if exists files;
drop table if exists rows;
drop table if exists shelves;
create table shelves (id integer primary key, name text unique, declaration text);
create table files (shelf integer, name text, primary key (shelf, name)) without rowid;
create table rows (shelf integer, key text, value blob, primary key (shelf, key)) without rowid;
"""
# a packed row begins with its times, 16 bytes that sort like the moments
NEWEST_WINS = """
insert into rows values (?, ?, ?) on conflict do update set value = excluded.value
where substr(excluded.value, 1, 16) >= substr(value, 1, 16)
"""
REPLACE = "insert or replace into rows values (?, ?, ?)"
REMOVE = "delete from rows where shelf = ? and key = ?"
FORGET = "delete from files where shelf = (select id from shelves where name = ?) and name = ?"
NOTED = "select files.name from files join shelves on shelf = id where shelves.name = ?"
# in the order of the keys, since what stands left of a left join is the outer loop
FIND = """
select rows.value from json_each(?) as asked
left join rows on rows.shelf = ? and rows.key = asked.value
"""
FIND_ONE = "select value from rows where shelf = ? and key = ?"
NUL = "\\u0000"  # where SQLite's JSON ends a text
CACHE_KIB = 16_384  # of every thread
MOST_TOGETHER = 10_000  # keys that are asked for in one statement


class _Unmade(Exception):
    """There is no such file, or none of this shape: nothing was brought yet."""


class SqliteKeeper:
    """One file; every thread keeps a connection of its own open.

    A power cut may cost the last rows, which the offline rows bring back, but never the file.

    Args:
        path: the file; the first write makes it.
        wait_s: how long another process that is writing is waited for.
    """

    def __init__(self, path: Path, *, wait_s: float = 30.0) -> None:
        self.path = path
        self.wait_s = wait_s
        self._open = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        """Connections stay in their process."""
        return (_keeper, (self.path, self.wait_s))

    def read(self, wants: Sequence[Want]) -> list[Got]:
        """What there is, all of it as of one moment."""
        try:
            with self._opened("ro") as online:
                online.execute("begin")
                return [_got(online, want) for want in wants]
        except _Unmade:
            return [Got(None, [None] * len(want.keys)) for want in wants]

    def shelves(self) -> dict[str, str]:
        """What each shelf that there is was declared to hold."""
        try:
            with self._opened("ro") as online:
                return dict(online.execute("select name, declaration from shelves"))
        except _Unmade:
            return {}

    def declared(self, shelves: Sequence[str]) -> list[str | None]:
        """What each shelf was declared to hold, or None."""
        return [got.declaration for got in self.read([Want(shelf, []) for shelf in shelves])]

    def declare(self, shelf: str, declaration: str) -> None:
        """Forget what is on the shelf, if that is declared otherwise; from now on it holds this."""
        with self._opened("rwc") as online:
            online.execute("begin immediate")
            row = _number(online, shelf)
            if row is not None:
                if row[1] == declaration:  # another was quicker, and has maybe written rows
                    return
                for table in ("rows", "files"):
                    online.execute(f"delete from {table} where shelf = ?", (row[0],))  # noqa: S608
            online.execute(
                "insert into shelves (name, declaration) values (?, ?) "
                "on conflict do update set declaration = excluded.declaration",
                (shelf, declaration),
            )

    def files(self, shelf: str) -> set[str]:
        """The names of the data files that were brought."""
        with self._opened("rwc") as online:  # which makes the file where there is none
            return {name for (name,) in online.execute(NOTED, (shelf,))}

    def files_now(self, shelves: Sequence[str]) -> list[set[str]]:
        """The same of some shelves, all of it as of one moment."""
        try:
            with self._opened("ro") as online:
                online.execute("begin")
                return [{name for (name,) in online.execute(NOTED, (shelf,))} for shelf in shelves]
        except _Unmade:
            return [set() for _ in shelves]

    def forget(self, shelf: str, names: Sequence[str]) -> None:
        """Note no longer that some files were brought; their rows stay."""
        with self._opened("rwc") as online:
            online.execute("begin immediate")
            online.executemany(FORGET, ((shelf, name) for name in names))

    def change(self, changes: Sequence[Put | Merge]) -> None:
        """Write, all of it in one transaction."""
        with self._opened("rwc") as online:
            online.execute("begin immediate")
            for change in changes:
                _write(online, change)

    def erase(self, changes: Sequence[Merge]) -> None:
        """The same, and empties the log of the file, which holds what was there before.

        What is deleted in the file itself is overwritten: see `secure_delete` below.
        """
        self.change(changes)
        until = time.monotonic() + self.wait_s
        with self._opened("rwc") as online:
            # who reads at the moment reads from the log: it is emptied after
            while online.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
                if time.monotonic() > until:
                    raise Unavailable(
                        f"{self.path} is being read for {self.wait_s:.0f} s, so that its log "
                        "still holds what was erased.",
                        hint="Erase again.",
                    )
                time.sleep(0.01)

    def change_now(self, changes: Sequence[Put | Merge]) -> None:
        """The same: what others write at once takes no time that counts."""
        self.change(changes)

    def close(self) -> None:
        """End the connections of this thread."""
        for connection, _ in self._open.__dict__.values():
            connection.close()
        self._open.__dict__.clear()

    @contextmanager
    def _opened(self, mode: str) -> Iterator[sqlite3.Connection]:
        """This thread's connection; what was begun on it ends with the block."""
        try:
            online = self._connection(mode)
            try:
                yield online
            except BaseException:
                if online.in_transaction:
                    online.execute("rollback")
                raise
            if online.in_transaction:
                online.execute("commit")
        except sqlite3.Error as error:
            self.close()
            raise self._told(error) from None

    def _connection(self, mode: str) -> sqlite3.Connection:
        place = self._place()
        connection, opened = self._open.__dict__.get(mode, (None, None))
        if connection is not None and place == opened:
            return connection  # type: ignore[no-any-return]
        if connection is not None and opened is None:
            connection.close()
        if mode == "rwc":
            make_folder(self.path.parent)
        elif place is None:
            raise _Unmade
        is_still = mode == "ro" and self._is_still()
        uri = f"{self.path.absolute().as_uri()}?mode={mode}{'&immutable=1' * is_still}"
        connection = sqlite3.connect(uri, uri=True, timeout=self.wait_s, isolation_level=None)
        connection.execute(f"pragma cache_size = -{CACHE_KIB}")
        if mode == "rwc":
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.execute("pragma secure_delete = on")  # so that `erase` leaves no trace
            _prepare(connection)
        elif connection.execute("pragma user_version").fetchone()[0] != LAYOUT:
            connection.close()
            raise _Unmade
        # what is still is not watched for changes, so the next look-up opens it again
        self._open.__dict__[mode] = connection, None if is_still else self._place()
        return connection

    def _is_still(self) -> bool:
        """Whether it cannot be locked, and need not: nobody writes where this process may not.

        What others wrote and did not merge into the file yet is in its log; then it has its locks.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        return not durable.is_writable(self.path.parent) and not log.exists()

    def _place(self) -> tuple[int, int, int] | None:
        """Which file it is, and in which process: another one is opened anew."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - a path takes twice as long
        except OSError:
            return None
        return found.st_dev, found.st_ino, os.getpid()

    def _told(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return NotEnough(
                f"{self.path} cannot grow: {error}.", hint="Make room on its disk, then try again."
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            return Conflict(
                f"{self.path} cannot be opened: {error}.",
                hint="Let this user write to its folder, or point LEPTON_HOME at another.",
            )
        if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_CORRUPT:
            return Unavailable(
                f"{self.path} cannot be used now: {error}.",
                hint="Another process may be writing, or the disk be at fault: try again.",
            )
        return Corrupt(
            f"{self.path} is damaged: {error}.",
            hint="Remove it, then bring the rows anew: python -m services materialize",
        )


def _keeper(path: Path, wait_s: float) -> SqliteKeeper:
    return SqliteKeeper(path, wait_s=wait_s)


def _prepare(online: sqlite3.Connection) -> None:
    if online.execute("pragma user_version").fetchone()[0] == LAYOUT:
        return
    online.execute("begin immediate")
    if online.execute("pragma user_version").fetchone()[0] != LAYOUT:
        for statement in SCHEMA.split(";"):
            online.execute(statement)
        online.execute(f"pragma user_version = {LAYOUT}")
    online.execute("commit")


def _number(online: sqlite3.Connection, shelf: str) -> tuple[int, str] | None:
    found = online.execute("select id, declaration from shelves where name = ?", (shelf,))
    row: tuple[int, str] | None = found.fetchone()
    return row


def _got(online: sqlite3.Connection, want: Want) -> Got:
    row = _number(online, want.shelf)
    if row is None:
        return Got(None, [None] * len(want.keys))
    number, declaration = row
    values = _values(online, number, want.keys)
    parts = {}
    if want.parted:
        for place, (key, value) in enumerate(zip(want.keys, values, strict=True)):
            if value is not None and (names := parts_of(key, value)):
                parts[place] = list(_parts(online, number, names).values())
    return Got(declaration, values, parts)


def _parts(online: sqlite3.Connection, number: int, names: Sequence[bytes]) -> dict[bytes, bytes]:
    return {name: online.execute(FIND_ONE, (number, name)).fetchone()[0] for name in names}


def _values(online: sqlite3.Connection, number: int, keys: Sequence[str]) -> list[bytes | None]:
    values: list[bytes | None] = []
    for start in range(0, len(keys), MOST_TOGETHER):
        asked = orjson.dumps(keys[start : start + MOST_TOGETHER]).decode()
        if NUL in asked:
            some = keys[start : start + MOST_TOGETHER]
            found = [online.execute(FIND_ONE, (number, key)).fetchone() for key in some]
            values += [row and row[0] for row in found]
        else:
            values += [value for (value,) in online.execute(FIND, (asked, number))]
    return values


def _write(online: sqlite3.Connection, change: Put | Merge) -> None:
    row = _number(online, change.shelf)
    if row is None or row[1] != change.declaration:
        raise other_declaration(change.shelf)
    number = [row[0]] * len(change.keys)
    if isinstance(change, Merge):
        _merge(online, row[0], change)
    else:
        online.executemany(NEWEST_WINS, zip(number, change.keys, change.values, strict=True))
    online.executemany(
        "insert or ignore into files values (?, ?)", [(row[0], name) for name in change.files]
    )


def _merge(online: sqlite3.Connection, number: int, change: Merge) -> None:
    held = _values(online, number, change.keys)
    parts = _parts(online, number, change.merger.touched(change.keys, held))
    made = change.merger.merged(change.keys, held, parts)
    wholes = [(key, value.whole) for key, value in zip(change.keys, made, strict=True)]
    written = [part for value in made for part in value.parts.items()]
    there = [pair for pair in wholes if pair[1] is not None]
    gone = [key for key, whole in wholes if whole is None]
    online.executemany(REPLACE, ((number, *pair) for pair in (*there, *written)))
    names = [*gone, *(name for value in made for name in value.gone)]
    online.executemany(REMOVE, ((number, name) for name in names))
