"""Let a caller name a stored row in place of sending it: its key in place of its columns."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeGuard

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from cluster.errors import InvalidInput
from cluster.faults import NAME_SHOWN
from cluster.features.raw import KEY_CHARACTERS
from cluster.model import AnyTask


def _written(value: object) -> object:
    """A key that came as a number, as the text that stored rows have."""
    numbers = (int, np.integer)
    return str(value) if isinstance(value, numbers) and not isinstance(value, bool) else value


Key = Annotated[str, BeforeValidator(_written)]
"""A key or an id: text, or a whole number, which is its digits."""


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


def _may_be_keyed(row: object, task: type[AnyTask]) -> TypeGuard[Mapping[str, object]]:
    """Whether a raw input has fields, of a capability that looks rows up by key."""
    return keys_of(task) is not None and isinstance(row, Mapping)


def is_keyed(task: type[AnyTask], row: object) -> bool:
    """Whether a raw input has the whole key of `inputs` and none of its columns."""
    if not _may_be_keyed(row, task):
        return False
    return all(name in row for name in task.inputs.key) and not any(
        name in row for name in sent_columns(task)
    )


def twofold(task: type[AnyTask], row: object, pointer: str) -> InvalidInput | None:
    """What is wrong with a raw input that names a stored row and sends columns of it too.

    Args:
        task: the capability.
        row: what was sent.
        pointer: where it stands.
    """
    if not _may_be_keyed(row, task):
        return None
    named = [n for n in task.inputs.key if n in row and n not in task.Input.model_fields]
    sent = [name for name in sent_columns(task) if name in row]
    if not (named and sent):
        return None
    key, columns = ", ".join(named), ", ".join(sent)
    return InvalidInput(
        f"The input has {key}, which names a stored row of {task.inputs.name}, and {columns}, "
        "which that row holds.",
        hint=f"Leave out {columns} to ask about the stored row, or {key} to ask about what you "
        "send.",
        pointer=pointer,
    )


def misnamed(task: type[AnyTask], row: object, pointer: str) -> InvalidInput | None:
    """What is wrong with a raw input whose unknown field is most like the key of a stored row.

    Args:
        task: the capability.
        row: what was sent.
        pointer: where it stands.
    """
    if not _may_be_keyed(row, task):
        return None
    known = {*task.Input.model_fields, *task.inputs.key}
    for name in (str(name) for name in row if name not in known):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        if close and close[0] in task.inputs.key and close[0] not in row:
            return InvalidInput(
                f"There is no field {name[:NAME_SHOWN]!r}.",
                hint=f"Did you mean {close[0]!r}, which names a stored row of {task.inputs.name}?",
                pointer=pointer,
            )
    return None


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
