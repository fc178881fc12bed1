"""Read what Hugging Face data sets call their classes, whose tables hold numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from cluster.base.batch import Batch, objects, take
from cluster.features.intake.files.formats import SCHEMATIC, open_table
from cluster.features.intake.files.tree import Tree, suffix
from cluster.features.schema.view import Piece, Reject, Skipped

_UNKNOWN = -1  # what they write where a row has no label


def class_names(tree: Tree, name: str, column: str) -> tuple[str, ...]:
    """The names of the classes that the schema of Parquet or Arrow says a column numbers, if so.

    Raises:
        InvalidInput: the file cannot be read.
    """
    if suffix(name) not in SCHEMATIC:
        return ()
    with open_table(tree, name) as table:
        metadata = table.metadata
    try:
        said: Any = orjson.loads(metadata[b"huggingface"])
        return tuple(map(str, said["info"]["features"][column]["names"]))
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return ()


def with_names(rows: Batch, names: Sequence[str]) -> Iterator[Piece]:
    """The rows with names of classes in place of numbers; -1 stands for none, as in a test set."""
    if not names:
        yield rows
        return
    good = []
    for row, value in enumerate(rows["label"]):
        number = int(value) if isinstance(value, int | np.integer) else len(names)
        if number == _UNKNOWN:
            yield Skipped(rows["where"][row], "it has no label (-1)")
        elif not 0 <= number < len(names):
            yield Reject(rows["where"][row], f"label {value!r} is none of the {len(names)} classes")
        else:
            good.append(row)
    kept = take(rows, np.asarray(good, dtype=np.int64))
    yield {**kept, "label": objects(names[int(value)] for value in kept["label"])}
