"""Run Lepton: `python -m services up`, `ingest`, `train`, `deploy`; also what a Ray job starts."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.base import signals
from cluster.base.errors import InvalidInput, LeptonError
from cluster.base.settings import direct_loopback, environment, export
from lepton.terminal import Muted, unreadable, watched
from services.cli import operate, show, show_data, show_features, verbs
from services.local import catalog, rows, watch
from services.local import features as layer

app = typer.Typer(
    help="Train, register and serve models on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

views = typer.Typer(help="Say what there is in the feature layer.", add_completion=False)
app.add_typer(views, name="features")

data = typer.Typer(help="Look for what is wrong with stored rows.", add_completion=False)
app.add_typer(data, name="data")

TaskName = Annotated[str, typer.Argument(help="A capability, as in vision.classify.")]
KNOBS = "Knobs: epochs=3 lr=0.01; `tasks TASK` lists them."
Reference = Annotated[str, typer.Argument(help="A version's number, candidate or production.")]


@app.command()
def up() -> None:
    """Start Ray and the HTTP door on this machine."""
    operate.up(show.say)


@app.command()
def down() -> None:
    """Stop all that `up` started."""
    operate.down(show.say)


@app.command()
def status() -> None:
    """Say what runs, where, and why something does not."""
    show.status(operate.status())


@app.command()
def logs(
    task: Annotated[str, typer.Argument(help="A capability; without one, all of Serve.")] = "",
    lines: Annotated[int, typer.Option(min=1, help="How many of the last lines.")] = 50,
) -> None:
    """Print the last lines that replicas logged."""
    for line in operate.logs(task, lines) or ["Nothing was logged."]:
        show.say(line)


@app.command()
def ingest(
    view: Annotated[str, typer.Argument(help="images, texts, items, interactions or another.")],
    paths: Annotated[list[str], typer.Argument(help="Files, folders or archives.")],
    columns: Annotated[
        str,
        typer.Option("--map", help='ours=theirs,... by name; ours="a, b" where it has a comma.'),
    ] = "",
    max_rejects: Annotated[float, typer.Option(help="Share of bad rows that is borne.")] = 0.01,
) -> None:
    """Bring raw files into the feature layer; bad rows go to a rejects file."""
    show.ingested(rows.ingest(view, paths, columns, max_rejects))
    for sentence in rows.not_online(view):
        show.say(sentence)


@app.command()
def materialize(
    views: Annotated[list[str] | None, typer.Argument(help="Without one, all with rows.")] = None,
) -> None:
    """Bring stored rows to where they are looked up by key; those already there stay."""
    counts = rows.materialize(views or [])
    for name, count in counts.items():  # those that a push had put there are read once more
        show.say(f"{name}: {count:,} stored rows read; all are online.")
    if not counts:
        show.say("No view has rows yet. Take some in: python -m services ingest VIEW PATHS")


@app.command()
def compact(
    view: Annotated[str, typer.Argument(help="interactions or another with rows of its own.")],
) -> None:
    """Merge the small files of a view's stored rows; what they tell stays the same."""
    done = rows.compact(view)
    show.say(
        f"{view}: {done.merged:,} files merged into {done.made:,}; "
        f"{done.dropped:,} replaced rows dropped."
    )


@app.command()
def lookup(
    view: Annotated[str, typer.Argument(help="items, interactions or another.")],
    keys: Annotated[list[str], typer.Argument(help="42; or user_id=1,item_id=2.")],
) -> None:
    """Print the newest values of some keys, and since when they hold."""
    behind = rows.behind(view)
    show.rows(rows.lookup(view, keys))
    for sentence in behind:
        show.say(sentence)


@app.command()
def push(
    view: Annotated[str, typer.Argument(help="interactions, items or another that is ingested.")],
    values: Annotated[list[str], typer.Argument(help="user_id=u1 item_id=p2 value=1")],
) -> None:
    """Write one event, offline and online; what is made from it changes at once."""
    if rows.push(view, values):
        show.say(f"{view}: written, offline and online.")
    else:
        show.say(
            f"{view}: written, offline only: the online store does not answer. The next push or "
            f"look-up once it does brings this, or python -m services materialize {view}"
        )


@app.command()
def forget(
    view: Annotated[str, typer.Argument(help="interactions, items or another that is ingested.")],
    key: Annotated[list[str], typer.Argument(help="user_id=u1; all columns of the key, or some.")],
) -> None:
    """Erase the rows of a key everywhere; say which models had learnt from them."""
    show_features.forgotten(rows.forget(view, key))


@data.callback(invoke_without_command=True)
def data_help(context: typer.Context) -> None:
    """Look for what is wrong with stored rows."""
    if context.invoked_subcommand is None:
        show.say(context.get_help())


@data.command("check")
def check_data(
    view: Annotated[str, typer.Argument(help="images, texts, interactions or another.")],
) -> None:
    """Look for copies, wrong labels, leaks and outliers, and name rows to look at."""
    show_data.checked(rows.check(view))


@views.callback(invoke_without_command=True)
def features(context: typer.Context) -> None:
    """List the views: how fresh they are, how many rows, who reads them."""
    if context.invoked_subcommand is None:
        show_features.views(layer.listed())


@views.command()
def lineage(
    path: Annotated[Path, typer.Argument(help="Where to.")] = Path("lineage.svg"),
) -> None:
    """Draw what is made from what, and who reads it."""
    show.say(f"Drawn to {layer.draw(path)}.")


@views.command()
def check(
    task: Annotated[str, typer.Argument(help="A capability; without one, all.")] = "",
) -> None:
    """Hold logged look-ups to an offline join of the same moment; status 1 where values differ."""
    found = watch.check(task)
    show_features.skew(found)
    if not found:
        show.say("No request was logged yet. Deploy a capability and ask it something.")
    if any(report.differences for report in found.values()):
        raise typer.Exit(1)


@views.command()
def drift(task: TaskName) -> None:
    """Compare what was served with what was learnt from, feature by feature, with a plot."""
    show_features.drift(watch.drift(task))


@app.command()
def tasks(
    task: Annotated[str, typer.Argument(help="A capability; without one, all.")] = "",
) -> None:
    """List the capabilities, or the knobs of one and what each may be."""
    if task:
        show.knobs(catalog.find(task))
    else:
        show.tasks(catalog.capabilities())


@app.command()
def train(
    task: TaskName,
    settings: Annotated[list[str] | None, typer.Argument(help=KNOBS)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Ray Train workers.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="What makes two runs alike.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Train though this run ended.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Train on the ingested rows; the result is registered as the candidate."""
    wanted = verbs.Training(task, settings or [], workers=workers, seed=seed, again=again)
    try:
        with show.training(task) as progress:
            manifest = verbs.train(wanted, progress)
    except KeyboardInterrupt as stop:
        show.say(str(stop) or "Stopped.")
        raise
    show.manifest(manifest)


@app.command("import")
def import_model(
    task: TaskName,
    given: Annotated[list[str], typer.Argument(help="model.onnx labels.json size=224x224")],
) -> None:
    """Register a model that was made elsewhere; it is asked about sample rows first."""
    show.manifest(verbs.import_model(task, given, show.say))


@app.command()
def evaluate(task: TaskName, reference: Reference = "candidate") -> None:
    """Measure a version on the test rows that are there now."""
    show.metrics(verbs.evaluate(task, reference))


@app.command()
def versions(task: TaskName) -> None:
    """List a capability's versions and what each alias names."""
    show.versions(*verbs.versions(task))


@app.command()
def promote(
    task: TaskName,
    reference: Reference = "candidate",
    force: Annotated[bool, typer.Option("--force", help="Though it scores worse.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Put a version into production; one that scores worse is refused."""
    show.say(verbs.promote(task, reference, force=force))


@app.command()
def rollback(task: TaskName) -> None:
    """Go back to the version that was in production before."""
    show.say(verbs.rollback(task))


@app.command()
def deploy(task: TaskName, reference: Reference = "production") -> None:
    """Serve a version over HTTP, or replace the one that is served, without a failed request."""
    show.say(operate.deploy(task, reference))
    for sentence in rows.unseen_by(task):
        show.say(sentence)


@app.command()
def undeploy(task: TaskName) -> None:
    """Stop serving a capability."""
    show.say(operate.undeploy(task))


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="A folder with real data sets.")] = None,
) -> None:
    """Show all of it: ingest, train and serve three models, until Ctrl-C."""
    from services.cli.demo import run  # noqa: PLC0415 - what only the demo needs

    run(data)


def main() -> None:
    """Run a command: an error of ours is one sentence and status 1, Ctrl-C is status 130."""
    sys.exit(watched(_run, Muted))


def _run() -> int:
    export(**direct_loopback(environment()))
    try:
        if wrong := unreadable(sys.argv[1:]):
            raise InvalidInput(wrong)
        with signals.like_ctrl_c():
            app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except LeptonError as error:
        show.fail(str(error))
        return 1
    return 0


if __name__ == "__main__":
    main()
