"""Keep the vectors of views in memory, as new as their stored rows, and search them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InvalidInput, NotFound
from cluster.features.column import Vector
from cluster.features.nearest import Vectors
from cluster.features.snapshot import Snapshot
from cluster.features.store import Store
from cluster.features.view import View

SEPARATOR = "\x1f"  # between the parts of a key: no keyboard writes it
Keys = list[tuple[str, ...]]


@dataclass
class Shelf:
    """What is in memory of one view.

    Attributes:
        vectors: the newest vector of each key.
        times: when it became true, in microseconds since 1970.
        files: the data files that were read.
        commit: after which write of the view's rows it is as new as they are.
    """

    vectors: Vectors
    times: dict[str, int] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    commit: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Neighbours:
    """Searches the vectors of views.

    Offline rows come first in a push, and data files never change: so whoever wrote, this process
    or another, the number of the newest commit says whether there is more to read, and only files
    that are new are read.

    Args:
        store: the stored rows.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._shelves: dict[str, Shelf] = {}

    def nearest(
        self, view: View, queries: NDArray[np.generic], k: int
    ) -> tuple[list[Keys], list[list[float]]]:
        """For each query `[m, size]` the keys of the `k` nearest rows, and how alike they are.

        Args:
            view: a source view, as it is stored, with one column of vectors.
            queries: vectors of that size.
            k: how many are wanted; there are fewer where the view has fewer.

        Raises:
            InvalidInput: the view has no vectors, or a query is of another size or not finite.
            NotFound: the view has no rows.
        """
        shelf = self._current(view)
        keys, scores = shelf.vectors.nearest(queries, k)
        return [[tuple(key.split(SEPARATOR)) for key in found] for found in keys], scores

    def _current(self, view: View) -> Shelf:
        column = vector_column(view)
        size = view.columns[column].size  # type: ignore[attr-defined] - it is a Vector
        shelf = self._shelves.setdefault(view.name, Shelf(Vectors(size)))
        head = self.store.head(view)
        if not head.rows:
            raise NotFound(
                f"View {view.name!r} holds no vectors yet.",
                hint=f"Make them: python -m services materialize {view.name}",
            )
        if head.commit != shelf.commit:
            with shelf.lock:  # who comes while the files are read waits for them
                _read(view, column, head, shelf)
        return shelf


def vector_column(view: View) -> str:
    """The column of a view that holds vectors.

    Raises:
        InvalidInput: none does, or several.
    """
    columns = [name for name, kind in view.columns.items() if isinstance(kind, Vector)]
    if len(columns) != 1:
        raise InvalidInput(
            f"View {view.name!r} has {len(columns) or 'no'} columns of vectors: "
            f"{', '.join(columns or view.columns)}.",
            hint="Ask a view with one of them.",
        )
    return columns[0]


def _read(view: View, column: str, head: Snapshot, shelf: Shelf) -> None:
    """Bring in the files that came since."""
    for file in head.files:
        if file.name in shelf.files:
            continue
        names = [*view.key, "event_time", "created", column]
        rows = view.unpack(head.table_of(file, names))
        order = np.lexsort((rows["created"], rows["event_time"]))
        moments = rows["event_time"].astype("M8[us]").astype(np.int64)[order].tolist()
        keys = [SEPARATOR.join(parts) for parts in zip(*(rows[n][order] for n in view.key), strict=True)]
        newest = {key: row for row, key in enumerate(keys)}
        fresh = [
            (key, row) for key, row in newest.items() if moments[row] >= shelf.times.get(key, moments[row])
        ]
        shelf.vectors.put([key for key, _ in fresh], rows[column][order][[row for _, row in fresh]])
        shelf.times.update((key, moments[row]) for key, row in fresh)
        shelf.files.add(file.name)
    shelf.commit = head.commit


def ids(keys: Sequence[str]) -> str:
    """A key as one text."""
    return SEPARATOR.join(keys)
