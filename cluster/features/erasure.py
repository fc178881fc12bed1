"""Erase what is known of a key, wherever the feature layer keeps it."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
import polars as pl

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, nearest
from cluster.features.derived.modelview import ModelView
from cluster.features.layer import Layer
from cluster.features.offline.bucket import Bucket
from cluster.features.offline.erase import Wanted
from cluster.features.schema.column import Key
from cluster.features.schema.view import View

FOLDER = ".forgetting"
"""Where it is noted what is being erased: no view is named so."""


@dataclass(frozen=True)
class Forgotten:
    """What was erased.

    Attributes:
        view: the view.
        key: which rows of it: their key, or a part of it.
        rows: how many stored rows of it, and of what models made of them, by the stored view.
        online: how many keys had values online.
        logged: how many lines of request logs.
        since: when the first of the rows came in; None where there was none.
    """

    view: str
    key: Wanted
    rows: Mapping[str, int]
    online: int
    logged: int
    since: datetime | None


def forget(
    layer: Layer, name: str, key: Mapping[str, object], logs: Callable[[Wanted], int] = lambda _: 0
) -> Forgotten:
    """Erases the rows of a key of a source view: offline, online, made by models, and in logs.

    Offline comes first, so that nothing brings online again what is erased there; what is then to
    be erased online is noted before. Killed anywhere, it is completed by the same call again. Rows
    of the key that come in later are new ones.

    Args:
        layer: where the rows are.
        name: the view.
        key: its key columns, or some of them: then all rows that have these.
        logs: erases the lines of request logs that are about the key, and says how many.

    Raises:
        NotFound: there is no such view.
        InvalidInput: it is made from others, or the key is none of its own.
        Conflict: stored columns are not the view's.
        Unavailable: the online side cannot be written to now, or files are merged for long.
        NotEnough: the disk is full.
    """
    view = layer.pushable(name)
    wanted = _wanted(view, key)
    note = _Note.read(layer.store.bucket, view, wanted)
    stored = _stored(layer, view)
    for one in stored:
        note.add(one.name, layer.store.rows_about(one, wanted))
    note.write()
    rows = {one.name: layer.store.erase(one, wanted) for one in stored}
    online = 0
    for one in stored:
        gone = note.keys(one, wanted)
        if len(gone):
            online += layer.online.erase(one, gone, layer.store.head(one))
    logged = logs(wanted)
    note.remove()
    return Forgotten(name, wanted, rows, online, logged, note.since)


def _wanted(view: View, key: Mapping[str, object]) -> dict[str, str]:
    """The key as it is stored."""
    if not key:
        raise InvalidInput(
            f"Which rows of {view.name!r} to forget is not said.",
            hint=f"Name their key, or a part of it: {', '.join(view.key)}.",
        )
    wanted = {}
    for name, value in key.items():
        if name not in view.key:
            raise InvalidInput(
                f"{name!r} is no part of the key of view {view.name!r}.",
                hint=nearest(name, view.key),
                pointer=name,
            )
        (text,), faults = Key().admit(objects([value]))
        if faults:
            raise InvalidInput(f"{name!r} {faults[0]}.", pointer=name)
        wanted[name] = text
    return wanted


def _stored(layer: Layer, view: View) -> list[View]:
    """The view, and of each model view over it the rows of all versions that ever made some."""
    there = {*layer.store.bucket.folders(), *layer.online.keeper.shelves()}
    found = [view]
    for reader in layer.graph.readers(view):
        if isinstance(reader, ModelView):
            made = re.compile(re.escape(reader.name) + r"_v(\d+)")
            releases = (made.fullmatch(name) for name in sorted(there))
            found += [reader.at(int(one[1])).rows_of for one in releases if one]
    return found


@dataclass
class _Note:
    """What is being erased, on the disk until it is.

    Attributes:
        bucket: where the rows lie.
        place: the name of the note.
        found: by the stored view the keys of its rows.
        since: when the first of all rows came in.
    """

    bucket: Bucket
    place: str
    found: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    since: datetime | None = None

    @classmethod
    def read(cls, bucket: Bucket, view: View, wanted: Wanted) -> "_Note":
        """What an earlier call left that was killed."""
        what = repr((view.name, sorted(wanted.items())))
        note = cls(bucket, f"{FOLDER}/{hashlib.sha256(what.encode()).hexdigest()}.json")
        try:
            said = orjson.loads(bucket.read(note.place))
        except FileNotFoundError:
            return note
        note.found = {name: set(map(tuple, keys)) for name, keys in said["found"].items()}
        note.since = datetime.fromisoformat(said["since"]) if said["since"] else None
        return note

    def add(self, name: str, rows: pl.DataFrame) -> None:
        """Rows that are to be erased."""
        if len(rows):
            key = rows.drop("event_time", "created")
            self.found.setdefault(name, set()).update(key.unique().iter_rows())
            first = rows["created"].cast(pl.Datetime("us", "UTC")).min()
            moments = [one for one in (self.since, first) if isinstance(one, datetime)]
            self.since = min(one.astimezone(UTC) for one in moments)

    def write(self) -> None:
        """Puts it on the disk."""
        found = {name: sorted(keys) for name, keys in self.found.items()}
        said = {"found": found, "since": self.since and self.since.isoformat()}
        self.bucket.remove([self.place])
        self.bucket.publish(self.place, orjson.dumps(said))

    def keys(self, view: View, wanted: Wanted) -> pl.DataFrame:
        """The keys of the rows of a view; a whole key also where no row of it is stored."""
        keys = set(self.found.get(view.name, ()))
        if set(wanted) == set(view.key):
            keys.add(tuple(wanted[name] for name in view.key))
        columns = list(zip(*sorted(keys), strict=True)) or [()] * len(view.key)
        return pl.DataFrame(
            {n: pl.Series(c, dtype=pl.String) for n, c in zip(view.key, columns, strict=True)}
        )

    def remove(self) -> None:
        """All of it is done; what a killed call left half written goes, too."""
        own = self.place.removeprefix(f"{FOLDER}/")
        left = (name for name in self.bucket.ages(FOLDER) if own in name)
        self.bucket.remove(f"{FOLDER}/{name}" for name in left)
