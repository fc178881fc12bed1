"""Declare a knob once: its default, bound, flag, search space and record are one line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from cluster.base.errors import InvalidInput, nearest
from cluster.base.faults import faults


@dataclass(frozen=True)
class Between(annotated_types.GroupedMetadata):
    """The closed range of a number: `lr: Annotated[float, Between(1e-5, 1e-1, log=True)] = 3e-3`.

    Args:
        low: the smallest value allowed.
        high: the largest value allowed.
        log: whether a search draws it evenly in its logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __iter__(self) -> Iterator[annotated_types.BaseMetadata]:
        """What pydantic checks and JSON Schema shows."""
        yield annotated_types.Ge(self.low)
        yield annotated_types.Le(self.high)


@dataclass(frozen=True, init=False)
class OneOf:
    """The values to choose from: `widths: Annotated[tuple[int, ...], OneOf((16,), (16, 32))]`.

    A search tries these. Words alone are a `Literal`; this is for values that are none, and, with
    `others`, for a knob that takes more than can be listed, such as any network by its name.

    Args:
        choices: at least one, each of the knob's type.
        others: whether values beside these are taken when they are given.
    """

    choices: tuple[Any, ...]
    others: bool

    def __init__(self, *choices: Any, others: bool = False) -> None:
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "others", others)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The knob's own type, and then one of the choices."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: Any) -> Any:
        if value in self.choices or self.others:
            return value
        raise ValueError(f"{value!r} is not among its choices")

    @property
    def spelled(self) -> str:
        """The choices, for people."""
        return ", ".join(map(repr, self.choices))


class Config(BaseModel):
    """The hyper-parameters of a capability, checked when made and frozen after."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @classmethod
    def parse(cls, settings: Mapping[str, object] | Sequence[str] = ()) -> Self:
        """Build it from `{"epochs": 3}` or from `["epochs=3", "widths=16,32"]`.

        Raises:
            InvalidInput: a name is unknown or a value breaks its bound; the sentence says which.
        """
        pairs = settings if isinstance(settings, Mapping) else dict(map(_pair, settings))
        for name in pairs:
            if name not in cls.model_fields:
                raise InvalidInput(
                    f"There is no knob {name!r}.", hint=nearest(name, cls.model_fields)
                )
        try:
            return cls.model_validate(
                {n: _listed(cls.model_fields[n], v) for n, v in pairs.items()}
            )
        except ValidationError as error:
            raise _refusal(error, cls) from None

    def used(self) -> dict[str, Any]:
        """The knobs that count with these settings, for the record of a version: all of them."""
        return self.model_dump(mode="json")


def describe(name: str, fields: Mapping[str, FieldInfo]) -> str:
    """One sentence about a knob: its default and, where it has one, its range or its choices."""
    field, span = fields[name], ""
    for said in field.metadata:
        if isinstance(said, Between):
            span = f" and it lies between {said.low:g} and {said.high:g}"
        elif isinstance(said, OneOf):
            span = f" and it is {'such as' if said.others else 'one of'} {said.spelled}"
    if field.default is None:
        return f"Left out it is chosen by the data{span}."
    return f"Its default is {field.default!r}{span}."


def _refusal(error: ValidationError, config: type[Config]) -> InvalidInput:
    first = faults(error, config)[0]
    place = error.errors()[0]["loc"]  # none where knobs do not fit together
    hint = describe(str(place[0]), config.model_fields) if place else first.hint
    return InvalidInput(first.message, hint=hint, limit=first.limit, actual=first.actual)


def _listed(field: FieldInfo, value: object) -> object:
    """The words of a text between commas where the knob takes several values."""
    several = get_origin(field.annotation) in (tuple, list)
    return value.split(",") if several and isinstance(value, str) else value


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInput(f"{text!r} is not a setting.", hint="Write name=value, as in epochs=3.")
    return name.strip().replace("-", "_"), value.strip()


Probability = Annotated[float, Between(0.0, 1.0)]
