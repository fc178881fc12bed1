"""Open registered models by name, each version once: what model views and replicas ask."""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import Conflict, nearest
from cluster.contract.task import AnyTask
from cluster.features.derived.modelview import ModelView
from cluster.features.schema.declared import gives, shown
from cluster.registry.model import Model
from cluster.registry.versions import Registry

log = logging.getLogger("ray.serve")  # what a replica's log file holds

Find = Callable[[str], type[AnyTask]]
"""The capability of a name; raises NotFound."""
KEPT = 8  # opened models: each takes some tens of megabytes
REMEMBERED = 256  # versions whose manifests need not be read at every push


class Models:
    """Versions of models as the registry has them.

    Args:
        registry: where the versions are.
        find: says which class a capability's name stands for.
    """

    def __init__(self, registry: Registry, find: Find) -> None:
        self.registry = registry
        self.find = find
        self._open = lru_cache(KEPT)(self._opened)
        self._pins = lru_cache(REMEMBERED)(self._pinned)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to workers without what it has opened."""
        return Models, (self.registry, self.find)

    def release(self, view: ModelView) -> int:
        """The version that makes a view: its own, or what its reference names now.

        Raises:
            NotFound: there is no such capability, version or alias.
        """
        self.find(view.task)
        return view.release or self.registry.resolve(view.task, view.reference)

    def trained(self, view: ModelView) -> bool:
        """Whether there is a version that the view's reference names.

        Raises:
            NotFound: there is no such capability.
        """
        self.find(view.task)
        if view.reference.isdecimal():
            return int(view.reference) in self.registry.versions(view.task)
        return view.reference in self.registry.aliases(view.task)

    def releases(self, view: ModelView) -> list[int]:
        """Every version whose rows somebody reads.

        They are the one that the reference names now, and those that the models which are in
        production or served have learnt from.
        """
        read = {
            (task, version)
            for task in self.registry.tasks()
            for alias, version in self.registry.aliases(task).items()
            if alias != "candidate"
        }
        pins = (self._pins(*one, self.registry.stamp(*one)) for one in read)
        used = {found[view.name] for found in pins if view.name in found}
        if self.trained(view):
            used.add(self.release(view))
        return sorted(used)

    def answer(self, view: ModelView, rows: Batch) -> tuple[list[int], Arrays]:
        """What the view's version says of rows of the view that it is over.

        A row that the model refuses is left out: its view says nothing of it, and one bad row
        stops neither a push nor a backfill.

        Args:
            view: with its version.
            rows: the columns of `view.over`.

        Returns:
            The numbers of the rows that were answered, and the view's columns for them.

        Raises:
            Conflict: the model's output has no such field, or one of another type.
            Corrupt: a file of the version is not what was written.
            Exception: the model answers none of the rows, nor a made-up one.
        """
        model = self._open(view.task, view.release)
        task = model.task
        moments = {"event_time": rows["event_time"]} if "event_time" in rows else {}
        inputs = {field: rows[column] for field, column in view.inputs.items()}
        asked = task.complete({**moments, **inputs})
        answers = task.answers(asked, batch_rows=task.serving.max_batch)
        kept = [number for number, one in enumerate(answers) if isinstance(one, BaseModel)]
        if errors := [one for one in answers if isinstance(one, Exception)]:
            if not kept:  # is it the rows, or the model?
                model.probe()
            log.warning(
                "%s answers %d of %d rows; view %s will have nothing of the others: %s",
                view.model, len(kept), len(answers), view.name, errors[0],
            )  # fmt: skip
        outputs = [answers[number] for number in kept]
        return kept, {
            name: _column(view, name, [getattr(output, name, None) for output in outputs])
            for name in view.columns
        }

    def check(self, view: ModelView) -> None:
        """Refuse a view whose capability does not take or give what it names.

        Raises:
            NotFound: there is no such capability.
            Conflict: its Input or Output lacks a field, or a column is of another type.
        """
        task = self.find(view.task)
        for kind, names in ((task.Input, view.inputs), (task.Output, view.columns)):
            for name in names:
                if name not in kind.model_fields:
                    raise Conflict(
                        f"View {view.name!r} needs a field {name!r} of {view.task}'s "
                        f"{kind.__name__}, which lacks it.",
                        hint=nearest(name, kind.model_fields),
                    )
        for name, column in view.columns.items():
            annotation = task.Output.model_fields[name].annotation
            if not gives(annotation, column):
                raise Conflict(
                    f"View {view.name!r} declares {name!r} as {column}, but {view.task}'s Output "
                    f"gives it as {shown(annotation)}.",
                    hint="Declare what the model gives.",
                )

    def _pinned(self, task: str, version: int, stamp: tuple[int, int]) -> dict[str, int]:
        """At which release a version reads each model view; the stamp tells versions apart."""
        del stamp
        views = self.registry.manifest(task, version).views.items()
        return {name: int(held["release"]) for name, held in views if "release" in held}

    def _opened(self, task: str, release: int) -> Model:
        return Model.open(self.find(task), self.registry.folder(task, release))


def _column(view: ModelView, name: str, values: list[object]) -> NDArray[Any]:
    column, faults = view.columns[name].admit(objects(values))
    for row, reason in faults.items():
        raise Conflict(
            f"{view.model} gives a {name} that {reason} (row {row} of {len(values)}), but view "
            f"{view.name!r} declares it as {view.columns[name]}.",
            hint="Declare what the model gives.",
        )
    return column
