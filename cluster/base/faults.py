"""Say in our own sentences what pydantic found wrong with a value."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from cluster.base.errors import InvalidInput, nearest

NAME_SHOWN = 64  # characters of a name that a caller made up
VALUE_SHOWN = 40  # characters of a value: a longer one may be large or private
MOST_FAULTS = 20_000  # of a kilobyte each; only who means harm sends more
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a string",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
}
WRONG_KIND = re.compile(rf"({'|'.join(KINDS)})_(type|parsing|parsing_size|from_float)")
BOUNDS = ("ge", "gt", "le", "lt", "max_length", "min_length")


def faults(
    error: ValidationError,
    model: type[BaseModel],
    root: str = "",
    *,
    numbers: Sequence[int] | None = None,
) -> list[InvalidInput]:
    """Each fault as an error of ours: a sentence, where it stands, the limit and the value.

    A place may begin with the number of the row; the sentences name the field alone.

    Args:
        error: what pydantic raised.
        model: whose fields are offered in place of an unknown one.
        root: the JSON pointer of what was validated.
        numbers: of each row that was validated its number where it came from, if it is another.
    """
    if (count := error.error_count()) > MOST_FAULTS:
        hint = "Mend one input first, and send it alone."
        return [InvalidInput(f"There are {count:,} faults.", hint=hint, pointer=root)]
    told: list[dict[str, Any]] = [dict(found) for found in error.errors(include_url=False)]
    if numbers is not None:
        told = [{**one, "loc": (numbers[one["loc"][0]], *one["loc"][1:])} for one in told]
    return [_fault(found, model, root) for found in told]


def together(found: Sequence[InvalidInput]) -> InvalidInput:
    """Several faults as one error; the first is the sentence of all."""
    first, more = found[0], len(found) - 1
    rest = f" (and {more:,} more fault{'s' * (more > 1)})" if more else ""
    return InvalidInput(f"{first.pointer}: {first}{rest}", parts=tuple(found))


def refuse_infinite(rows: Sequence[BaseModel]) -> None:
    """Let no NaN and no infinity in: JSON cannot carry them, but Python and a query string can.

    Raises:
        ValidationError: about the first number that is not finite.
    """
    for number, row in enumerate(rows):
        for name, value in row:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValidationError.from_exception_data(
                    "rows", [{"type": "finite_number", "loc": (number, name), "input": value}]
                )


def _fault(found: Mapping[str, Any], model: type[BaseModel], root: str) -> InvalidInput:
    context, value = found.get("ctx", {}), found["input"]
    parts = [str(part)[:NAME_SHOWN] for part in found["loc"]]
    pointer = "/".join([root, *(part.replace("~", "~0").replace("/", "~1") for part in parts)])
    if isinstance(cause := context.get("error"), InvalidInput):
        return InvalidInput(
            cause.message,
            hint=cause.hint,
            pointer=pointer,
            limit=cause.limit,
            actual=cause.actual,
        )
    in_row = bool(found["loc"]) and isinstance(found["loc"][0], int)
    names = parts[in_row:]
    outside = names[:-1] if found["type"] == "extra_forbidden" else names
    known = () if outside else tuple(model.model_fields)  # of an inner object it is not known here
    message, hint = _sentence(found, ".".join(names), known)
    limit = next((context[bound] for bound in BOUNDS if bound in context), None)
    sized = "max_length" in context or "min_length" in context
    return InvalidInput(
        message,
        hint=hint,
        pointer=pointer,
        limit=_number(limit),
        actual=None if limit is None else len(value) if sized else _number(value),
    )


def _sentence(found: Mapping[str, Any], name: str, known: Collection[str]) -> tuple[str, str]:
    """What is wrong, and what to do where more can be said of that."""
    kind, value, context = found["type"], found["input"], found.get("ctx", {})
    if kind == "missing":
        return f"{name} is missing; it is required.", ""
    if kind == "extra_forbidden":
        own = name.rpartition(".")[2]
        return f"There is no field {own!r}.", nearest(own, known) if known else ""
    if "max_length" in context or "min_length" in context:
        return _length(name, value, context), ""
    must = _must(kind, value, found["msg"], known)
    if must is None:  # what a validator said in its own words
        said = found["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return (f"{name}: {said}" if name else said).rstrip(".") + ".", ""
    return f"{name or 'The input'} is {_shown(value)}; it must be {must}.", ""


def _length(name: str, value: Any, context: Mapping[str, Any]) -> str:
    unit = "character" if isinstance(value, str) else "element"
    has = f"{name} has {_count(len(value), unit)}" if value else f"{name} is empty"
    if "max_length" in context:
        return f"{has}; the limit is {context['max_length']:,}."
    return f"{has}; it must have at least {_count(context['min_length'], unit)}."


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'s' * (number != 1)}"


def _must(kind: str, value: object, said: str, known: Collection[str]) -> str | None:
    """What the value must be; None where pydantic's message does not say it so."""
    if wrong := WRONG_KIND.fullmatch(kind):
        whole = wrong[1] == "int" and isinstance(value, float) and value == math.floor(value)
        return KINDS[wrong[1]] + " without a point or an exponent" * whole
    if kind in {"model_type", "model_attributes_type"}:
        return f"an object of fields: {', '.join(known)}" if known else "an object"
    start = "Input should be "
    return said.removeprefix(start).rstrip(".") if said.startswith(start) else None


def _shown(value: object) -> str:
    """A value where it is short and plain; else what kind of value it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str) and len(value) > VALUE_SHOWN:
        return f"a string of {len(value):,} characters"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and _number(value) is None:
        return "a number of more than 300 digits"
    if isinstance(value, int | float | str):
        huge = not isinstance(value, str) and abs(value) > 10**VALUE_SHOWN
        return f"{value:.6g}" if huge else repr(value)
    if isinstance(value, list | tuple | dict):
        return "an object" if isinstance(value, dict) else "a list"
    return f"of type {type(value).__name__}"


def _number(value: object) -> float | None:
    """A value that came as a number, or as its text; None for any other, and if no float fits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) <= 10**VALUE_SHOWN:
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
