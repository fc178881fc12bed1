"""Forget a key: erase its rows and its traces, and say which models had learnt from them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from cluster.base.errors import Corrupt
from cluster.features.derived.modelview import ModelView
from cluster.features.erasure import forget as erased
from cluster.features.layer import Layer
from cluster.features.monitoring import requests
from cluster.registry.versions import Registry
from lepton.wire import Forgotten, Learnt


def forget(layer: Layer, home: Path, name: str, key: Mapping[str, object]) -> Forgotten:
    """Erase the rows of a key, or of a part of one.

    Args:
        layer: where the rows are.
        home: where versions and request logs are.
        name: a source view.
        key: its key columns, or some of them.

    Raises:
        LeptonError: as `cluster.features.erasure.forget`.
    """

    def from_logs(wanted: Mapping[str, str]) -> int:
        folders = sorted((home / "requests").glob("*"))
        return sum(requests.erase(folder, wanted) for folder in folders)

    done = erased(layer, name, key, from_logs)
    read = {
        name,
        *(r.name for r in layer.graph.readers(layer.graph[name]) if isinstance(r, ModelView)),
    }
    return Forgotten(
        view=name,
        key=dict(done.key),
        rows=dict(done.rows),
        online=done.online,
        logged=done.logged,
        versions=learnt(Registry(home), read, done.since) if done.since else [],
    )


def learnt(registry: Registry, views: Collection[str], since: datetime) -> list[Learnt]:
    """The versions that were made since a moment and have read any of some views."""
    found = []
    for task in registry.tasks():
        names = registry.aliases(task)
        for version in registry.versions(task):
            try:
                made = registry.manifest(task, version)
            except Corrupt:  # it serves nobody, and what it read is not known
                continue
            if made.created >= since and not made.views.keys().isdisjoint(views):
                aliases = sorted(alias for alias, number in names.items() if number == version)
                found.append(Learnt(task=task, version=version, aliases=aliases))
    return found
