"""Call a Lepton from a shell: ``lepton predict vision.classify shoe.png --top-k 3``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from pydantic import JsonValue
from typer.core import TyperCommand
from typer.main import get_command

from lepton import __version__
from lepton._inputs import Row
from lepton.cli.features import features
from lepton.cli.flags import read_words, require
from lepton.cli.out import Out
from lepton.cli.shell import File, Json, OutFile, Shell, TimeoutS, Url, from_file, from_json
from lepton.cli.show import show
from lepton.client import Client
from lepton.errors import BadValue, LeptonError
from lepton.terminal import unreadable, watched
from lepton.wire import TaskInfo

__all__ = ["Shell", "app", "main"]

VALUES = "values"  # where the words after -- are kept
BLOCK = 128  # rows of a file that are read, sent and shown together

app = typer.Typer(
    name="lepton",
    help="Call the applied-AI services of a Lepton.",
    add_completion=False,
    no_args_is_help=True,
)
app.add_typer(features)


def main(argv: Sequence[str] | None = None, shell: Shell | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; by default those that the program was started with.
        shell: what it stands on; by default ``Client`` and standard output.

    Returns:
        the exit code: 0, 1 for an error, 2 for a command that is not understood, 130 for Ctrl-C,
        141 where nobody reads the output any more.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    return watched(lambda: _run(words, shell))


def _run(words: list[str], shell: Shell | None) -> int:
    try:
        if wrong := unreadable(words):
            raise BadValue(wrong)
        get_command(app).main(args=words, prog_name="lepton", obj=shell or Shell())
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


class ValuesLast(TyperCommand):
    """A command that keeps the words after `--` apart: values, whatever they begin with."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before it."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[VALUES] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


# Which fields there are is known once the task is. So this command reads only what all tasks have,
# and leaves the other words to a command that is made from the task's schema.
@app.command(
    cls=ValuesLast,
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
    out: OutFile = None,
    url: Url = None,
    timeout_s: TimeoutS = 30.0,
) -> None:
    """Predict: TASK, then its values, or its fields as --name value; -- before a value like -5."""
    values = ctx.meta[VALUES]
    if task == "--help" and values:
        task, *values = values
    if task == "--help":
        typer.echo(ctx.get_help())
        return
    if json_text and file:
        raise typer.BadParameter("Give --json or --file, not both.")
    shell: Shell = ctx.obj
    with shell.connect(url, timeout_s=timeout_s) as client:
        info = client.task(task)
        common = read_words([*ctx.args, "--", *values], info)
        if not json_text and not file:
            require(common, info)
        written = Out(out, info) if out else None
        rows = from_file(file) if file else from_json(json_text or "{}")
        outputs = _outputs(client, task, ({**common, **row} for row in rows))
        show(written.write(outputs) if written else outputs, shell.console)


def _brief(task: TaskInfo) -> Mapping[str, JsonValue]:
    metric = f"{task.metric.name} {task.metric.value:.3g}" if task.metric else ""
    return {
        "task": task.name,
        "state": task.state,
        "version": task.version,
        "metric": metric,
        "summary": task.summary,
    }


def _outputs(client: Client, task: str, rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
    while block := list(islice(rows, BLOCK)):
        for output in client.predict(task, block).outputs:
            yield dict(output)
