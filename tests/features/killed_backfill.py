"""Backfill the toy's model view in a process that may be killed between any two pieces.

    python -m tests.features.killed_backfill HOME

Says `piece` before each piece and waits for a line; in the end, how many rows it made.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from cluster.base.batch import Batch
from cluster.features.backfill import Backfill
from cluster.features.derived import modelview
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, Text
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from tests.toy import Side, labelled_points

side = model_view(
    "side",
    "tests.toy@production",
    over=labelled_points,
    columns={"label": Text(), "probability": Number()},
    inputs={"x": "x", "y": "y"},
)


def layer(home: Path) -> Layer:
    """The toy's views and versions below a folder."""
    store, online = Store(home / "features"), Online(home / "features" / "online.db")
    return Layer(Graph([labelled_points, side]), store, online, Models(Registry(home), find))


def find(name: str) -> type[Side]:
    """There is one capability."""
    assert name == "tests.toy"
    return Side


def said(work: Backfill, models: modelview.Models) -> Iterator[Batch]:
    """What the model says of each piece, once somebody lets it."""
    for piece in work.pieces():
        sys.stdout.write("piece\n")
        sys.stdout.flush()
        sys.stdin.readline()
        yield work.made(piece, models)


if __name__ == "__main__":
    made = layer(Path(sys.argv[1])).backfill(side, said, part_s=0)
    sys.stdout.write(f"{made}\n")
