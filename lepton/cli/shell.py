"""Hold what the commands stand on, and read the rows that they are given."""

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console

from lepton._inputs import Row
from lepton.client import Client
from lepton.errors import BadValue, MissingFile

Url = Annotated[
    str | None, typer.Option("--url", help="Where Lepton answers. Default: LEPTON_URL.")
]
TimeoutS = Annotated[float, typer.Option("--timeout-s", help="Seconds to wait for an answer.")]
Json = Annotated[
    str | None, typer.Option("--json", help="One input as a JSON object, or several as an array.")
]
File = Annotated[
    str | None, typer.Option("--file", help="Inputs as JSON lines; - reads them from stdin.")
]
OutFile = Annotated[
    str | None,
    typer.Option(
        "--out", help="Where to write the file of the answer; of several FILE-1, FILE-2, ..."
    ),
]


class Connect(Protocol):
    """What makes the client that the commands use."""

    def __call__(self, url: str | None = None, *, timeout_s: float = 30.0) -> Client:
        """A client of the Lepton at the url."""


@dataclass(frozen=True)
class Shell:
    """What the commands stand on."""

    connect: Connect = Client
    console: Console = field(default_factory=Console)


def from_json(text: str) -> list[Row]:
    """The rows of one JSON object, or of an array of them.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"It is not JSON: {error}.", param_hint="--json") from None
    rows = value if isinstance(value, list) else [value]
    if not rows:
        raise typer.BadParameter("The array is empty. Give an input in it.", param_hint="--json")
    if not all(isinstance(row, dict) for row in rows):
        raise typer.BadParameter("Give a JSON object, or an array of them.", param_hint="--json")
    return rows


def from_file(path: str) -> Iterator[Row]:
    """The rows of a file of JSON lines, or of stdin for -, as they are read.

    Raises:
        MissingFile: it cannot be read.
        BadValue: it holds no row, or a line is none.
    """
    found = False
    if path == "-" and sys.stdin is None:
        raise BadValue("stdin is closed. Pipe the inputs in, or name a file.")
    with ExitStack() as stack:
        try:
            lines: Iterable[str] = sys.stdin
            if path != "-":
                file = stack.enter_context(Path(path).open("rb"))
                lines = stack.enter_context(TextIOWrapper(file, encoding=_encoding(file)))
            for number, marked in enumerate(lines, start=1):
                line = marked.removeprefix("\ufeff") if number == 1 else marked
                if line.strip():
                    yield _from_line(line, f"{path}, line {number}")
                    found = True
        except OSError as error:
            raise MissingFile(f"{path} cannot be read: {error.strerror}. Check the path.") from None
        except UnicodeDecodeError:
            raise BadValue(f"{path} is no text in UTF-8. Give one JSON object per line.") from None
    if not found:
        raise BadValue(f"{path} holds no inputs. Give one JSON object per line.")


def _encoding(file: BufferedReader) -> str:
    """What a file's byte order mark says, or UTF-8: the rule of ingested files, too."""
    head = file.peek(4)[:4]
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def _from_line(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadValue(f"{where}: it is not JSON ({error}). Give one object per line.") from None
    if not isinstance(row, dict):
        raise BadValue(f"{where}: it is JSON, but no object. Give one object per line.")
    return row
