"""Erase what is known of keys online: their rows, and their events among those of other keys."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from cluster.features.offline.snapshot import Snapshot
from cluster.features.online.bring import EXTRA, changes
from cluster.features.online.chunks import Chunk, Events, newest_chunk, unpacked
from cluster.features.online.events import Retention
from cluster.features.online.found import moment_of
from cluster.features.online.keeper import Keeper, Merge, Value, Want, parts_of
from cluster.features.online.merging import Merging
from cluster.features.online.packing import Layout, key_text, types_of
from cluster.features.schema.view import View


def erase(keeper: Keeper, view: View, gone: pl.DataFrame, head: Snapshot) -> int:
    """Erases rows of a view online; they are erased offline already.

    Windows by a part of the key hold the other events again that they look at then: a window of the
    last ten has an eleventh in place of one that is erased.

    Args:
        keeper: what holds the rows.
        view: whose rows.
        gone: the keys of the rows, whole.
        head: the rows that are left.

    Returns:
        How many keys had a row.

    Raises:
        Conflict: a shelf was declared anew meanwhile.
        Unavailable: it cannot be written to now.
    """
    shelves = {
        shelf: declaration
        for shelf, declaration in keeper.shelves().items()
        if shelf == view.name or shelf.startswith(f"{view.name}/")
    }
    own = _texts(gone, view.key)
    (got,) = keeper.read([Want(view.name, own)])
    erasures = []
    for shelf, declaration in shelves.items():
        if shelf == view.name:
            erasures.append(Merge(shelf, declaration, own, Gone()))
        else:
            merger = Dropping(Retention.read(declaration), frozenset(own), moment_of(None))
            erasures.append(Merge(shelf, declaration, _texts(gone, _key(view, shelf)), merger))
    keeper.erase(erasures)
    for shelf, declaration in shelves.items():
        _bring_rest(keeper, view, gone, head, (shelf, declaration))
    return sum(value is not None for value in got.values)


@dataclass(frozen=True)
class Gone:
    """Makes nothing of values that do not go on in parts: a `keeper.Merger`."""

    def touched(self, keys: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
        """None: there are no parts."""
        del keys, values
        return []

    def merged(
        self, keys: Sequence[str], values: Sequence[bytes | None], parts: Mapping[bytes, bytes]
    ) -> list[Value]:
        """Nothing, for each key."""
        del values, parts
        return [Value(None) for _ in keys]


@dataclass(frozen=True)
class Dropping:
    """Makes of the events of keys those that are not erased: a `keeper.Merger`.

    Attributes:
        kept: what is kept of each key.
        gone: the own keys of the events that are erased.
        now: the moment in microseconds.
    """

    kept: Retention
    gone: frozenset[str]
    now: int

    def touched(self, keys: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
        """All older chunks."""
        pairs = zip(keys, values, strict=True)
        return [name for key, value in pairs if value is not None for name in parts_of(key, value)]

    def merged(
        self, keys: Sequence[str], values: Sequence[bytes | None], parts: Mapping[bytes, bytes]
    ) -> list[Value]:
        """The other events, packed again; nothing of a key that has none."""
        chunks: list[tuple[int, Chunk]] = []
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            if value is not None:
                older = [parts[name] for name in parts_of(key, value) if name in parts]
                every: list[Chunk] = [*older, newest_chunk(value)]
                chunks += [(number, chunk) for chunk in every]
        left = self._left(keys, chunks) if chunks else {}
        made = []
        for key, value in zip(keys, values, strict=True):
            new = left.get(key, Value(None))
            old = [] if value is None else parts_of(key, value)
            made.append(new._replace(gone=[name for name in old if name not in new.parts]))
        return made

    def _left(self, keys: Sequence[str], chunks: Sequence[tuple[int, Chunk]]) -> dict[str, Value]:
        """The new values of the keys that have other events."""
        layout = Layout(self.kept.types)
        events = unpacked(layout, chunks, len(layout.ragged) + 1)
        own = events.ragged[-1].tolist()
        events = events.take(np.array([key not in self.gone for key in own], dtype=bool))
        some = np.unique(events.group)
        if not len(some):
            return {}
        names = [keys[number] for number in some.tolist()]
        fresh = Events(np.searchsorted(some, events.group), events.fixed, events.ragged)
        merging = Merging(self.kept, names, fresh, self.now)
        return dict(zip(names, merging.merged(names, [None] * len(names), {}), strict=True))


def _bring_rest(
    keeper: Keeper, view: View, gone: pl.DataFrame, head: Snapshot, shelf: tuple[str, str]
) -> None:
    """Brings the rows that are left of keys whose values were changed.

    A shelf that is not as it is declared now is brought anew as a whole, by who needs it.
    """
    name, declaration = shelf
    if name == view.name:
        key, streams, columns = view.key, {}, json.loads(declaration)
        as_declared = columns == types_of(view.columns)
    else:
        kept = Retention.read(declaration)
        key, columns = _key(view, name), kept.types
        streams = {name: (key, kept)}
        as_declared = columns.items() <= types_of(view.schema).items()
    if not as_declared:
        return
    keys = gone.select(key).unique()
    rows = head.table(
        list(dict.fromkeys([*view.key, *EXTRA, *columns])),
        keys={part: keys[part].to_numpy() for part in key},
    )
    if rows.num_rows:
        keeper.change(changes(view, rows, {name: declaration}, streams))


def _key(view: View, shelf: str) -> tuple[str, ...]:
    """The columns by which events of a view are kept on a shelf."""
    return tuple(shelf.removeprefix(f"{view.name}/").split(","))


def _texts(keys: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Some columns of keys, each once, as online keys."""
    return keys.select(key_text(names).alias("key"))["key"].unique().sort().to_list()
