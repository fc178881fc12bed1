"""Join online features to request rows with a single feature-store read."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from cluster.base.batch import Batch, objects
from cluster.base.errors import Conflict, InvalidInput, LeptonError, NotFound, Unavailable
from cluster.base.faults import faults
from cluster.contract.keys import keys_of, sent_columns
from cluster.contract.task import AnyTask, sent
from cluster.features.derived.modelview import ModelView
from cluster.features.schema.column import ALWAYS
from cluster.features.schema.view import View, columns_of
from cluster.registry.versions import Manifest

if TYPE_CHECKING:
    from cluster.features.layer import Layer  # a replica that looks nothing up does without Polars

log = logging.getLogger("ray.serve")  # what a replica's log file holds

OpenLayer = Callable[[], "Layer"]
Statuses = Mapping[str, str]
"""For each view that was looked up what came of it: present, missing or stale."""
NOTHING: Statuses = {}
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Looked:
    """What one view holds for each row.

    Attributes:
        columns: by the view's own names.
        status: present, missing or stale.
        times: when what holds became true.
        behind: whether stored rows of it are not online yet.
    """

    columns: Batch
    status: NDArray[Any]
    times: NDArray[Any]
    behind: bool = False

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where nothing holds."""
        return np.asarray(self.status != "present", dtype=bool)


@dataclass(frozen=True)
class Joined:
    """Rows that a replica was asked, with what was looked up for them.

    Attributes:
        inputs: the rows that can be answered, in order.
        batch: their columns: those of Input, and those of the features.
        statuses: of every row, refused ones included.
        refused: why a row cannot be answered, by its number.
        degraded: whether a view could not be asked, so that its values count as missing.
        behind: views of which stored rows are not online yet.
        views: the views that were looked up.
        looked: what each of them holds, by its name.
        keys: the key columns of every row, empty where it has none.
        at: the moment as of which.
    """

    inputs: Sequence[BaseModel]
    batch: Batch
    statuses: Sequence[Statuses]
    refused: Mapping[int, LeptonError] = field(default_factory=dict)
    degraded: bool = False
    behind: Sequence[str] = ()
    views: Sequence[View] = ()
    looked: Mapping[str, Looked] = field(default_factory=dict)
    keys: Batch = field(default_factory=dict)
    at: datetime = field(default_factory=partial(datetime.now, UTC))


Failures = dict[str, LeptonError]


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
        self.pins = pins_of(manifest)
        self.views = [
            view
            for view in (*task.features, *task.live)
            # skip model views whose model had no version when this one was trained
            if asked.issuperset(view.key)
            and (not isinstance(view, ModelView) or view.name in self.pins)
        ]
        self.names = kind.feature_names()
        self.manifest = manifest
        self._open_layer = open_layer
        self._layer: Layer | None = None
        self._failing: dict[str, str] = {}

    @cached_property
    def changed(self) -> Mapping[str, Conflict]:
        """The features that are declared otherwise than when the version learnt from them.

        So are those that are functions of a view which is, however many functions lie between.
        Their values would be others than those that it knows, so that none are better.
        """
        said, found = self.manifest, {}
        for view in (*self.task.features, *self.task.live):
            learnt = said.views.get(view.name, {}).get("version")
            if learnt and learnt != (now := self.version(view)):
                found[view.name] = Conflict(
                    f"Version {said.version} of {said.task} learnt from view {view.name!r} as it "
                    f"was declared then ({learnt}); it{_or_behind(view)} is another now ({now}).",
                    hint=f"Train it anew: python -m services train {said.task}",
                )
        return found

    def version(self, view: View) -> str:
        """The version of a view that is looked up, and of those behind it."""
        return _pinned(view, self.pins).version_over(self._inputs)

    def join(self, rows: Sequence[BaseModel]) -> Joined:
        """The rows as columns, with their features; those named by key are filled in.

        Args:
            rows: of Input or, where the capability has such, of Keys.
        """
        named = {n for n, row in enumerate(rows) if self.shape and isinstance(row, self.shape)}
        if not named and not self.views:
            batch = self.task.complete(self.task.batch(rows))
            return Joined(rows, batch, [NOTHING] * len(rows))
        at = datetime.now(UTC)
        views = [*([self.task.inputs] * bool(named)), *self.views, *self._under]
        keys = _keys(rows, views, less=self.columns if named else ())
        early = [view for view in views if keys.keys() >= set(view.key)]
        looked, failed = self._lookup(early, keys, at)
        filled = [self._fill(row, looked, n) if n in named else row for n, row in enumerate(rows)]
        if late := [view for view in views if view not in early]:  # their keys were looked up now
            keys |= _keys(filled, late)
            more, broken = self._lookup(late, keys, at)
            looked, failed = {**looked, **more}, {**failed, **broken}
        if failure := failed.get(self.task.inputs.name):
            filled = [failure if n in named else row for n, row in enumerate(filled)]
        inputs = [row for row in filled if isinstance(row, BaseModel)]
        return Joined(
            inputs,
            self._batch(inputs, [isinstance(row, BaseModel) for row in filled], looked, at),
            [self._statuses(looked, n, sent=n not in named) for n in range(len(rows))],
            {n: row for n, row in enumerate(filled) if isinstance(row, LeptonError)},
            bool(failed),
            sorted(name for name, one in looked.items() if one.behind),
            [view for view in views if view not in self._under],
            looked,
            keys,
            at,
        )

    def _batch(
        self,
        inputs: Sequence[BaseModel],
        kept: Sequence[bool],
        looked: Mapping[str, Looked],
        at: datetime,
    ) -> Batch:
        """The columns of the rows that can be answered, as of a moment."""
        now = np.datetime64(at.replace(tzinfo=None), "us")
        features: dict[str, Any] = {"event_time": np.full(len(inputs), now)}
        for view in self.views:
            own, mask = looked[view.name], np.array(kept)
            for name, column in own.columns.items():
                features[self.names[view.name][name]] = column[mask]
            features[f"{view.name}_missing"] = own.missing[mask]
        return self.task.complete({**features, **self.task.batch(inputs)})

    @cached_property
    def _under(self) -> list[View]:
        """What the functions among the features are made from.

        A function is present once one of its inputs is, so answers state the status of each input.
        """
        if not any(view.needs for view in self.views):
            return []
        from cluster.features.derived.computed import Computed  # noqa: PLC0415 - as for the layer
        from cluster.features.joins.held import leaves  # noqa: PLC0415

        made = [view for view in self.views if isinstance(view, Computed)]
        have = {self.task.inputs.name, *(view.name for view in self.views)}
        try:
            return [view for view in leaves(made, self._inputs) if view.name not in have]
        except LeptonError:  # `_refused` tells of it
            return []

    def _statuses(self, looked: Mapping[str, Looked], number: int, *, sent: bool) -> Statuses:
        """The status of each view for a row; not of the view whose columns its caller sent."""
        left_out = self.task.inputs.name if sent else ""
        features = {view.name for view in self.views}
        return {
            name: str(one.status[number])
            for name, one in looked.items()
            if name != left_out or name in features
        }

    def _fill(
        self, row: BaseModel, looked: Mapping[str, Looked], number: int
    ) -> BaseModel | LeptonError:
        """The stored row that a key names, as an input; or why there is none."""
        view, fields = self.task.inputs, self.task.Input.model_fields
        key = {name: getattr(row, name) for name in view.key}
        own = looked[view.name]
        status = str(own.status[number])
        if status != "present" and any(fields[name].is_required() for name in self.columns):
            return _unknown(view, key, status, self.columns)
        values = {name: value for name, value in row if name in fields}
        if status == "present":
            values |= {name: sent(own.columns[name][number]) for name in self.columns}
        try:
            return self.task.Input.model_validate(values)
        except ValidationError as error:
            first = faults(error, self.task.Input)[0]
            return InvalidInput(
                f"What view {view.name!r} holds of {_named(key)} is no input: {first.message}",
                hint=f"Push another row, or send {', '.join(self.columns)}.",
            )

    def _lookup(
        self, views: Sequence[View], keys: Batch, at: datetime
    ) -> tuple[dict[str, Looked], Failures]:
        """All views in one look-up; one that cannot be asked counts as missing, and is named."""
        known = {
            view.name: np.all([keys[name] != "" for name in view.key], axis=0) for view in views
        }
        refused = self._refused(views)
        asked = [v for v in views if known[v.name].any() and v.name not in refused]
        found, failed = self._asked(asked, _lent(asked, keys), at) if asked else ({}, {})
        failed |= refused
        for view in views:
            mine = known[view.name]
            if view.name not in found:
                found[view.name] = _absent(view, len(mine))
            elif not mine.all():
                found[view.name] = _only(mine, found[view.name], _absent(view, len(mine)))
        return found, failed

    def _refused(self, views: Sequence[View]) -> Failures:
        """The views that are not looked up, and why."""
        try:
            return {v.name: self.changed[v.name] for v in views if v.name in self.changed}
        except LeptonError as error:  # what a function is made from is not known
            return {view.name: self._failure(view, error) for view in views}

    def _asked(
        self, views: Sequence[View], keys: Batch, at: datetime
    ) -> tuple[dict[str, Looked], Failures]:
        """Look up views together; where that fails, one by one: a broken view costs only itself."""
        try:
            behind = self._opened().behind(
                views
            )  # read the lag before the values, so that it can only overstate staleness
            found = self._opened().lookup(views, keys, at=at)
        except LeptonError as error:
            if len(views) == 1:
                return {}, {views[0].name: self._failure(views[0], error)}
            if isinstance(error, Unavailable):  # the others would be waited for as well
                return {}, {view.name: self._failure(view, error) for view in views}
            parts = [self._asked([view], keys, at) for view in views]
            merged = {name: one for part, _ in parts for name, one in part.items()}
            return merged, {name: one for _, part in parts for name, one in part.items()}
        names = columns_of(views, keys)
        made = {}
        for view in views:
            self._failing.pop(view.name, None)
            columns = {name: found[names[view.name][name]] for name in view.columns}
            status, moments = found[f"{view.name}_status"], found[f"{view.name}_time"]
            made[view.name] = Looked(columns, status, moments, view.name in behind)
        return made, {}

    def _opened(self) -> "Layer":
        """The feature layer, with model views at the releases that the version learnt from."""
        if self._layer is None:
            self._layer = replace(self._open_layer(), pins=self.pins)
        return self._layer

    def _inputs(self, view: View) -> Sequence[View]:
        return self._opened().inputs(view)

    def _failure(self, view: View, error: LeptonError) -> LeptonError:
        """The error for callers; it is logged once, until the view answers again."""
        if self._failing.get(view.name) != str(error):
            self._failing[view.name] = str(error)
            log.warning("%s: view %s counts as missing: %s", self.task.name(), view.name, error)
        if isinstance(error, NotFound):  # it is not the path of the request that was not found
            hint = f"{error.hint}, or send {', '.join(self.columns)}."
            return InvalidInput(error.message, hint=hint)
        return error


def pins_of(manifest: Manifest) -> dict[str, int]:
    """At which release of its model a version reads each model view."""
    return {n: int(held["release"]) for n, held in manifest.views.items() if held.get("release")}


def _or_behind(view: View) -> str:
    return f" or what it is made from ({', '.join(view.needs)})" if view.needs else ""


def _pinned(view: View, pins: Mapping[str, int]) -> View:
    """A model view at the release that a version reads; any other view as it is."""
    is_pinned = isinstance(view, ModelView) and view.name in pins
    return view.at(pins[view.name]) if is_pinned else view  # type: ignore[attr-defined]


def _keys(rows: Sequence[object], views: Sequence[View], *, less: Sequence[str] = ()) -> Columns:
    """The key columns of the views, less some; empty where a row has none."""
    names = {name for view in views for name in view.key}.difference(less)
    return {name: objects(_word(getattr(row, name, None)) for row in rows) for name in names}


def _lent(views: Sequence[View], keys: Batch) -> Columns:
    """The keys of the views; a row without one borrows another's, whose values are then dropped."""
    made: Columns = {}
    for name in {name for view in views for name in view.key}:
        none = keys[name] == ""
        made[name] = np.where(none, keys[name][~none][0], keys[name])
    return made


def _absent(view: View, rows: int) -> Looked:
    """The result of a look-up that finds nothing."""
    columns = view.absent(rows)
    del columns[f"{view.name}_missing"]
    return Looked(columns, objects(["missing"] * rows), np.full(rows, ALWAYS))


def _only(known: NDArray[np.bool_], found: Looked, absent: Looked) -> Looked:
    """What was found for rows that have a key, and nothing for the others."""
    columns = {name: column.copy() for name, column in found.columns.items()}
    for name, column in columns.items():
        column[~known] = absent.columns[name][~known]
    status = np.where(known, found.status, absent.status)
    return Looked(columns, status, np.where(known, found.times, absent.times), found.behind)


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
