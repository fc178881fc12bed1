"""Say which columns a view's rows are stored with, and what older rows read as in newer ones."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from cluster.base.batch import objects
from cluster.base.errors import Conflict
from cluster.features.schema.column import Time
from cluster.features.schema.view import View

EXTRA = {"created": Time.arrow, "digest": pa.int64()}
"""What every row carries beside the view's schema: when it came in, and what it holds in short."""
ARRIVED = "arrived"
"""Beside those in merged files: the number of each row's arrival, which else its file has."""


@dataclass(frozen=True)
class Shape:
    """The stored columns of a view.

    Args:
        number: which version of them, from 1.
        key: the columns that say what a row is about.
        types: their Arrow types, key first, `EXTRA` included.
        defaults: for each column that came later, the one value `[1]` that older rows have in it.
    """

    number: int
    key: tuple[str, ...]
    types: Mapping[str, pa.DataType]
    defaults: Mapping[str, pa.Array] = field(default_factory=dict)

    @classmethod
    def of(cls, view: View) -> Self:
        """The columns of a view that nobody has written to."""
        types = {name: column.arrow for name, column in view.schema.items()}
        return cls(1, view.key, types | EXTRA)

    @property
    def columns(self) -> dict[str, str]:
        """The stored columns and the names of their types."""
        return {name: str(kind) for name, kind in self.types.items()}

    def check(self, view: str, wanted: Mapping[str, pa.DataType]) -> None:
        """Refuses columns that are not those that are stored.

        Raises:
            Conflict: a column is missing or of another type.
        """
        for name, kind in wanted.items():
            stored = self.types.get(name)
            if stored != kind:
                was = f"as {stored}" if stored else "without it"
                way = "or ingest again from an empty home" if stored else "or a default for it"
                raise Conflict(
                    f"View {view!r} was stored {was}: column {name!r} is now {kind}.",
                    hint=f"Give the view a new name, {way}.",
                )

    def seen(self, view: View) -> Self:
        """These columns, and those that the view has beside them with a default.

        Raises:
            Conflict: a column is of another type, or new without a default.
        """
        new = [n for n in view.schema if n not in self.types and n in view.defaults]
        types = dict(self.types)
        added = dict(self.defaults)
        for name in new:
            column = view.schema[name]
            types[name] = column.arrow
            kind = "M8[us]" if isinstance(column, Time) else column.dtype
            added[name] = column.pack(objects([view.defaults[name]]).astype(kind))
        number = self.number + bool(new)
        seen = replace(self, number=number, types=types, defaults=added)
        seen.check(view.name, {name: column.arrow for name, column in view.schema.items()})
        return seen

    def written(self, view: View) -> Self:
        """The columns after a write through the view.

        Raises:
            Conflict: a column is of another type, new without a default, or not the view's.
        """
        seen = self.seen(view)
        if self.key != view.key:
            raise Conflict(
                f"Rows of {view.name!r} are stored by {', '.join(self.key)}; the view's key is now "
                f"{', '.join(view.key)}.",
                hint="Give the view a new name: a key cannot change.",
            )
        for name in self.types:
            if name not in view.schema and name not in EXTRA:
                raise Conflict(
                    f"Rows of {view.name!r} are stored with a column {name!r}; the view lacks it.",
                    hint="Write through the view that has all columns; one that nobody needs any "
                    "more may stay, or the view gets a new name.",
                )
        return seen

    def joined(self, other: Self) -> Self:
        """All columns of both: what stands when two writers added columns at once.

        Raises:
            Conflict: both have a column, of two types.
        """
        for name, kind in other.types.items():
            if self.types.get(name, kind) != kind:
                raise Conflict(
                    f"Column {name!r} was written as {self.types[name]} and as {kind}.",
                    hint="Two writers used different code: restore one of the two from a backup.",
                )
        return replace(
            self,
            number=max(self.number, other.number),
            types={**self.types, **other.types},
            defaults={**self.defaults, **other.defaults},
        )

    def filled(self, table: pa.Table, names: Sequence[str]) -> pa.Table:
        """The named columns of a table, with the defaults of those that it is too old to have."""
        for name in names:
            if name not in table.column_names:
                rows = np.zeros(table.num_rows, dtype=np.int64)
                table = table.append_column(name, self.defaults[name].take(pa.array(rows)))
        return table.select(list(names))

    def empty(self, names: Sequence[str]) -> pa.Table:
        """The named columns without a row."""
        types = {**self.types, ARRIVED: pa.int64()}
        return pa.table({name: pa.array([], type=types[name]) for name in names})

    def to_json(self) -> dict[str, Any]:
        """What a commit keeps: the names for people, the types and defaults as Arrow has them."""
        known = pa.table(dict(self.defaults))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, known.schema) as stream:
            stream.write_table(known)
        return {
            "number": self.number,
            "key": list(self.key),
            "columns": self.columns,
            "types": base64.b64encode(pa.schema(list(self.types.items())).serialize()).decode(),
            "defaults": base64.b64encode(sink.getvalue()).decode() if self.defaults else "",
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Self:
        """Reads it back; a ValueError, KeyError or TypeError where it is something else."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(held["types"])))
        defaults: dict[str, pa.Array] = {}
        if held["defaults"]:
            with pa.ipc.open_stream(base64.b64decode(held["defaults"])) as stream:
                table = stream.read_all().combine_chunks()
            defaults = {name: table[name].chunk(0) for name in table.column_names}
        types = dict(zip(schema.names, schema.types, strict=True))
        return cls(held["number"], tuple(held["key"]), types, defaults)
