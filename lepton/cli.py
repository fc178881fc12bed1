"""Call a Lepton from a shell: ``lepton predict vision.classify shoe.png --top-k 3``."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Protocol

import typer
from pydantic import JsonValue
from rich.console import Console
from typer.main import get_command

from lepton import __version__
from lepton._flags import read_words, require
from lepton._inputs import Row
from lepton._show import show
from lepton.client import Client
from lepton.errors import BadValue, LeptonError, MissingFile
from lepton.wire import TaskInfo

BLOCK = 128  # rows of a file that are read, sent and shown together

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


class Connect(Protocol):
    """What makes the client that the commands use."""

    def __call__(self, url: str | None = None, *, timeout_s: float = 30.0) -> Client:
        """A client of the Lepton at the url."""


@dataclass(frozen=True)
class Shell:
    """What the commands stand on."""

    connect: Connect = Client
    console: Console = field(default_factory=Console)


app = typer.Typer(
    name="lepton",
    help="Call the applied-AI services of a Lepton.",
    add_completion=False,
    no_args_is_help=True,
)


def main(argv: Sequence[str] | None = None, shell: Shell | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; by default those that the program was started with.
        shell: what it stands on; by default ``Client`` and standard output.

    Returns:
        the exit code: 0, 1 for an error, 2 for a command that is not understood, 130 for Ctrl-C.
    """
    try:
        get_command(app).main(
            args=None if argv is None else list(argv), prog_name="lepton", obj=shell or Shell()
        )
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except LeptonError as error:
        typer.echo(f"Error: {error}", err=True)
        return 1
    return 0


def _print_version(asked: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def about(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Call the applied-AI services of a Lepton."""


@app.command()
def tasks(ctx: typer.Context, url: Url = None) -> None:
    """List the tasks, with their states, versions and metrics."""
    shell: Shell = ctx.obj
    with shell.connect(url) as client:
        found = client.tasks()
    brief = shell.console.is_terminal  # the schemas are for programs
    show([_brief(one) if brief else one.model_dump(mode="json") for one in found], shell.console)


@app.command()
def health(ctx: typer.Context, url: Url = None) -> None:
    """Show whether Lepton and its tasks are up; the exit code is 1 until they are."""
    shell: Shell = ctx.obj
    with shell.connect(url) as client:
        readiness = client.ready()
    show([readiness.model_dump(mode="json")], shell.console)
    if readiness.status != "ready":
        raise typer.Exit(1)


# Which fields there are is known once the task is. So this command reads only what all tasks have,
# and leaves the other words to a command that is made from the task's schema.
@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
    epilog="`lepton tasks` lists the tasks, `lepton predict TASK --help` the fields of one.",
)
def predict(
    ctx: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="Its name, such as vision.classify.", show_default=False
        ),
    ] = "--help",
    *,
    json_text: Json = None,
    file: File = None,
    url: Url = None,
    timeout_s: TimeoutS = 30.0,
) -> None:
    """Predict: TASK, then its values, or its fields as --name value."""
    if task == "--help":
        typer.echo(ctx.get_help())
        return
    if json_text and file:
        raise typer.BadParameter("Give --json or --file, not both.")
    shell: Shell = ctx.obj
    with shell.connect(url, timeout_s=timeout_s) as client:
        info = client.task(task)
        common = read_words(ctx.args, info)
        if not json_text and not file:
            require(common, info)
        rows = _from_file(file) if file else _from_json(json_text or "{}")
        show(_outputs(client, task, ({**common, **row} for row in rows)), shell.console)


def _brief(task: TaskInfo) -> Mapping[str, JsonValue]:
    metric = f"{task.metric.name} {task.metric.value:.3g}" if task.metric else ""
    return {
        "task": task.name,
        "state": task.state,
        "version": task.version,
        "metric": metric,
        "summary": task.summary,
    }


def _outputs(client: Client, task: str, rows: Iterator[Row]) -> Iterator[Mapping[str, JsonValue]]:
    while block := list(islice(rows, BLOCK)):
        for output in client.predict(task, block).outputs:
            yield output.model_dump(mode="json")


def _from_json(text: str) -> list[Row]:
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


def _from_file(path: str) -> Iterator[Row]:
    found = False
    with ExitStack() as stack:
        try:
            lines = (
                sys.stdin if path == "-" else stack.enter_context(Path(path).open(encoding="utf-8"))
            )
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _from_line(line, f"{path}, line {number}")
                    found = True
        except OSError as error:
            raise MissingFile(f"{path} cannot be read: {error.strerror}. Check the path.") from None
        except UnicodeDecodeError:
            raise BadValue(f"{path} is no text in UTF-8. Give one JSON object per line.") from None
    if not found:
        raise BadValue(f"{path} holds no inputs. Give one JSON object per line.")


def _from_line(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadValue(f"{where}: it is not JSON ({error}). Give one object per line.") from None
    if not isinstance(row, dict):
        raise BadValue(f"{where}: it is JSON, but no object. Give one object per line.")
    return row
