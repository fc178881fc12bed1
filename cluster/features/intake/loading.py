"""Put the content of files in place of their names, so many bytes at a time as memory can bear."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from cluster.base.batch import Batch, objects, take
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.tree import Tree
from cluster.features.schema.view import Piece, Reject, Skipped

BATCH_ROWS = 1_024
BATCH_BYTES = 64_000_000


def load_column(
    rows: Batch, column: str, load: Callable[[object], object]
) -> Iterator[Batch | Reject]:
    """The rows with `load` done to each value of a column, and a Reject where it raises.

    Args:
        rows: at least the column, and `where` each row stands.
        column: what is loaded.
        load: a name to content; raises InvalidInput for one that cannot be read.
    """
    held: list[object] = []
    kept: list[int] = []
    size = 0
    for row, value in enumerate(rows[column]):
        try:
            held.append(load(value))
        except InvalidInput as error:
            yield Reject(rows["where"][row], error.message)
            continue
        kept.append(row)
        size += _size(held[-1])
        if len(kept) == BATCH_ROWS or size >= BATCH_BYTES:
            yield {**take(rows, np.asarray(kept)), column: objects(held)}
            held, kept, size = [], [], 0
    if kept:
        yield {**take(rows, np.asarray(kept)), column: objects(held)}


def load_folders(
    tree: Tree,
    classed: Sequence[tuple[str, str, str]],
    column: str,
    load: Callable[[bytes], object],
) -> Iterator[Piece]:
    """A row for each file that lies in the folder of its class, and why each other gives none.

    A file in the folder of a part, but in none of a class, has no label, as those of a test set
    that is to be predicted; one that lies anywhere else is a bad row.

    Args:
        tree: where the files are.
        classed: name, class and split of each, as `classes` finds them.
        column: the column that holds their content.
        load: bytes to content.
    """
    for name, label, split in classed:
        if not label and (split or "/" in name):
            yield Skipped(tree.where(name), "it has no label: it lies in no folder of a class")
        elif not label:
            yield Reject(tree.where(name), "the file lies in no folder of a class")
    inside = [entry for entry in classed if entry[1]]
    rows = {
        column: objects(name for name, _, _ in inside),
        "label": objects(label for _, label, _ in inside),
        "split": objects(split for _, _, split in inside),
        "where": objects(tree.where(name) for name, _, _ in inside),
    }
    yield from load_column(rows, column, lambda name: load(tree.read(str(name))))


def _size(value: object) -> int:
    return len(value) if isinstance(value, bytes | str) else 0
