"""Know which capabilities and views exist: they are read from the folders."""

import importlib
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cluster.base.blame import blame
from cluster.base.code import ROOT, domains
from cluster.base.errors import Conflict, LeptonError, NotFound, nearest
from cluster.base.settings import Settings
from cluster.contract.task import AnyTask, Task
from cluster.features.derived.modelview import ModelView
from cluster.features.schema.view import View
from cluster.registry.pool import Models
from cluster.registry.versions import Registry

if TYPE_CHECKING:
    from cluster.features.derived.graph import Graph
    from cluster.features.layer import Layer
    from cluster.features.online.lookup import Online


def names() -> list[str]:
    """Every capability by name, without importing any: `vision/classify.py` is one."""
    files = (file for domain in domains() for file in sorted((ROOT / domain).glob("[!_]*.py")))
    return [f"{file.parent.name}.{file.stem}" for file in files]


@cache
def find(name: str) -> type[AnyTask]:
    """The capability of that name.

    Raises:
        NotFound: there is none; the sentence offers the nearest.
        Conflict: its file cannot be loaded; the sentence says which line is to blame.
    """
    if name not in names():
        raise NotFound(f"There is no capability {name!r}.", hint=nearest(name, names()))
    module = _imported(name)
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, Task) and member.__module__ == name:
            return member
    raise NotFound(
        f"{name.replace('.', '/')}.py declares no capability.",
        hint="Let it hold one class derived from Task or NeuralTask.",
    )


def _imported(name: str) -> ModuleType:
    """A file of a capability or of views, as a module."""
    try:
        return importlib.import_module(name)
    except LeptonError:
        raise
    except Exception as error:  # whatever a file may raise that somebody is writing
        raise Conflict(
            f"{name} cannot be loaded: {blame(error, _is_ours)}.",
            hint="Mend that line, or move the file away.",
        ) from error


def _is_ours(file: str) -> bool:
    """Whether a file stands in a folder of capabilities or of views."""
    return any(
        Path(file).parent == ROOT / folder for folder in (*domains(), "cluster/features/views")
    )


def capabilities() -> dict[str, type[AnyTask]]:
    """Every capability by its name."""
    return {name: find(name) for name in names()}


@cache
def graph() -> "Graph":
    """Every view there is: those of the feature layer's files, and those that capabilities name.

    Raises:
        LeptonError: views do not fit together, or a file cannot be loaded; the sentence says which.
    """
    from cluster.features.derived.graph import Graph  # noqa: PLC0415 - with Polars, which no replica needs

    files = (file for file in sorted((ROOT / "cluster" / "features" / "views").glob("[!_]*.py")))
    modules = [_imported(f"cluster.features.views.{file.stem}") for file in files]
    modules += [sys.modules[task.__module__] for task in capabilities().values()]
    found = [
        member
        for module in modules
        for _, member in inspect.getmembers(module, lambda member: isinstance(member, View))
    ]
    made = Graph(found)
    for view in made.order:
        if isinstance(view, ModelView):
            models(Path()).check(view)
    return made


def models(home: Path) -> Models:
    """What opens the versions of models in a home."""
    return Models(Registry(home), find)


def layer(here: Settings) -> "Layer":
    """The feature layer that the settings name."""
    from cluster.features.layer import Layer  # noqa: PLC0415 - as above
    from cluster.features.offline.store import Store  # noqa: PLC0415

    return Layer(graph(), Store(here.home / "features"), online(here), models(here.home))


def online(here: Settings) -> "Online":
    """Where rows are looked up by key: Redis where the settings name one, or a file under home."""
    from cluster.features.online.lookup import Online  # noqa: PLC0415 - as above
    from cluster.features.online.redis_keeper import RedisKeeper  # noqa: PLC0415

    if here.redis_url is None:
        return Online(here.home / "features" / "online.db")
    return Online(RedisKeeper(here.redis_url, wait_s=here.redis_wait_ms / 1000))


def views() -> dict[str, View]:
    """Every view that can be ingested, by its name."""
    return {view.name: view for view in graph().order if view.read is not None}


def find_view(name: str) -> View:
    """The view of that name, whole.

    Raises:
        NotFound: there is none; the sentence offers the nearest.
    """
    return graph()[name]
