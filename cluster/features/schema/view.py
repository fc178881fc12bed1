"""Name some typed columns about one key: what data looks like before a model sees it."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch, length
from cluster.base.errors import InvalidInput, nearest
from cluster.features.schema.column import ALWAYS, Column, Key, Split, Time
from cluster.features.schema.declared import check_about, check_columns, check_defaults

Sample = Callable[[int, np.random.Generator], Batch]
"""Draws that many made-up rows of the view's shape: `sample(n, rng) -> Batch`."""


@dataclass(frozen=True)
class Reject:
    """A row that was not taken in, where it stood and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class Skipped:
    """A file of the source that was not read as rows, where it lies and why.

    It counts as no row, and so as no bad row: it is named in what an ingest says.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class Unused(Skipped):
    """A table of which some columns were not read: which, and why."""

    columns: tuple[str, ...]


Piece = Batch | Reject | Skipped
"""What a reader yields."""
Reader = Callable[[Path, Mapping[str, str]], Iterator[Piece]]
"""Reads a raw file, folder or zip: `read(path, columns)` yields batches of raw rows, some thousands
at a time, a Reject for what should be a row and is none, and a Skipped for each file that it did
not read. `columns` says which source column is which of ours.

A batch holds every column of the view, and of the key unless the view is `named_by` one of its
columns; `event_time` and `split` where the source gives them; and, where it can, `where`: text that
says where each row stood. Values are as the source has them: each column's `admit` makes them what
they should be, or says why it cannot."""


NAME = re.compile(r"[a-z][a-z0-9_]*")
RESERVED = frozenset(("event_time", "split", "created", "digest", "arrived", "row", "where"))
"""What columns may not be called: rows carry these beside the columns, at rest or on the way."""


class About(TypedDict, total=False):
    """What may be said of any view, as `View` describes it."""

    ttl: timedelta | None
    defaults: Mapping[str, Any]
    description: str
    owner: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class View:
    """Named, typed columns about one key, with an event time.

    This class itself is a source view: its rows are ingested or pushed. Those that are made from
    other views are `Computed`, `Windows` and `ModelView`, which are views like any other.

    Every stored row carries, beside the key and the columns, `event_time` (when it became true)
    and `split` (the part that the source puts it in: train, valid or test; empty where the source
    says nothing). Key and event time together identify a row: the same again changes nothing, other
    values for them replace it.

    A picture or a text often has no id of its own. Then its content is its key, and neither its
    file's name nor its line is: the same files from another folder, in another order or among more
    rows are the same rows; files that share a name are not; a new label or split replaces the old;
    a picture or text that was itself changed is a new row beside the old one, since nothing tells
    that they were one. Rows of one source that hold the same stay apart, as `<key>`, `<key>-2`.

    Args:
        name: the view's name, and the folder of its rows.
        key: the columns that say what a row is about, all of them text: `Key`.
        columns: type of each column that is not part of the key.
        sample: draws made-up rows, key and `event_time` included, so that a capability can be
            tested and shown with no data at hand.
        read: reads raw files; a view without one cannot be ingested.
        named_by: the column whose content is the key of rows that come without one, if any; such a
            view has a key of one column.
        ttl: how long a value holds after its event time; older ones count as missing. None for
            ever. What has held always never gets too old.
        defaults: what stands in a column where nothing is known; without one, what is empty in
            its type. A mask column tells that it means nothing.
        description: what it holds, for people.
        owner: who answers for it.
        tags: words to find it by.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, Column]
    sample: Sample = field(repr=False, compare=False)
    read: Reader | None = field(default=None, repr=False, compare=False)
    named_by: str = ""
    ttl: timedelta | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be stored or read.

        Raises:
            InvalidInput: a name, the key, a type, a default or the time-to-live is none.
        """
        if not NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name!r} is no name of a view.", hint="Names are small letters, digits, _."
            )
        if not isinstance(self.key, tuple) or not self.key:
            one = self.key if isinstance(self.key, str) and self.key else "item_id"
            raise InvalidInput(
                f"View {self.name!r} has the key {self.key!r}, which is no tuple of columns.",
                hint=f'Write key=("{one}",).',
            )
        check_columns(self.name, self.columns)
        for column in self.columns:
            if column in RESERVED or column in self.key:
                what = "part of its key" if column in self.key else "kept for what every row has"
                raise InvalidInput(
                    f"View {self.name!r} has a column {column!r}, a name that is {what}.",
                    hint="Give the column another name.",
                )
        check_defaults(self.name, self.columns, self.defaults)
        check_about(self.name, self.ttl, self.tags)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the views that its rows are made from; none for a source view."""
        return ()

    @property
    def stored(self) -> bool:
        """Whether rows of its own are kept, rather than made when they are read."""
        return True

    @property
    def rows_of(self) -> "View":
        """The view whose rows are on the disk: itself; of a model view, those of its version."""
        return self

    @property
    def definition(self) -> tuple[object, ...]:
        """What its values depend on beside its inputs."""
        types = {name: repr(column) for name, column in sorted(self.columns.items())}
        return (type(self).__name__, self.name, self.key, types, self.ttl, dict(self.defaults))

    @property
    def version(self) -> str:
        """Eight digits that change with the definition: key, columns, time-to-live, defaults."""
        return digits(self.definition)

    def version_over(self, inputs: "Inputs") -> str:
        """Its version, which of a function changes with those of all views behind it too.

        Args:
            inputs: what functions are made from; asked of these alone, since any other view that
                is made from one knows it.
        """
        del inputs
        return self.version

    def too_old(self, times: NDArray[Any], moments: Any) -> NDArray[np.bool_]:
        """Whether what became true at some times `[n]` has outlived the view's time-to-live.

        Args:
            times: in microseconds since 1970, UTC; what has held always is never too old.
            moments: as of when, one or `[n]`, in the same.
        """
        if self.ttl is None:
            return np.zeros(len(times), dtype=bool)
        old = moments - times > self.ttl // timedelta(microseconds=1)
        return np.asarray(old & (times != ALWAYS.astype(np.int64)))

    def empty(self, name: str) -> Any:
        """What stands in a column where nothing is known; the mask says that it means nothing."""
        if name in self.defaults:
            return self.defaults[name]
        return self.columns[name].empty()

    def absent(self, rows: int) -> Arrays:
        """The columns of rows of which nothing is known, and the mask that says so."""
        made: Arrays = {}
        for name, column in self.columns.items():
            none = column.unpack(pa.array([], type=column.arrow))
            made[name] = np.empty((rows, *none.shape[1:]), dtype=none.dtype)
            for row in range(rows):
                made[name][row] = self.empty(name)
        return {**made, f"{self.name}_missing": np.ones(rows, dtype=bool)}

    @cached_property
    def schema(self) -> dict[str, Column]:
        """Every stored column with its type: key, columns, event time and split."""
        keys: dict[str, Column] = {name: Key() for name in self.key}
        return {**keys, **self.columns, "event_time": Time(), "split": Split()}

    def only(self, *names: str) -> Self:
        """The same stored rows seen through fewer columns: what a caller sends of them.

        Raises:
            InvalidInput: the view has no such column.
        """
        for name in names:
            if name not in self.columns:
                raise InvalidInput(
                    f"View {self.name!r} has no column {name!r}.", hint=nearest(name, self.columns)
                )
        return replace(self, columns={name: self.columns[name] for name in names})

    def pack(self, batch: Batch) -> pa.Table:
        """Memory to rest: rows as an Arrow table of the view's schema.

        Rows without an event time have held always; rows without a split are in none.
        """
        rows = length(batch)
        spare = {"event_time": np.full(rows, ALWAYS), "split": np.full(rows, "", dtype=object)}
        return pa.table(
            {
                name: column.pack(batch[name] if name in batch else spare[name])
                for name, column in self.schema.items()
            }
        )

    def unpack(self, table: pa.Table) -> Arrays:
        """Rest to memory: the columns that an Arrow table of this view's rows has."""
        types = {**self.schema, "created": Time()}
        return {name: types[name].unpack(table[name]) for name in table.column_names}


Inputs = Callable[[View], Sequence[View]]
"""The views that a computed view is made from, in the order of its parameters: `Graph.inputs`."""


def digits(definition: object) -> str:
    """Eight digits that stand for a definition."""
    return hashlib.sha256(repr(definition).encode()).hexdigest()[:8]


def columns_of(views: Sequence[View], taken: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """How the columns of some views are named beside each other, offline and online.

    A column has its own name; one whose name another of the views has too, or that is taken, is
    named `<view>__<column>`.

    Args:
        views: the views.
        taken: names that are there already.

    Returns:
        By view and column the name.

    Raises:
        InvalidInput: a view is asked for twice, or a name is taken all the same.
    """
    taken = list(taken)
    plain = [*taken, *(name for view in views for name in view.columns)]
    shared: set[str] = set()
    if len(set(plain)) < len(plain):
        shared = {name for name in plain if plain.count(name) > 1}
    names = {
        view.name: {
            name: f"{view.name}__{name}" if name in shared else name for name in view.columns
        }
        for view in views
    }
    every = [*taken, *(f"{view.name}_missing" for view in views)]
    for made in names.values():
        every += made.values()
    if len(names) < len(views) or len(set(every)) < len(every):
        twice = next((name for name in every if every.count(name) > 1), views[-1].name)
        raise InvalidInput(
            f"There would be two columns {twice!r}.",
            hint="Ask for each view once, and rename the column that you give.",
        )
    return names
