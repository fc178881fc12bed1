"""Put beside what a replica is asked all that the feature layer knows of it, in one look-up."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from cluster.batch import Batch, objects, take
from cluster.errors import InvalidInput, LeptonError, NotFound
from cluster.faults import faults
from cluster.features.column import ALWAYS
from cluster.features.layer import Layer
from cluster.features.view import View
from cluster.keys import keys_of, sent_columns
from cluster.model import AnyTask
from cluster.registry import Manifest

log = logging.getLogger("ray.serve")  # what a replica's log file holds

OpenLayer = Callable[[], Layer]
Statuses = Mapping[str, str]
"""For each view that was looked up what came of it: present, missing or stale."""
NOTHING: Statuses = {}


@dataclass(frozen=True)
class Joined:
    """Rows that a replica was asked, with what was looked up for them.

    Attributes:
        inputs: the rows that can be answered, in order.
        batch: their columns: those of Input, and those of the features.
        statuses: of every row, refused ones included.
        refused: why a row cannot be answered, by its number.
        degraded: whether a view could not be asked, so that its values count as missing.
        looked: all that was looked up, for every row: keys, columns, `<view>_status`,
            `<view>_time`; empty where nothing was.
        views: the views that were looked up.
        at: the moment as of which.
    """

    inputs: Sequence[BaseModel]
    batch: Batch
    statuses: Sequence[Statuses]
    refused: Mapping[int, LeptonError] = field(default_factory=dict)
    degraded: bool = False
    looked: Batch = field(default_factory=dict)
    views: Sequence[View] = ()
    at: datetime = datetime.min


class Live:
    """Looks up for one version of a capability: rows that are named by key, and features.

    Args:
        task: the capability.
        open_layer: opens the feature layer; called when something is looked up for the first time.
        manifest: of the version, which says at which release each model view is read.
    """

    def __init__(self, task: AnyTask, open_layer: OpenLayer, manifest: Manifest) -> None:
        kind = type(task)
        self.task = task
        self.shape = keys_of(kind)
        self.columns = sent_columns(kind)
        asked = {*task.Input.model_fields, *(task.inputs.key if self.shape else ())}
        self.views = [v for v in (*task.features, *task.live) if asked.issuperset(v.key)]
        self.pins = pins_of(manifest)
        self._open_layer = open_layer
        self._layer: Layer | None = None
        self._failing: dict[str, str] = {}

    def join(self, rows: Sequence[BaseModel]) -> Joined:
        """The rows as columns, with their features; those named by key are filled in.

        Args:
            rows: of Input or, where the capability has such, of Keys.
        """
        named = {n for n, row in enumerate(rows) if self.shape and isinstance(row, self.shape)}
        if not named and not self.views:
            return Joined(rows, self.task.batch(rows), [NOTHING] * len(rows))
        at = datetime.now(UTC)
        inputs = [self.task.inputs] * bool(named)
        known = self._keys(rows, [*inputs, *self.views], less=self.columns if named else ())
        early = [view for view in self.views if known.keys() >= set(view.key)]
        found, failed = self._lookup([*inputs, *early], known, at)
        filled = [self._fill(row, found, n) if n in named else row for n, row in enumerate(rows)]
        if late := [view for view in self.views if view not in early]:
            known |= self._keys(filled, late)
            more, broken = self._lookup(late, known, at)
            found, failed = {**found, **more}, {**failed, **broken}
        if named and (failure := failed.get(self.task.inputs.name)):
            filled = [failure if n in named else row for n, row in enumerate(filled)]
        return self._joined(filled, named, found, bool(failed), at)

    def _joined(
        self,
        filled: Sequence[BaseModel | LeptonError],
        named: Collection[int],
        found: Batch,
        degraded: bool,  # noqa: FBT001 - told on, not obeyed
        at: datetime,
    ) -> Joined:
        kept = [n for n, row in enumerate(filled) if isinstance(row, BaseModel)]
        inputs = [row for row in filled if isinstance(row, BaseModel)]
        names = [name for view in self.views for name in (*view.columns, f"{view.name}_missing")]
        features = take({name: found[name] for name in names}, kept)
        views = [*([self.task.inputs] * bool(named)), *self.views]
        words = {view.name: found[f"{view.name}_status"].tolist() for view in views}
        told = [
            {
                name: of[n]
                for name, of in words.items()
                if n in named or name != self.task.inputs.name
            }
            for n in range(len(filled))
        ]
        refused = {n: row for n, row in enumerate(filled) if isinstance(row, LeptonError)}
        return Joined(
            inputs,
            {**features, **self.task.batch(inputs)},
            told,
            refused,
            degraded,
            found,
            views,
            at,
        )

    def _keys(
        self, rows: Sequence[object], views: Sequence[View], *, less: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The key columns of the views, less some; empty where a row has none."""
        names = {name for view in views for name in view.key}.difference(less)
        return {name: objects(_word(getattr(row, name, "")) for row in rows) for name in names}

    def _fill(self, row: BaseModel, found: Batch, number: int) -> BaseModel | LeptonError:
        """The stored row that a key names, as an input; or why there is none."""
        view, key = self.task.inputs, {name: getattr(row, name) for name in self.task.inputs.key}
        status = str(found[f"{view.name}_status"][number])
        options = {name: value for name, value in row if name in self.task.Input.model_fields}
        fields = self.task.Input.model_fields
        if status != "present" and any(fields[name].is_required() for name in self.columns):
            return _unknown(view, key, status, self.columns)
        values = {name: found[name][number] for name in self.columns} if status == "present" else {}
        try:
            return self.task.Input.model_validate({**options, **values})
        except ValidationError as error:
            first = faults(error, self.task.Input)[0]
            return InvalidInput(
                f"The stored row {_named(key)} of view {view.name!r} is no input: {first.message}",
                hint="Push a row that is, or send the columns themselves.",
            )

    def _lookup(
        self, views: Sequence[View], keys: Batch, at: datetime
    ) -> tuple[dict[str, Any], dict[str, LeptonError]]:
        """All views in one look-up; one that cannot be asked counts as missing, and is named."""
        if not views:
            return {}, {}
        try:
            if self._layer is None:
                self._layer = replace(self._open_layer(), pins=self.pins)
            found = dict(self._layer.lookup(views, keys, at=at))
        except LeptonError as error:
            if len(views) == 1:
                return _absent(views[0], keys), {views[0].name: self._told(views[0], error)}
            parts = [self._lookup([view], keys, at) for view in views]  # one may be all that fails
            return (
                {name: column for part, _ in parts for name, column in part.items()},
                {name: failure for _, part in parts for name, failure in part.items()},
            )
        for view in views:
            self._failing.pop(view.name, None)
        return found, {}

    def _told(self, view: View, error: LeptonError) -> LeptonError:
        """The failure as callers hear of it; the log has it once, until the view answers again."""
        if self._failing.get(view.name) != str(error):
            self._failing[view.name] = str(error)
            log.warning("%s: view %s counts as missing: %s", self.task.name(), view.name, error)
        if isinstance(error, NotFound):  # a path of the URL is not what was not found
            return InvalidInput(
                error.message, hint=f"{error.hint} Or send {', '.join(self.columns)}."
            )
        return error


def pins_of(manifest: Manifest) -> dict[str, int]:
    """At which release of its model a version reads each model view."""
    return {n: int(held["release"]) for n, held in manifest.views.items() if held.get("release")}


def _absent(view: View, keys: Batch) -> dict[str, Any]:
    """What a look-up would give if nothing were known."""
    rows = len(keys[view.key[0]])
    status = objects(["missing"] * rows)
    none = {f"{view.name}_status": status, f"{view.name}_time": np.full(rows, ALWAYS)}
    return {**keys, **view.absent(rows), **none}


def _unknown(
    view: View, key: Mapping[str, object], status: str, columns: Sequence[str]
) -> InvalidInput:
    if status == "stale":
        return InvalidInput(
            f"What view {view.name!r} knows of {_named(key)} is older than its time-to-live "
            f"({view.ttl}).",
            hint=f"Push it anew, or send {', '.join(columns)}.",
        )
    return InvalidInput(
        f"View {view.name!r} knows nothing of {_named(key)}.",
        hint=f"Push it there, or send {', '.join(columns)}.",
    )


def _named(key: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {str(value)[:64]!r}" for name, value in key.items())


def _word(value: object) -> str:
    return "" if value is None else str(value)
