"""Let the output of a registered model be a view: pictures as vectors, reviews as sentiments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, Unpack

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Arrays, Batch
from cluster.base.errors import InvalidInput, nearest
from cluster.features.schema.column import Column, Number
from cluster.features.schema.declared import check_some
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import About, Sample, View

MODEL = re.compile(r"(?P<task>[a-z]+\.[a-z][a-z0-9_]*)@(?P<reference>[a-z]+|[1-9][0-9]*)")

ALIASES = ("candidate", "production", "serving")
"""What a version may be called in place of its number."""


@dataclass(frozen=True)
class ModelView(View):
    """A view whose rows are what a model says of the rows of another.

    A row has the key and the event time of the row that it was made from. Rows are stored for each
    version of the model apart, so that who learnt from one version goes on reading that one.

    Args:
        task: the capability whose model it is.
        reference: which version: an alias or a number.
        over: the view that the model is asked about.
        inputs: which column of `over` fills each field of the capability's Input.
        release: the version that the reference names; 0 until it is resolved.
    """

    task: str = field(kw_only=True)
    reference: str = field(kw_only=True)
    over: View = field(kw_only=True)
    inputs: Mapping[str, str] = field(kw_only=True)
    release: int = field(default=0, kw_only=True)

    @property
    def needs(self) -> tuple[str, ...]:
        """The view that the model is asked about."""
        return (self.over.name,)

    @property
    def model(self) -> str:
        """As it was declared: `vision.embed@production`."""
        return f"{self.task}@{self.reference}"

    @property
    def definition(self) -> tuple[object, ...]:
        """The model and its version too."""
        made = (self.task, self.release or self.reference, dict(self.inputs))
        return (*super().definition, self.over.version, *made)

    def at(self, release: int) -> Self:
        """The same view of one version of the model."""
        return replace(self, release=release)

    @property
    def rows_of(self) -> View:
        """The stored rows of its version: a source view that nobody ingests.

        Raises:
            InvalidInput: the reference was not resolved.
        """
        if not self.release:
            raise InvalidInput(
                f"Which version of {self.task} makes {self.name!r} is not known yet.",
                hint=f"Promote one: python -m services promote {self.task}",
            )
        return View(
            f"{self.name}_v{self.release}", self.key, self.columns, self.sample, ttl=self.ttl,
            defaults=self.defaults, description=self.description,
        )  # fmt: skip


class Models(Protocol):
    """Versions of models as views need them; `cluster.registry` has what opens them."""

    def release(self, view: ModelView) -> int:
        """The version that makes a view: its own, or what its reference names now."""

    def trained(self, view: ModelView) -> bool:
        """Whether there is a version that the view's reference names."""

    def releases(self, view: ModelView) -> list[int]:
        """Every version whose rows somebody reads."""

    def answer(self, view: ModelView, rows: Batch) -> tuple[list[int], Arrays]:
        """The numbers of the rows that the view's version answers, and the view's columns."""


def model_view(
    name: str,
    model: str,
    *,
    over: View,
    columns: Mapping[str, Column],
    inputs: Mapping[str, str] | None = None,
    **about: Unpack[About],
) -> ModelView:
    """A view of what a model says of the rows of another.

    ```python
    item_image_vector = model_view(
        "item_image_vector",
        "vision.embed@production",
        over=item_images,
        columns={"vector": Vector(64)},
    )
    ```

    Args:
        name: the view's name.
        model: the capability, and an alias or a number of its versions.
        over: the view that the model is asked about.
        columns: fields of the capability's Output that become columns, and their types.
        inputs: fields of the capability's Input and the columns of `over` that fill them, as in
            `{"text": "title"}`; by default every column of `over` has its field's name.
        about: time-to-live, defaults, description, owner, tags.

    Raises:
        InvalidInput: the model is not named so, or `over` lacks a column.
    """
    task, reference = _model(name, model)
    check_some(name, columns)
    filled = _check(name, over, inputs)
    return ModelView(
        name, over.key, columns, _like(over, columns), task=task, reference=reference, over=over,
        inputs=filled, **about,
    )  # fmt: skip


def _model(name: str, model: str) -> tuple[str, str]:
    named = MODEL.fullmatch(model)
    if not named:
        raise InvalidInput(
            f"{model!r} names no model for view {name!r}.",
            hint="Write domain.task@production, or a version's number after the @.",
        )
    reference = named["reference"]
    if not reference.isdecimal() and reference not in ALIASES:
        raise InvalidInput(
            f"View {name!r} is made by {model!r}, of which {reference!r} is no alias.",
            hint=nearest(reference, ALIASES),
        )
    return named["task"], reference


def _check(name: str, over: View, inputs: Mapping[str, str] | None) -> dict[str, str]:
    """Which column of the other view fills each field of the model's Input."""
    if not isinstance(over, View):
        raise InvalidInput(
            f"View {name!r} is over {over!r}, which is no view.", hint="Give the view itself."
        )
    filled = {column: column for column in over.columns} if inputs is None else dict(inputs)
    for column in filled.values():
        if column not in over.schema:
            raise InvalidInput(
                f"View {name!r} fills its model from a column {column!r}, which {over.name!r} "
                "lacks.",
                hint=nearest(column, over.schema),
            )
    return filled


def _like(over: View, columns: Mapping[str, Column]) -> Sample:
    """Made-up rows for the keys that the other view draws: values that its type may hold."""

    def sample(n: int, rng: np.random.Generator) -> Batch:
        rows = over.sample(n, rng)
        keys = {name: rows[name] for name in (*over.key, "event_time")}
        count = len(rows["event_time"])
        return {**keys, **{name: _drawn(column, count, rng) for name, column in columns.items()}}

    return sample


def _drawn(column: Column, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Made-up output of a model: directions, shares, and words that say nothing."""
    match column:
        case Vector():
            vectors = rng.normal(size=(count, column.size)).astype(np.float32)
            return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        case Number():
            return rng.random(count)
    return column.unpack(pa.array([column.empty()] * count, type=column.arrow))
