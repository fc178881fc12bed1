"""Keep what near-copies are found by beside a view's rows, so that each row is looked at once."""

import io
import zipfile
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from cluster.base.errors import LeptonError
from cluster.features.offline.snapshot import Snapshot

VERSION = 1  # of what a sketch is and how near two must be
Kept = dict[str, NDArray[np.generic]]
"""`digest`: of stored rows, ascending; `sketch`: of their values; `alike`: groups, by row."""


def load(snapshot: Snapshot, column: str, rows: str) -> tuple[Kept, bool]:
    """What earlier looks at a column left, maybe nothing.

    Args:
        snapshot: of the view.
        column: its name.
        rows: what these rows in this order are called.

    Returns:
        The arrays, and whether `alike` is of just these rows.
    """
    names = _names(snapshot, column)
    wanted = _name(column, rows)
    for name in [wanted] if wanted in names else names[-1:]:
        # what another run removed just now, or a crash left half, is made again
        with suppress(FileNotFoundError, ValueError, KeyError, zipfile.BadZipFile):
            data = snapshot.bucket.read(f"{_folder(snapshot)}/{name}")
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return {part: file[part] for part in ("digest", "sketch", "alike")}, name == wanted
    return {}, False


def save(snapshot: Snapshot, column: str, rows: str, kept: Kept) -> None:
    """Keep them in place of those of earlier looks; where that cannot be, the next look is slow."""
    data = io.BytesIO()
    np.savez(data, **kept)  # type: ignore[arg-type]
    before, name = _names(snapshot, column), _name(column, rows)
    with suppress(LeptonError, FileExistsError):
        snapshot.bucket.publish(f"{_folder(snapshot)}/{name}", data.getvalue())
        old = (other for other in before if other != name)
        snapshot.bucket.remove(f"{_folder(snapshot)}/{other}" for other in old)


def _folder(snapshot: Snapshot) -> str:
    return f"{snapshot.view}/sketches"


def _name(column: str, rows: str) -> str:
    return f"{column}-{VERSION}-{rows}.npz"


def _names(snapshot: Snapshot, column: str) -> list[str]:
    with suppress(LeptonError, FileNotFoundError):
        names = snapshot.bucket.names(_folder(snapshot))
        return [name for name in names if name.startswith(f"{column}-{VERSION}-")]
    return []
