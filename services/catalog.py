"""Know which capabilities and views exist: they are read from the folders."""

import importlib
import inspect
from functools import cache
from pathlib import Path

from cluster.errors import NotFound, nearest
from cluster.features.view import View
from cluster.model import AnyTask
from cluster.task import Task

DOMAINS = ("vision", "nlp", "recsys")
HERE = Path(__file__).resolve().parents[1]


def names() -> list[str]:
    """Every capability by name, without importing any: `vision/classify.py` is one."""
    files = (file for domain in DOMAINS for file in sorted((HERE / domain).glob("[!_]*.py")))
    return [f"{file.parent.name}.{file.stem}" for file in files]


@cache
def find(name: str) -> type[AnyTask]:
    """The capability of that name.

    Raises:
        NotFound: there is none; the sentence offers the nearest.
    """
    if name not in names():
        raise NotFound(f"There is no capability {name!r}.", hint=nearest(name, names()))
    module = importlib.import_module(name)
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, Task) and member.__module__ == name:
            return member
    raise NotFound(
        f"{name.replace('.', '/')}.py declares no capability.",
        hint="Let it hold one class derived from Task or NeuralTask.",
    )


def capabilities() -> dict[str, type[AnyTask]]:
    """Every capability by its name."""
    return {name: find(name) for name in names()}


def views() -> dict[str, View]:
    """Every view that can be ingested, by its name: those that the capabilities learn from.

    Where capabilities look at one view through different columns, it is the one with most of them.
    """
    used = (
        view
        for task in capabilities().values()
        for view in (task.inputs, *task.features, *task.tables, task.examples)
        if view.read is not None
    )
    return {view.name: view for view in sorted(used, key=lambda view: len(view.columns))}


def find_view(name: str) -> View:
    """The view of that name.

    Raises:
        NotFound: there is none; the sentence offers the nearest.
    """
    known = views()
    if name not in known:
        raise NotFound(f"There is no view {name!r}.", hint=nearest(name, known))
    return known[name]
