"""Hold what was served to what was stored and to what was learnt from; print nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.base.errors import NotFound
from cluster.base.settings import settings
from cluster.contract.task import AnyTask
from cluster.features.monitoring import requests
from cluster.features.monitoring.check import Report
from cluster.features.monitoring.check import check as check_lines
from cluster.features.monitoring.drift import Drift, compare, plot
from cluster.registry.versions import Registry
from services.local import catalog


@dataclass(frozen=True)
class Drifted:
    """How far the features of one version have moved.

    Attributes:
        task: the capability.
        version: which one, of those that were served the last.
        rows: how many served rows of it the log has.
        features: each of them, what moved most first.
        picture: where the plot was drawn.
    """

    task: str
    version: int
    rows: int
    features: list[Drift]
    picture: Path


def check(task: str = "") -> dict[str, Report]:
    """Compare logged look-ups with the offline join as of the same moments.

    Args:
        task: of one capability; without one, of all that have a log.

    Returns:
        By capability what came of it.

    Raises:
        NotFound: there is no such capability, or nothing of it was logged.
    """
    layer = catalog.layer(settings())
    names = [task] if task else [name for name in catalog.names() if _folder(name).is_dir()]
    found = {}
    for name in names:
        kind = catalog.find(name)
        views = [*_inputs(kind), *kind.features, *kind.live]
        found[name] = check_lines(layer, views, _logged(name))
    return found


def drift(task: str) -> Drifted:
    """Compare what the version that was served last was asked with its training rows.

    Draws `<home>/requests/<task>/drift-v<version>.png`.

    Raises:
        NotFound: there is no such capability, nothing of it was logged, or the version learnt from
            nothing that could drift.
    """
    catalog.find(task)
    lines = list(_logged(task))
    version = lines[-1]["version"]
    trained = Registry(settings().home).manifest(task, version).statistics
    if not trained:
        raise NotFound(
            f"Version {version} of {task} learnt from no column that could drift.",
            hint="Drift is of what callers send and of features.",
        )
    rows = [line["measures"] for line in lines if line["version"] == version and "measures" in line]
    found = compare(trained, rows)
    picture = _folder(task) / f"drift-v{version}.png"
    title = f"{task} version {version}: {len(rows):,} served rows against training"
    plot(found, picture, title=title)
    return Drifted(task, version, len(rows), found, picture)


def _inputs(kind: type[AnyTask]) -> list[Any]:
    names = {view.name for view in (*kind.features, *kind.live)}
    return [] if kind.inputs.name in names else [kind.inputs]


def _folder(task: str) -> Path:
    return settings().requests / task


def _logged(task: str) -> Iterator[dict[str, Any]]:
    """The lines of a capability's log.

    Raises:
        NotFound: there are none.
    """
    lines = requests.read(_folder(task))
    first = next(lines, None)
    if first is None:
        raise NotFound(
            f"No request to {task} was logged in {_folder(task)}.",
            hint="Ask it something while LEPTON_LOG_SHARE is more than 0.",
        )
    yield first
    yield from lines
