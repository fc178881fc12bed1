"""Keep the vectors of views in memory, as new as their stored rows, and search them."""

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.errors import InvalidInput, NotFound
from cluster.features.offline.snapshot import DataFile, Snapshot
from cluster.features.offline.store import Store
from cluster.features.online.bring import has
from cluster.features.schema.column import Vector
from cluster.features.schema.view import View
from cluster.features.vectors.nearest import Vectors

Key = tuple[str, ...]
Nearest = tuple[list[list[Key]], list[list[float]]]
"""For each query the keys, nearest first, and how alike they are."""


EARLIEST = np.iinfo(np.int64).min


class Others(Vectors):
    """Vectors of which the nearest to one of their own are found."""

    def beside(self, own: str, vector: NDArray[Any], k: int) -> tuple[list[str], list[float]]:
        """The `k` nearest keys to a vector `[size]` of ours but its own, and how alike they are."""
        with self._state:
            asked = np.asarray(vector, dtype=np.float32)[None]
            ((query, slots),) = self._candidates(asked, k + 1)  # one in the place of its own
            best = [pair for pair in self._best(query, slots, k + 1) if pair[1] != own][:k]
        return [key for _, key in best], [-score for score, _ in best]


@dataclass
class VectorCache:
    """What is in memory of one view.

    Attributes:
        vectors: the newest vector of each key.
        moments: when it became true, in microseconds since 1970.
        files: the data files that were read.
        commit: after which write the view's rows were last read.
        erased: how often rows had been erased by then.
        lock: held while they are.
    """

    vectors: Others
    moments: dict[str, int] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    commit: int = 0
    erased: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Neighbours:
    """Searches the vectors of views.

    A push writes the offline rows first, and data files never change. So whoever wrote, this
    process or another, the number of the newest commit says whether there is something to read,
    and only files that are new are.

    Args:
        store: the offline rows.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._shelves: dict[str, VectorCache] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """What is in memory stays in its process."""
        return (Neighbours, (self.store,))

    def nearest(self, view: View, queries: NDArray[Any], k: int) -> Nearest:
        """For each query `[m, size]` the keys of the `k` nearest rows, and how alike they are.

        Rows that are older than the view's time-to-live are left out, so that fewer may be found.

        Args:
            view: a source view, as it is stored, with one column of vectors.
            queries: vectors of that size.
            k: how many are wanted.

        Raises:
            InvalidInput: the view has no vectors, or a query is of another size or not finite.
            NotFound: the view has no rows.
        """
        shelf = self._current(view)
        return _fresh(view, shelf, *shelf.vectors.nearest(queries, k))

    def beside(self, view: View, key: Key, vector: NDArray[Any], k: int) -> Nearest:
        """The same for one row and its vector `[size]`: the `k` nearest other rows.

        Raises:
            InvalidInput: the view has no vectors.
            NotFound: the view has no rows.
        """
        shelf = self._current(view)
        keys, scores = shelf.vectors.beside(_text(key), vector, k)
        return _fresh(view, shelf, [keys], [scores])

    def _current(self, view: View) -> VectorCache:
        column = vector_column(view)
        head, shelf = self.store.head(view), self._shelves.get(view.name)
        if shelf is not None and shelf.erased != head.erased:  # it may hold what was erased
            self._shelves.pop(view.name, None)
            shelf = None
        if shelf is None:
            made = VectorCache(Others(view.columns[column].empty().size), erased=head.erased)
            shelf = self._shelves.setdefault(view.name, made)
        if not head.files:
            raise NotFound(
                f"View {view.name!r} holds no vectors yet.",
                hint="Ingest or push what makes them; those of ingested rows are made by: "
                f"python -m services materialize {_named(view)}",
            )
        if head.commit != shelf.commit:
            with shelf.lock:  # who comes while it is read waits for it
                for file in head.files:
                    if not has(shelf.files, file):
                        _take_in(view, column, head, file, shelf)
                    shelf.files.add(file.name)
                shelf.commit = max(shelf.commit, head.commit)
        return shelf


def vector_column(view: View) -> str:
    """The name of the column that holds the view's vectors.

    Raises:
        InvalidInput: none does, or several do.
    """
    columns = [name for name, kind in view.columns.items() if isinstance(kind, Vector)]
    if len(columns) != 1:
        found = f"{len(columns)} columns" if columns else "no column"
        raise InvalidInput(
            f"View {view.name!r} has {found} of vectors.", hint="Ask a view that has one."
        )
    return columns[0]


def _take_in(view: View, column: str, head: Snapshot, file: DataFile, shelf: VectorCache) -> None:
    """The newest row of each key in a file, where it is newer than what is there."""
    names = [*view.key, "event_time", "created", column]
    rows = view.unpack(head.rows_of(file, names))
    order = np.lexsort((rows["created"], rows["event_time"]))
    moments = rows["event_time"][order].astype("M8[us]").astype(np.int64).tolist()
    parts = zip(*(rows[name][order].tolist() for name in view.key), strict=True)
    last = {_text(key): row for row, key in enumerate(parts)}
    newer = {
        key: row for key, row in last.items() if moments[row] >= shelf.moments.get(key, EARLIEST)
    }
    shelf.moments.update((key, moments[row]) for key, row in newer.items())
    shelf.vectors.put(list(newer), rows[column][order[list(newer.values())]])


def _fresh(
    view: View, shelf: VectorCache, keys: list[list[str]], scores: list[list[float]]
) -> Nearest:
    """What was found, less what is older than the time-to-live."""
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us").astype(np.int64)
    found: Nearest = ([], [])
    for names, alike in zip(keys, scores, strict=True):
        times = np.array([shelf.moments[key] for key in names], dtype=np.int64)
        fresh = np.flatnonzero(~view.too_old(times, now)).tolist()
        found[0].append([_parts(view, names[row]) for row in fresh])
        found[1].append([alike[row] for row in fresh])
    return found


def _text(key: Sequence[str]) -> str:
    """A key as one text: itself, or a JSON list where several columns make it."""
    return key[0] if len(key) == 1 else json.dumps(key, ensure_ascii=False)


def _parts(view: View, text: str) -> Key:
    return (text,) if len(view.key) == 1 else tuple(json.loads(text))


def _named(view: View) -> str:
    """What people call a view of which these are the stored rows of one version."""
    return re.sub(r"_v\d+$", "", view.name)
