"""Say what the feature layer holds: views, how fresh they are, who reads them; print nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cluster.base.errors import Conflict, InvalidInput, LeptonError, NotFound
from cluster.base.settings import settings
from cluster.features.derived.modelview import ModelView
from cluster.features.joins.held import history_of, leaves
from cluster.features.layer import Layer
from cluster.features.offline.snapshot import Snapshot
from cluster.features.online.lag import Lag
from cluster.features.schema.view import View
from services.local import catalog, lineage


@dataclass(frozen=True)
class Listed:
    """A view as it stands.

    Attributes:
        view: the view; a model view at the version that its reference names, if there is one.
        kind: source, windows, computed or model.
        rows: how many are stored; None where they are made when they are read.
        newest: the latest event time, if any row is stored.
        readers: the views that are made from it and the capabilities that read it.
        version: changes with its definition, with those of the views behind it, and with the
            version of its model.
        release: the version of its model, where it is a model view that has one.
        behind: how many stored rows look-ups of it do not see yet; None where it is not online.
    """

    view: View
    kind: str
    rows: int | None
    newest: np.datetime64 | None
    readers: list[str]
    version: str
    release: int | None = None
    behind: int | None = None


def listed(layer: Layer | None = None) -> list[Listed]:
    """Every view of a layer, or of the one that the settings name; inputs of others first."""
    asked = layer or catalog.layer(settings())
    return [_listed(asked, view) for view in asked.graph.order]


def draw(path: Path) -> Path:
    """The lineage as a picture.

    Args:
        path: where to, ending in .svg; a file that is there is replaced.

    Raises:
        InvalidInput: it names another kind of picture.
        Conflict: it cannot be written.
    """
    if path.suffix.lower() != ".svg":
        raise InvalidInput(f"{path} is not named as an SVG picture.", hint="End its name in .svg.")
    picture = lineage.draw(catalog.graph(), catalog.capabilities())
    try:
        path.write_text(picture)
    except OSError as error:
        raise Conflict(
            f"{path} cannot be written: {error.strerror}.", hint="Name a file in another folder."
        ) from None
    return path


def waiting(layer: Layer, view: View) -> list[Lag]:
    """What look-ups of a view do not see of the rows behind it; nothing where it is not online.

    Raises:
        LeptonError: one side cannot be read now.
    """
    leaves_of = leaves([view], layer.inputs)
    lags = [layer.lag(layer.graph.stored(history_of(leaf)[0])) for leaf in leaves_of]
    return [lag for lag in lags if lag is not None]


def _listed(layer: Layer, view: View) -> Listed:
    head, lags = _head(layer, view), None
    try:
        view = layer.resolved(view)
        version = view.version_over(layer.inputs)
    except NotFound:  # its model, or that of a view behind it, has no version
        version = view.version_over(layer.graph.inputs)
    else:
        lags = _asked(layer, view)
    return Listed(
        view,
        lineage.kind_of(view),
        head.rows if head else (0 if view.stored else None),
        head.newest if head and head.rows else None,
        list(_readers(layer, view)),
        version,
        (view.release or None) if isinstance(view, ModelView) else None,
        sum(lag.rows for lag in lags) if lags else None,
    )


def _asked(layer: Layer, view: View) -> list[Lag] | None:
    """What look-ups do not see; None where nobody can say now, which a look-up says itself."""
    try:
        return waiting(layer, view)
    except LeptonError:
        return None


def _head(layer: Layer, view: View) -> Snapshot | None:
    """The stored rows of a view, if it has any."""
    try:
        return layer.store.snapshot(layer.graph.stored(layer.resolved(view)).name)
    except (NotFound, InvalidInput):  # never ingested, no version of its model; made when read
        return None


def _readers(layer: Layer, view: View) -> Iterator[str]:
    yield from (other.name for other in layer.graph.readers(view))
    for name, task in catalog.capabilities().items():
        if any(other.name == view.name for other in lineage.reads(task)):
            yield name
