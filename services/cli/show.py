"""Show people what happens: sentences, tables, progress; plain lines where nobody watches."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin

import numpy as np
from numpy.typing import NDArray
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from cluster.base.batch import Batch
from cluster.contract import classes
from cluster.contract.config import Between
from cluster.contract.run import Report
from cluster.contract.task import AnyTask, Evaluation
from cluster.features.intake.ingest import Ingested
from cluster.features.intake.summary import Summary
from cluster.features.schema.column import ALWAYS
from cluster.registry.versions import Manifest
from services.cli.operate import Overview
from services.local.catalog import find_view

out = Console(highlight=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

PLAIN_EVERY_S = 5.0
WIDE = 10_000
MOST_LABELS, MOST_TABLES, MOST_REASONS = 20, 3, 10


def say(sentence: str) -> None:
    """Print a sentence."""
    out.print(sentence, markup=False)


def fail(sentence: str) -> None:
    """Print what went wrong, where errors go."""
    err.print("Error:", style="red", end=" ")
    err.print(sentence, markup=False)


@contextmanager
def training(task: str) -> Iterator[Callable[[Report], None]]:
    """Show a training's reports: a bar on a terminal, a line every few seconds elsewhere."""
    if not out.is_terminal:
        yield PlainProgress(task)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out) as bar:
        number = bar.add_task(f"train {task}", total=None, facts="starting")

        def report(point: Report) -> None:
            if isinstance(point, str):
                bar.console.print(point, markup=False)
                return
            step, steps = point.get("step"), point.get("steps")
            bar.update(number, completed=step, total=steps, facts=facts(point))

        yield report


class PlainProgress:
    """One line every few seconds, for a log."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.printed = 0.0

    def __call__(self, point: Report) -> None:
        """Print a report, unless one was printed just now and this is not the last."""
        if isinstance(point, str):
            say(point)
            return
        step, steps = point.get("step", 0), point.get("steps", 0)
        if time.monotonic() - self.printed < PLAIN_EVERY_S and step < steps:
            return
        self.printed = time.monotonic()
        left = f"  ETA {point['eta_s']:.0f} s" if "eta_s" in point else ""
        say(f"train {self.task}: step {step:.0f}/{steps:.0f} {facts(point)}{left}")


def facts(point: Mapping[str, float]) -> str:
    """The numbers of a report that people look for."""
    hidden = {"step", "steps", "eta_s", "epoch", "lr"}
    numbers = {name: value for name, value in point.items() if name not in hidden}
    rate = numbers.pop("rows_per_s", None)
    words = [f"{name} {value:.4f}" for name, value in numbers.items()]
    return "  ".join([*words, *([f"{rate:,.0f} examples/s"] if rate is not None else [])])


def ingested(report: Ingested) -> None:
    """What an ingest took in."""
    say(
        f"{report.view}: {report.rows:,} rows read, {report.new:,} new, {report.replaced:,} "
        f"replaced, {report.same:,} as before, {report.doubled:,} superseded, "
        f"{report.rejects:,} rejected."
    )
    if report.doubled:
        say("Superseded: another row of the source has the same key and moment, and came later.")
    summary(report.summary)
    if report.rejects_file:
        say(f"What was left out and why: {report.rejects_file}")


def summary(found: Summary) -> None:
    """What an ingest made of its files: labels, parts, copies, rejects, warnings."""
    labels, parts = classes.by_label(found.counts), classes.by_part(found.counts)
    if any(labels):
        shown = ", ".join(f"{name} {rows:,}" for name, rows in labels.most_common(MOST_LABELS))
        more = len(labels) - MOST_LABELS
        say(f"Labels: {shown}{f', and {more:,} more' if more > 0 else ''}.")
    if any(parts):
        shown = ", ".join(f"{name or 'not named'} {rows:,}" for name, rows in parts.most_common())
        say(f"Parts: {shown}.")
    if found.copies:
        say(f"Copies: {found.copies:,} (rows that hold the same as a row before them).")
    _left_out(found)
    for sentence in found.warnings:
        out.print("Warning:", style="yellow", end=" ")
        out.print(sentence, markup=False)


def _left_out(found: Summary) -> None:
    """Rejected rows and skipped files by reason, and columns that were not read."""
    for left_out, reasons in (("Rejected", found.reasons), ("Files skipped", found.skipped)):
        for reason in reasons[:MOST_REASONS]:
            more = ", ..." if reason.count > len(reason.places) else ""
            said = f"{reason.count:,}, {reason.example} ({', '.join(reason.places)}{more})."
            say(f"{left_out}: {said}")
        if rest := sum(reason.count for reason in reasons[MOST_REASONS:]):
            say(f"{left_out}: {rest:,} for {len(reasons) - MOST_REASONS:,} other reasons.")
    for table, columns in list(found.unused.items())[:MOST_TABLES]:
        say(f"Columns not used: {classes.listed(columns, most=MOST_LABELS)} of {table}.")
    if len(found.unused) > MOST_TABLES:
        say(f"{len(found.unused) - MOST_TABLES:,} more tables have columns that are not used.")


def tasks(capabilities: Mapping[str, type[AnyTask]]) -> None:
    """What can be trained and served, a line each."""
    table = Table("capability", "what it does", "learns from")
    for name, task in capabilities.items():
        views = ", ".join(view.name for view in (task.examples, *task.features, *task.tables))
        table.add_row(name, task.summary(), views)
    print_table(table)


def knobs(task: type[AnyTask]) -> None:
    """Every knob of a capability, its default and what it may be."""
    table = Table("knob", "default", "allowed")
    config = task.Config()
    for name, field in task.Config.model_fields.items():
        table.add_row(name, _as_typed(getattr(config, name)), _allowed(field))
    print_table(table)


def _as_typed(value: object) -> str:
    """A knob's value as the command line takes it, or that it is left to the data."""
    if value is None:
        return "by the data"
    if isinstance(value, tuple | list):
        return ",".join(map(_as_typed, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(field: FieldInfo) -> str:
    bound = next((m for m in field.metadata if isinstance(m, Between)), None)
    if bound:
        return f"{bound.low:,g} to {bound.high:,g}"
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    if get_origin(field.annotation) is tuple:
        return "several, with commas between"
    return "true, false" if field.annotation in (bool, bool | None) else "a name"


def rows(batch: Batch) -> None:
    """What was looked up of a view, a row each: a picture by its shape, nothing by nothing."""
    table = Table(*batch)
    unknown = _unknown(batch)
    for place, row in enumerate(zip(*batch.values(), strict=True)):
        shown = (getattr(value, "shape", None) or value for value in row)
        known = (name not in unknown or not unknown[name][place] for name in batch)
        cells = zip(shown, known, strict=True)
        table.add_row(*(escape(_cell(value)) if there else "" for value, there in cells))
    print_table(table)


def _cell(value: object) -> str:
    """A value as text; a moment in UTC says so."""
    if isinstance(value, np.datetime64):
        written = np.datetime_as_string(value, unit="us").removesuffix(".000000")
        return "always" if value == ALWAYS else f"{written}Z"
    return str(value)


def _unknown(batch: Batch) -> dict[str, NDArray[Any]]:
    """Of the columns that hold a default where nothing is known, where that is."""
    ends = [name.removesuffix("_missing") for name in batch if name.endswith("_missing")]
    views = [view for view in ends if {f"{view}_status", f"{view}_time"} <= set(batch)]
    found: dict[str, NDArray[Any]] = {}
    for view in views:
        said = {f"{view}_missing", f"{view}_status", f"{view}_time", *find_view(view).key}
        found |= dict.fromkeys(
            [name for name in batch if name not in said], batch[f"{view}_missing"]
        )
        stale = batch[f"{view}_status"] == "stale"  # of that it is known how old it is
        found[f"{view}_time"] = batch[f"{view}_missing"] & ~stale
    return found


def manifest(made: Manifest) -> None:
    """What a training or an import made."""
    if not made.metrics:
        say(f"{made.task} version {made.version}: never measured.")
        return
    scores = ", ".join(f"{name} {value:.4f}" for name, value in made.metrics.items())
    say(f"{made.task} version {made.version}: {scores} on {made.rows['test']:,} test rows.")
    if made.reference:
        simple = ", ".join(f"{name} {value:.4f}" for name, value in made.reference.items())
        say(f"A simple reference model, trained and measured on the same rows: {simple}.")


def metrics(evaluation: Evaluation) -> None:
    """What a version scored."""
    for name, value in evaluation.metrics.items():
        say(f"{name} {value:.4f}")
    if evaluation.refused:
        say(f"{evaluation.refused:,} of {evaluation.rows:,} rows were refused and not scored.")


def versions(manifests: Sequence[Manifest], aliases: Mapping[str, int]) -> None:
    """A capability's versions, a line each."""
    table = Table("version", "alias", "made", "metrics", "run")
    for made in manifests:
        names = ", ".join(name for name, version in aliases.items() if version == made.version)
        scores = ", ".join(f"{name} {value:.4f}" for name, value in made.metrics.items())
        table.add_row(str(made.version), names, f"{made.created:%Y-%m-%d %H:%M}", scores, made.run)
    print_table(table)


def served(models: Sequence[tuple[Manifest, str]]) -> None:
    """What is served and where, as a table."""
    table = Table("capability", "version", "metric", Column("URL", overflow="fold"))
    for made, url in models:
        score = f"{made.objective} {made.score:.4f}"
        table.add_row(made.task, str(made.version), score, url)
    print_table(table)


def status(found: Overview) -> None:
    """What runs, where, and why something does not."""
    engine, ray = found.engine, found.engine.engine
    if ray is None and not engine.address:
        say("Nothing runs here. Start it with `python -m services up`.")
        return
    taken = f"{engine.cpus_used:g} of {engine.cpus:g} CPUs taken"
    taken += f", {', '.join(engine.accelerators)}" if engine.accelerators else ""
    if ray is None:
        say(f"Ray runs at {engine.address}, which RAY_ADDRESS names: {taken}.")
    else:
        say(f"Lepton is up at {ray.url}, Ray's dashboard at {ray.dashboard_url}.")
        say(
            f"up {engine.uptime_s / 60:.0f} min, {taken}, "
            f"{engine.memory_bytes / 2**20:,.0f} MiB in use, "
            f"{engine.memory_free_bytes / 2**20:,.0f} MiB free, "
            f"{engine.disk_free_bytes / 2**30:,.0f} GiB of disk free"
        )
    table = Table("application", "state", "version", "replicas", "message")
    for app in found.applications:
        replicas = ", ".join(f"{count} {state}" for state, count in app.replicas.items())
        version = str(found.versions.get(app.name, ""))
        table.add_row(app.name, app.state, version, replicas, escape(app.message))
    print_table(table)


def print_table(table: Table) -> None:
    """Print a table: as wide as it is where nobody watches."""
    # a file and a pipe have no width, and half a sentence a line cannot be searched
    (out if out.is_terminal else Console(width=WIDE, highlight=False, emoji=False)).print(table)
