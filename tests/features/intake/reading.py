"""Read files through a view as `ingest` does, for tests."""

from pathlib import Path

from cluster.base.batch import Arrays, concat
from cluster.features.intake.ingest import admit
from cluster.features.schema.view import Reject, Skipped, View


def read(view: View, path: Path, zone: str = "", **columns: str) -> tuple[Arrays, list[Reject]]:
    """The good rows of a path, and the bad ones."""
    good, bad = [], []
    assert view.read is not None
    for piece in view.read(path, columns):
        if isinstance(piece, Reject):
            bad.append(piece)
        elif not isinstance(piece, Skipped):
            rows, rejects = admit(view, piece, zone=zone)
            good.append(rows)
            bad += rejects
    return concat(good), bad
