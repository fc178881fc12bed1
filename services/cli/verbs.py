"""Do what the command line, the demo and the tests ask for; print nothing."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from cluster.base.errors import Conflict, Corrupt, LeptonError, NotFound, Unavailable
from cluster.base.settings import Settings, settings
from cluster.contract.config import Config
from cluster.contract.run import Progress
from cluster.contract.task import AnyTask, Evaluation
from cluster.engine import engine, starting
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import ModelView
from cluster.features.joins.held import leaves
from cluster.features.schema.view import View
from cluster.registry.model import Model
from cluster.registry.tracking import Tracker
from cluster.registry.versions import Manifest, Registry
from cluster.training.data import Plan, plan
from lepton.wire import State
from services.http.app import build as build_app
from services.http.schemas import path_of
from services.local import catalog
from services.local.compare import compared
from services.local.opening import Opening
from services.local.rows import made_ready

if TYPE_CHECKING:
    from cluster.serving import serve
    from cluster.training import train as training

TAKE_OVER_S = 30.0
ASKED_IN_A_ROW = 8
RECORD = re.compile(r"[A-Z]+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ")
"""How Ray Serve begins a record of its logs: `ERROR 2026-11-21 10:00:00,123 nlp.classify ...`."""


@dataclass(frozen=True)
class Training:
    """What `train` was asked for."""

    task: str
    settings: Sequence[str] = field(default_factory=list)
    workers: int = 1
    seed: int = 0
    again: bool = False


def plan_of(task: type[AnyTask], config: Config | None = None) -> Plan:
    """Which stored rows the task learns from, with knobs that may name some, and is measured on.

    A view that depends on a model which was never trained has no rows, and so is left out.
    """
    layer = catalog.layer(settings())

    def resolve(view: View) -> View | None:
        made = models_behind([view], layer.graph)
        return layer.resolved(view) if all(map(layer.models.trained, made)) else None

    return plan(
        task,
        layer.store,
        memory_share=settings().memory_share,
        tables=task.tables_for(config or task.Config(), layer.graph.__getitem__),
        inputs=layer.inputs,
        resolve=resolve,
    )


def train(wanted: Training, on_progress: Progress) -> Manifest:
    """Train, register as candidate, and tell MLflow.

    Returns:
        The manifest of the version.

    Raises:
        KeyboardInterrupt: it was stopped; it says whether the same command goes on.
    """
    here = settings()
    task = catalog.find(wanted.task)
    config = task.Config.parse(wanted.settings)
    rows = plan_of(task, config)
    from cluster.training import train as training  # noqa: PLC0415 - imports ray: seconds after any mistake

    engine.connect(here)
    if _backfilled(task, config, on_progress):
        rows = plan_of(task, config)
    recipe = training.Recipe(
        task,
        config,
        rows,
        here.home,
        seed=wanted.seed,
        workers=wanted.workers,
        checkpoint_s=here.checkpoint_s,
    )
    recipe = training.again(recipe) if wanted.again else recipe
    tracker, registry = Tracker(here.tracking, here.home), Registry(here.home)
    if existing := registry.of_run(wanted.task, recipe.run):
        registry.point("candidate", wanted.task, existing.version)
        tracker.catch_up(on_progress)
        return existing
    with tracker.run(wanted.task, recipe.run, config.model_dump(mode="json"), on_progress):
        try:
            manifest = training.train(recipe, on_progress=on_progress)
        except (KeyboardInterrupt, SystemExit):  # Ray Train makes the one of the other
            raise KeyboardInterrupt(_stopped(recipe)) from None
        registry.point("candidate", wanted.task, manifest.version)
    return manifest


def _backfilled(task: type[AnyTask], config: Config, on_progress: Progress) -> bool:
    """Make what the models of the task's views have not said yet; whether there was anything."""
    from cluster.bulk.backfill import spread  # noqa: PLC0415 - imports ray

    layer, made = catalog.layer(settings()), 0
    tables = task.tables_for(config, layer.graph.__getitem__)
    for view in models_behind([*task.features, *tables, *task.live], layer.graph):
        if layer.models.trained(view):
            fresh = layer.backfill(view, spread)
            made += fresh
            if fresh:
                on_progress(f"{view.name}: {fresh:,} rows made by {view.model}.")
    return bool(made)


def models_behind(views: Sequence[View], graph: Graph) -> list[ModelView]:
    """The model views among some views and among those that they are functions of."""
    found = leaves(views, graph.inputs)
    return [view for view in found if isinstance(view, ModelView)]


def _stopped(recipe: "training.Recipe") -> str:
    kept = any((recipe.home / "runs" / recipe.run).glob("checkpoint_*"))
    goes_on = kept and not recipe.nonce  # with a nonce, every command is a run of its own
    return "Stopped." + (" The same command goes on from the last checkpoint." if goes_on else "")


def evaluate(task: str, reference: str) -> Evaluation:
    """Measure a version on the test rows that are there now."""
    capability = catalog.find(task)
    model = Model.open(capability, Registry(settings().home).folder(task, reference))
    return model.task.evaluate(plan_of(capability).rows("test").whole())


def versions(task: str) -> tuple[list[Manifest], dict[str, int]]:
    """Every version's manifest and what each alias names."""
    catalog.find(task)
    registry = Registry(settings().home)
    return [registry.manifest(task, v) for v in registry.versions(task)], registry.aliases(task)


def promote(task: str, reference: str, *, force: bool = False) -> str:
    """Put a version into production, and what it says of model views online before that.

    Returns:
        Sentences that say so.

    Raises:
        Conflict: it scores worse than the one in production.
        LeptonError: what it says could not be brought online: the one before stays in production.
    """
    registry = Registry(settings().home)
    catalog.find(task)
    new, said = registry.manifest(task, reference), list[str]()
    current = registry.aliases(task).get("production")
    if current not in (None, new.version):
        if not force:
            said.append(_no_worse(task, registry, new))
        said += made_ready(task, new.version)
    registry.point("production", task, new.version)
    return " ".join([*said, _now_in_production(task, new)])


def _no_worse(task: str, registry: Registry, new: Manifest) -> str:
    """The sentence that says that a version scores as well as that in production, or why not."""
    capability, here = catalog.find(task), settings()
    try:
        old = registry.manifest(task, "production")
    except Corrupt as error:
        return f"Version {new.version} was compared with none: {error.message}"
    store = catalog.layer(here).store
    found = compared(capability, lambda: plan_of(capability), store, registry, new=new, old=old)
    metric = capability.objective.metric
    if found.refuses_more:
        raise Conflict(
            f"Version {new.version} of {task} refuses more test rows than version {old.version} in "
            f"production: {metric} {found.new:.4f} and {found.old:.4f}, {found.basis}.",
            hint="Promote it all the same with --force.",
        )
    if not capability.objective.better(found.new, found.old):
        raise Conflict(
            f"Version {new.version} of {task} has {metric} {found.new:.4f}, worse than "
            f"{found.old:.4f} of version {old.version} in production, {found.basis}.",
            hint="Promote it all the same with --force.",
        )
    return (
        f"Version {new.version} has {metric} {found.new:.4f} and version {old.version} "
        f"{found.old:.4f}, {found.basis}."
    )


def rollback(task: str) -> str:
    """Put the version before into production again, and what it says of model views online."""
    catalog.find(task)
    registry = Registry(settings().home)
    registry.resolve(task, "production")  # where none is, it says how to get one
    return _now_in_production(task, registry.rollback(task))


def _now_in_production(task: str, manifest: Manifest) -> str:
    """That a version is, and what its model views have got or lack since it was decided on."""
    sentence = (
        f"Version {manifest.version} of {task} is in production "
        f"({manifest.objective} {manifest.score:.4f})."
    )
    try:
        ready = made_ready(task, manifest.version)
    except LeptonError as error:  # the version has changed, and that must be heard
        ready = [f"What it says of views is not all online: {error}"]
    return " ".join([sentence, *ready])


def up(say: Callable[[str], None]) -> None:
    """Start Ray and the door on this machine, or find them started."""
    here = settings()
    starting.up(here, say=say)
    _open_door(here)


def down(say: Callable[[str], None]) -> None:
    """Stop all that `up` started."""
    if not engine.down(settings(), say=say):
        say("Nothing runs here.")


def deploy(task: str, reference: str) -> str:
    """Serve a version, or let the running replicas change to it.

    Returns:
        The sentence that says where.
    """
    here, capability = settings(), catalog.find(task)
    version = Registry(here.home).resolve(task, reference)
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    build = partial(build_app, origins=here.cors_origins)
    serve.deploy(capability, version, here, build, Opening(here))
    url = here.url + path_of(task)
    if (found := _settled(task, url, wanted=version)) != version:
        answers = f"version {found} answers" if found else "no version answers"
        raise Unavailable(
            f"Version {version} of {task} did not take over; {answers}.",
            hint=f"Why stands in the log: python -m services logs {task}",
        )
    Registry(here.home).point("serving", task, version)
    return f"Version {version} of {task} answers at {url}."


def _settled(task: str, url: str, *, wanted: int) -> int | None:
    """Ask what answers until it is `wanted` several times in a row, or the time is over.

    There may be several replicas, and for some tenths of a second after a change the proxy goes now
    to the old and now to the new. Where the URL leads nowhere from this machine, as with a cluster
    elsewhere, the replicas are asked past the proxy.

    Returns:
        What `_answering` said last.
    """
    deadline, agreed = time.monotonic() + TAKE_OVER_S, 0
    found: int | None = None
    while agreed < ASKED_IN_A_ROW and time.monotonic() < deadline:
        found = _answering(task, url)
        agreed = agreed + 1 if found == wanted else 0
        time.sleep(0.1)
    return found


def _answering(task: str, url: str) -> int | None:
    """The version that answers; 0 where none is served; None where that cannot be known.

    What is too busy to say its version, or is broken, may answer the next request.
    """
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
        if answer.status_code in {404, 503}:  # of the door, or of the proxy where there is none
            return 0
        return int(answer.json()["version"]) if answer.is_success else None
    except httpx.ConnectError:
        from cluster.serving import serve  # noqa: PLC0415 - imports ray

        return serve.answering(task)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):  # somebody else may answer there
        return None


def undeploy(task: str) -> str:
    """Stop serving a capability.

    Raises:
        Conflict: it is not served.
        Unavailable: it, or something, answers still after half a minute.
    """
    catalog.find(task)
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(settings())
    if task not in states():
        raise Conflict(f"{task} is not served.", hint="What is: python -m services status")
    serve.undeploy(task)
    url = settings().url + path_of(task)
    if (left := _settled(task, url, wanted=0)) != 0:
        still = f"Version {left} of {task} still answers" if left else "Something still answers"
        raise Unavailable(f"{still} at {url}.", hint="Ask again: python -m services status")
    return f"{task} is not served any more."


def _open_door(here: Settings) -> None:
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    serve.open_door(partial(_door, here))


def _door(here: Settings) -> Any:
    """The application at "/", made in its replica."""
    from services.http import door  # noqa: PLC0415 - the replica's business

    return door.build(here.home, states, lambda: catalog.layer(here), origins=here.cors_origins)


def states() -> dict[str, State]:
    """The state of each application, by its name."""
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    return {app.name: app.state for app in serve.applications()}


@dataclass(frozen=True)
class Overview:
    """What runs: Ray, its applications, and the version that each was told to serve."""

    engine: engine.Status
    applications: list["serve.Application"]
    versions: dict[str, int]


def status() -> Overview:
    """What runs here, or on the cluster that RAY_ADDRESS names, and what it serves."""
    here = settings()
    found = engine.status(here)
    if found.engine is None and not found.address:
        return Overview(found, [], {})
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    aliases = {task: Registry(here.home).aliases(task) for task in Registry(here.home).tasks()}
    versions = {task: names["serving"] for task, names in aliases.items() if "serving" in names}
    return Overview(found, serve.applications(), versions)


def logs(task: str, lines: int) -> list[str]:
    """The last lines that the replicas of a capability logged on this machine.

    Args:
        task: its name; without one, everything that Ray Serve logged.
        lines: how many.

    Raises:
        NotFound: it was never served here.
    """
    if task and task != "door":
        catalog.find(task)
    folder = engine.logs(settings()) / "serve"
    files = sorted(folder.glob(f"replica_{task}_*.log" if task else "*.log"))
    if not files:
        raise NotFound(
            f"There are no logs of {task or 'Ray Serve'} in {folder}.",
            hint="Serve it first: python -m services deploy TASK",
        )
    records = sorted(
        (record for file in files for record in _records(file)), key=lambda record: record[0]
    )
    return [line for _, record in records for line in record][-lines:]


def _records(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each record of a log and its time: lines without one belong to the record before them."""
    at, record = "", list[str]()
    for line in file.read_text(errors="replace").splitlines():
        if begins := RECORD.match(line):
            if record:
                yield at, record
            at, record = begins[1], []
        record.append(line)
    if record:
        yield at, record
