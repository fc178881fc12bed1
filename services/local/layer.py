"""The verbs of the feature layer in this process, for rows in whatever people hold them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.base.errors import Conflict, InvalidInput, NotFound
from cluster.features.joins.history import Stored
from cluster.features.joins.partitions import join_files
from cluster.features.layer import Layer
from cluster.features.offline.compact import Compacted
from cluster.features.schema.column import Column, Text, Time
from cluster.features.schema.view import View, columns_of
from lepton.wire import Neighbour
from services.local.given import given, key_texts

Views = View | str | Sequence[View | str]
MEMORY_MB = 2048
"""What `join_files` may take unless it is told otherwise."""


@dataclass(frozen=True)
class LocalLayer:
    """The feature layer without a server.

    Rows are a Polars or pandas DataFrame, a dict of columns (lists or arrays), a list of dicts, or
    one dict for one row. The answer comes in what was given, its own columns untouched, with the
    columns of the views beside them. In frames and dicts a picture is the bytes of its file; among
    columns it is an array of pixels.

    Args:
        layer: what is asked: it takes and gives NumPy columns alone.
    """

    layer: Layer

    def join(self, examples: Any, views: Views) -> Any:
        """Examples with the columns of views beside them, each as of its row's own moment.

        Args:
            examples: the keys of the views, and `event_time` with a zone, or a NumPy array of
                `datetime64`, which is UTC. A row whose key is None finds nothing.
            views: the views or their names, or one of them.

        Returns:
            The examples in what they came in; of each view its columns, which hold the view's
            defaults where nothing is known, and the mask `<view>_missing`.

        Raises:
            NotFound: there is no such view, or no such version of its model.
            InvalidInput: the examples are no rows, lack a column, or a value is bad.
        """
        named, rows = self._named(views), given(examples)
        types = _types(named, rows.columns)
        if not rows.columns:
            return rows.beside({}, {})
        keys = key_texts(_keys(named), rows.columns, gaps=True)
        found = self.layer.join({**rows.columns, **keys}, named)
        return rows.beside({name: found[name] for name in types}, types)

    def join_files(
        self,
        examples: str | Path,
        views: Views,
        target: str | Path,
        *,
        memory_mb: int = MEMORY_MB,
    ) -> int:
        """The same from a Parquet file to a Parquet file, in a bounded memory.

        Args:
            examples: a file with the keys as strings, and `event_time` with a zone.
            views: as for `join`.
            target: the file to write, there only once it is whole; its folder takes the parts.
            memory_mb: how much this process may take in all.

        Returns:
            How many rows were written.

        Raises:
            NotFound: there is no such file, folder or view.
            InvalidInput: the file is no Parquet, lacks a column, or has one of another type.
            Conflict: the target is a folder.
            NotEnough: the memory allowed is too small even for many parts.
        """
        source, made = Path(examples), Path(target)
        _check_paths(source, made)
        history = Stored(self.layer.store.head)
        return join_files(
            source, self._named(views), history, made,
            memory_bytes=memory_mb * 2**20, inputs=self.layer.inputs,
        )  # fmt: skip

    def lookup(self, views: Views, keys: Any, *, at: datetime | None = None) -> Any:
        """The newest values of some views, online.

        Args:
            views: the views or their names, or one of them.
            keys: rows with the key columns of all those views; whole numbers are their digits.
            at: as of when, with a zone; now by default.

        Returns:
            The keys in what they came in; of each view its columns, `<view>_missing`,
            `<view>_status` (present, missing or stale) and `<view>_time`: since when it holds, in
            UTC, which is 1970 for what has held always.

        Raises:
            NotFound: there is no such view, or it is not online.
            InvalidInput: the keys are no rows, lack a column, or one is empty.
        """
        named, rows = self._named(views), given(keys)
        types = _types(named, rows.columns)
        for view in named:
            types |= {f"{view.name}_status": Text(), f"{view.name}_time": Time()}
        if not rows.columns:
            return rows.beside({}, {})
        own = key_texts(_keys(named), rows.columns, gaps=False)
        found = self.layer.lookup(named, {**rows.columns, **own}, at=at)
        return rows.beside({name: found[name] for name in types}, types)

    def nearest(self, view: View | str, vector: Any, k: int = 10) -> Any:
        """The keys whose vectors are closest, nearest first.

        Args:
            view: a view with one column of vectors, or its name.
            vector: one vector `[size]`, or several `[m, size]`.
            k: how many are wanted.

        Returns:
            A list of `Neighbour(key, score)` for one vector, the score their inner product; for
            several, a list of such lists.

        Raises:
            NotFound: there is no such view, or it has no rows.
            InvalidInput: it has no vectors, those given are of another size, or `k` is no number of
                neighbours.
        """
        (named,) = self._named([view])
        try:
            asked = np.asarray(vector)
        except ValueError:  # lists of different lengths
            raise InvalidInput(
                "The vectors differ in length.", hint="Give them as m x size numbers."
            ) from None
        batch = asked[None] if asked.ndim == 1 else asked
        found = [
            [
                Neighbour(key=dict(zip(named.key, key, strict=True)), score=score)
                for key, score in zip(keys, scores, strict=True)
            ]
            for keys, scores in zip(*self.layer.nearest(named.name, batch, k), strict=True)
        ]
        return found[0] if asked.ndim == 1 else found

    def push(self, view: View | str, rows: Any) -> int:
        """Write events to both sides; they are looked up as soon as this returns.

        Args:
            view: a source view, or its name.
            rows: its key and columns; `event_time` with a zone in every row, or in none for now.

        Returns:
            How many rows were written: all of them, or none where one is bad.

        Raises:
            NotFound: there is no such view.
            TooLarge: there are too many rows for one push.
            InvalidInput: the view is made from others, or a row is bad; the sentence says which.
        """
        (named,) = self._named([view])
        return self.layer.push(named.name, given(rows).columns)

    def materialize(self, views: Views = ()) -> dict[str, int]:
        """Bring stored rows online, and make those of model views first.

        Args:
            views: the views or their names; none stands for all that have rows.

        Returns:
            How many stored rows of each view were read, those that a push had brought included.

        Raises:
            NotFound: there is no such view.
        """
        return self.layer.materialize([view.name for view in self._named(views)])

    def compact(self, view: View | str) -> Compacted:
        """Merge the small files of a view's stored rows and drop rows that others replaced.

        Raises:
            NotFound: there is no such view, or nothing of it is stored.
            InvalidInput: nothing of it is ever stored: it is made when it is read.
        """
        (named,) = self._named([view])
        stored = self.layer.graph.stored(named)
        self.layer.store.snapshot(stored)
        return self.layer.store.compact(stored)

    def view(self, name: str) -> View:
        """The view of that name.

        Raises:
            NotFound: there is none; the sentence offers the nearest.
        """
        return self.layer.view(name)

    def _named(self, views: Views) -> list[View]:
        """The views, each resolved."""
        several = [views] if isinstance(views, str | View) else views
        for one in several:
            if not isinstance(one, str | View):
                raise InvalidInput(
                    f"A {type(one).__name__} is no view.",
                    hint="Name it, as in join(examples, views) and lookup(views, keys).",
                )
        return [
            self.layer.view(one) if isinstance(one, str) else self.layer.resolved(one)
            for one in several
        ]


def _keys(views: Sequence[View]) -> list[str]:
    return list(dict.fromkeys(name for view in views for name in view.key))


def _types(views: Sequence[View], taken: Any) -> dict[str, Column | None]:
    """The columns that views put beside others, by the names that they have there."""
    names = columns_of(views, taken)
    types: dict[str, Column | None] = {}
    for view in views:
        types |= {names[view.name][name]: column for name, column in view.columns.items()}
        types[f"{view.name}_missing"] = None
    return types


def _check_paths(source: Path, target: Path) -> None:
    if not source.is_file():
        raise NotFound(f"There is no file {source}.", hint="Name a Parquet file of examples.")
    if not target.parent.is_dir():
        raise NotFound(f"There is no folder {target.parent}.", hint="Make it first.")
    if target.is_dir():
        raise Conflict(f"{target} is a folder.", hint="Name the file that is to be written.")
    try:
        pq.read_schema(source)
    except pa.ArrowInvalid:
        raise InvalidInput(
            f"{source} is no Parquet file.", hint="Write one with to_parquet or write_parquet."
        ) from None
