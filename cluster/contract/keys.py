"""Let a caller name a stored row in place of sending it: its key in place of its columns."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from cluster.base.errors import InvalidInput
from cluster.base.faults import NAME_SHOWN
from cluster.contract.task import AnyTask
from cluster.features.schema.raw import KEY_CHARACTERS, key_text, rounded_fault


def _written(value: object) -> object:
    """A key as the text that stored rows have, by the rule of every other door.

    Raises:
        InvalidInput: it is a number that was, or may have been, rounded on its way.
    """
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole or (isinstance(value, float | np.floating) and float(value).is_integer()):
        text, fault = key_text(value)
        if fault:
            raise InvalidInput(f"The id {fault}.")
        return text
    if isinstance(value, str) and (fault := rounded_fault(value)):
        raise InvalidInput(f"The id {fault}.")
    return value


Key = Annotated[str, BeforeValidator(_written)]
"""A key or an id: text, or a whole number, which is its digits: 17 and 17.0 are one id."""


def sent_columns(task: type[AnyTask]) -> tuple[str, ...]:
    """The fields of a capability's Input that are columns of its `inputs`; others are options."""
    return tuple(name for name in task.inputs.columns if name in task.Input.model_fields)


@cache
def keys_of(task: type[AnyTask]) -> type[BaseModel] | None:
    """The shape of an input that names its row: the key of `inputs`, and the options of Input.

    Returns:
        None where nothing that a caller sends is a column of `inputs`, so that there is nothing to
        look up in its place.
    """
    columns, view = sent_columns(task), task.inputs
    if not columns:
        return None
    about = f"Names a row of {view.name}, in place of {', '.join(columns)}."
    fields: dict[str, Any] = {
        name: (Key, Field(min_length=1, max_length=KEY_CHARACTERS, description=about))
        for name in view.key
    }
    for name, field in task.Input.model_fields.items():
        if name not in columns and name not in fields:
            fields[name] = (field.annotation, field)
    made: type[BaseModel] = create_model(
        "Keys",
        __doc__=f"The key of a stored row, whose {', '.join(columns)} the service looks up.",
        __config__=ConfigDict(extra="forbid"),
        **fields,
    )
    return made


@dataclass(frozen=True)
class Naming:
    """How an input of a capability may name a stored row, looked at once for all requests.

    Attributes:
        view: the name of the view that holds the rows.
        key: its key columns.
        columns: the fields of Input that such a row holds.
        fields: all that an input may have.
        naming: the key columns that are no fields of Input: who sends one names a row.
    """

    view: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    fields: frozenset[str]
    naming: tuple[str, ...]

    def is_keyed(self, row: object) -> bool:
        """Whether a raw input has the whole key of `inputs` and none of its columns."""
        return (
            isinstance(row, dict)
            and all(name in row for name in self.key)
            and not any(name in row for name in self.columns)
        )

    def fault(self, row: object, pointer: str) -> InvalidInput | None:
        """What is wrong with how a raw input names a stored row, if anything is.

        Args:
            row: what was sent.
            pointer: where it stands.
        """
        if not isinstance(row, dict):
            return None
        sent = [name for name in self.columns if name in row]
        if sent and (named := [name for name in self.naming if name in row]):
            return self._twofold(", ".join(named), ", ".join(sent), pointer)
        return None if self.fields.issuperset(row) else self._misnamed(row, pointer)

    def _twofold(self, key: str, columns: str, pointer: str) -> InvalidInput:
        """It names a stored row and sends columns of it too."""
        return InvalidInput(
            f"The input has {key}, which names a stored row of {self.view}, and {columns}, "
            "which that row holds.",
            hint=f"Leave out {columns} to ask about the stored row, or {key} to ask about what you "
            "send.",
            pointer=pointer,
        )

    def _misnamed(self, row: Mapping[str, object], pointer: str) -> InvalidInput | None:
        """Its unknown field may be most like the key of a stored row."""
        for name in row.keys() - self.fields:
            close = difflib.get_close_matches(name, self.fields, n=1, cutoff=0.5)
            if close and close[0] in self.key and close[0] not in row:
                return InvalidInput(
                    f"There is no field {name[:NAME_SHOWN]!r}.",
                    hint=f"Did you mean {close[0]!r}, which names a stored row of {self.view}?",
                    pointer=pointer,
                )
        return None


@cache
def naming_of(task: type[AnyTask]) -> Naming | None:
    """How an input may name a stored row; None where there is nothing to look up in its place."""
    if keys_of(task) is None:
        return None
    view, fields = task.inputs, task.Input.model_fields
    return Naming(
        view=view.name,
        key=view.key,
        columns=sent_columns(task),
        fields=frozenset([*fields, *view.key]),
        naming=tuple(name for name in view.key if name not in fields),
    )


def shapes_of(task: type[AnyTask]) -> Sequence[type[BaseModel]]:
    """Every shape that an input may have: Input, and Keys where there is something to look up."""
    keys = keys_of(task)
    return (task.Input,) if keys is None else (task.Input, keys)


def input_schema(task: type[AnyTask], ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """The JSON schema of an input: that of Input, or one of it and of Keys."""
    schemas = [shape.model_json_schema(ref_template=ref_template) for shape in shapes_of(task)]
    if len(schemas) == 1:
        return schemas[0]
    inner = {name: found for one in schemas for name, found in one.pop("$defs", {}).items()}
    return {"oneOf": schemas, **({"$defs": inner} if inner else {})}
