"""Make the command line of a task from its input schema: a flag per field, and no code per task."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.markup import escape
from typer.main import get_command

from lepton._fields import Field, input_fields
from lepton.errors import BadValue
from lepton.wire import TaskInfo

OWN_FLAGS = {"--json", "--file", "--out", "--url", "--timeout-s", "--help"}
METAVARS = {"integer": "INTEGER", "number": "NUMBER", "string": "TEXT"}
PANEL = "Input fields"


def read_words(words: Sequence[str], info: TaskInfo) -> dict[str, object]:
    """Read the words after the name of a task as values of its fields.

    Words without a flag fill the fields that have no flag here, in the order of the schema; a field
    that takes a list takes all that are left.

    Raises:
        typer.BadParameter: a value of the wrong kind, or a word too many.
        BadValue: what stdin holds for a field of text is no UTF-8.
        typer.Exit: help was asked for, and has been shown.
    """
    task = typer.Typer(add_completion=False, rich_markup_mode="rich")
    epilog = "`lepton predict --help` shows the options that all tasks have."
    task.command(name=info.name, help=escape(info.summary), epilog=epilog)(_Reader(info))
    values = get_command(task).main(
        args=list(words), prog_name=f"lepton predict {info.name}", standalone_mode=False
    )
    if not isinstance(values, dict):
        raise typer.Exit
    return values


def require(values: Mapping[str, object], info: TaskInfo) -> None:
    """Need a value for every field that has no default.

    Raises:
        typer.BadParameter: names the first that has none.
    """
    for field in input_fields(info.input).values():
        if field.required and field.name not in values:
            raise typer.BadParameter(
                f"{field.name} is missing. Give it as a value or with {_flag(field)}, - to read "
                "it from stdin; or give whole inputs with --json or --file."
            )


class _Reader:
    """A command whose signature, and so whose options, are the fields of a task."""

    def __init__(self, info: TaskInfo) -> None:
        self._fields = input_fields(info.input)
        self.__name__ = info.name
        self.__annotations__: dict[str, object] = {}
        self.__signature__ = inspect.Signature(
            [
                _words(),
                *(_parameter(f"field_{at}", one) for at, one in enumerate(self._fields.values())),
            ]
        )

    def __call__(
        self, *, words: list[str] | None = None, **given: str | bool | list[str] | None
    ) -> dict[str, object]:
        values: dict[str, object] = {}
        for at, field in enumerate(self._fields.values()):
            option = given.get(f"field_{at}")
            if isinstance(option, bool):
                values[field.name] = option
            elif option:
                values[field.name] = _read(option, field, _flag(field))
        left = list(words or ())
        for field in self._fields.values():
            if left and field.name not in values:
                taken, left = (left, []) if _is_list(field) else (left[0], left[1:])
                values[field.name] = _read(taken, field, field.name)
        if left:
            names = ", ".join(self._fields) or "none"
            raise typer.BadParameter(f"{left[0]!r} is one value too many. The fields are: {names}.")
        return values


def _words() -> inspect.Parameter:
    about = typer.Argument(
        metavar="VALUE", help="Values of the first fields, in the order below; - is stdin."
    )
    return inspect.Parameter(
        "words",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[list[str] | None, about],
    )


def _parameter(name: str, field: Field) -> inspect.Parameter:
    flag, about = _flag(field), escape(_about(field))
    kind: object
    if field.kinds - {"null"} == {"boolean"}:
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=about, rich_help_panel=PANEL)
        kind = bool | None
    else:
        metavar = _metavar(field.element if _is_list(field) else field)
        option = typer.Option(
            flag, help=about, metavar=metavar, show_default=False, rich_help_panel=PANEL
        )
        kind = list[str] | None if _is_list(field) else str | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _flag(field: Field) -> str:
    flag = f"--{field.name.replace('_', '-')}"
    return f"--field-{flag[2:]}" if flag in OWN_FLAGS else flag


def _is_list(field: Field) -> bool:
    return "array" in field.kinds


def _metavar(field: Field) -> str:
    if field.is_binary:
        return "FILE"
    words = [word for kind, word in METAVARS.items() if kind in field.kinds]
    return "|".join(words) or "JSON"


def _about(field: Field) -> str:
    """The field's description, its bounds, its choices and its default, in one line."""
    parts = [str(field.schema.get("description", ""))]
    for form in field.forms:
        low, high = form.get("minimum"), form.get("maximum")
        if low is not None or high is not None:
            parts.append(f"From {low} to {high}." if None not in (low, high) else _bound(low, high))
        if isinstance(choices := form.get("enum"), list):
            parts.append(f"One of: {', '.join(map(str, choices))}.")
    if _is_list(field):
        parts.append("Repeat it for several.")
    if field.required:
        parts.append("Required.")
    elif field.schema.get("default") not in (None, [], ""):
        parts.append(f"Default: {json.dumps(field.schema['default'])}.")
    return " ".join(part for part in parts if part)


def _bound(low: JsonValue, high: JsonValue) -> str:
    return f"At least {low}." if high is None else f"At most {high}."


def _read(text: str | list[str], field: Field, where: str) -> object:
    if isinstance(text, list):
        return [_read(one, field.element, where) for one in text]
    if text == "-" and (field.is_binary or "string" in field.kinds):
        return _piped(field)
    if field.is_binary:
        return text
    for kind, read in READERS.items():
        if kind in field.kinds:
            try:
                return read(text)
            except ValueError:
                continue
    return _otherwise(text, field, where)


def _piped(field: Field) -> object:
    """What stdin holds: bytes, or a text without the line break that ends it."""
    if sys.stdin is None:
        raise BadValue(f"stdin is closed, and {field.name} is to come from there. Pipe it in.")
    try:
        if field.is_binary:
            return sys.stdin.buffer.read()
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise BadValue(f"stdin holds no text for {field.name}: {error}.") from None
    except OSError as error:
        raise BadValue(f"stdin cannot be read for {field.name}: {error.strerror}.") from None


def _otherwise(text: str, field: Field, where: str) -> object:
    """What a word means that is no number and no bool: text, or else JSON."""
    if "string" in field.kinds:
        return text
    try:
        value: object = json.loads(text)
    except ValueError:
        if not field.kinds:  # the schema allows anything
            return text
        kinds = " or ".join(sorted(field.kinds - {"null"}))
        raise typer.BadParameter(f"{text!r} is no {kinds}.", param_hint=where) from None
    return value


def _bool(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


# the narrowest kind first: 3 for a field of numbers and text is a number
READERS: dict[str, Callable[[str], object]] = {"integer": int, "number": float, "boolean": _bool}
