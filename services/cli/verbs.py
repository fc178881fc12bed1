"""Train, measure and promote versions for the command line and the demo; print nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.base.errors import Conflict, Corrupt, InvalidInput, LeptonError, NotFound
from cluster.base.settings import settings
from cluster.contract.config import Config
from cluster.contract.run import Progress
from cluster.contract.task import AnyTask, Evaluation
from cluster.engine import engine
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import ModelView
from cluster.features.joins.held import leaves
from cluster.features.schema.view import View
from cluster.registry.model import Model
from cluster.registry.tracking import Tracker
from cluster.registry.versions import Manifest, Registry
from cluster.training.data import Plan, plan
from cluster.training.importing import Import, files_of, register
from cluster.training.recipe import Recipe, again
from services.local import catalog
from services.local.compare import compared
from services.local.rows import made_ready


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
    """Train, register as candidate, and record the run in MLflow.

    Returns:
        The manifest of the version.

    Raises:
        KeyboardInterrupt: it was stopped; it says whether the same command goes on.
    """
    here = settings()
    task = catalog.find(wanted.task)
    config = task.Config.parse(wanted.settings)
    rows = plan_of(task, config)  # what is wrong with the rows is said before Ray starts
    from cluster.training import train as training  # noqa: PLC0415 - imports ray: seconds after any mistake

    engine.connect(here)
    if _backfilled(task, config, on_progress):
        rows = plan_of(task, config)  # the snapshot before lacks the rows that were made
    recipe = Recipe(
        task,
        config,
        rows,
        here.home,
        seed=wanted.seed,
        workers=wanted.workers,
        checkpoint_s=here.checkpoint_s,
    )
    recipe = again(recipe) if wanted.again else recipe
    tracker, registry = Tracker(here.tracking, here.home), Registry(here.home)
    if existing := registry.of_run(wanted.task, recipe.run):
        registry.mark("candidate", existing)
        tracker.catch_up(on_progress)
        return existing
    with tracker.run(wanted.task, recipe.run, config.model_dump(mode="json"), on_progress):
        try:
            manifest = training.train(recipe, on_progress=on_progress)
        except (KeyboardInterrupt, SystemExit):  # Ray Train makes the one of the other
            raise KeyboardInterrupt(_stopped(recipe)) from None
        registry.mark("candidate", manifest)
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


def _stopped(recipe: Recipe) -> str:
    kept = any((recipe.home / "runs" / recipe.run).glob("checkpoint_*"))
    goes_on = kept and not recipe.nonce  # with a nonce, every command is a run of its own
    return "Stopped." + (" The same command goes on from the last checkpoint." if goes_on else "")


def import_model(task: str, given: Sequence[str], say: Callable[[str], None]) -> Manifest:
    """Register a model that was made elsewhere as the candidate, measured where rows are stored.

    Args:
        task: the capability that it is to answer for.
        given: files, and options as `size=224x224`.
        say: is told how the model is asked, and if it could not be measured.
    """
    here, capability = settings(), catalog.find(task)
    options = dict(one.split("=", 1) for one in given if "=" in one and not Path(one).exists())
    files = files_of([one for one in given if "=" not in one or Path(one).exists()])
    try:
        rows = plan_of(capability)
    except (InvalidInput, NotFound) as error:
        say(f"It is not measured: {error}")
        rows = None
    wanted = Import(capability, files, options, rows, here.home)
    tracker, registry = Tracker(here.tracking, here.home), Registry(here.home)
    with tracker.run(task, wanted.run, options, say):
        manifest = register(wanted, say)
        registry.point("candidate", task, manifest.version)
    return manifest


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
    has = f"has {capability.objective.metric} {found.new:.4f}"
    old_has = f"{found.old:.4f} of version {old.version} in production, {found.basis}."
    worse = not capability.objective.better(found.new, found.old)
    if worse or found.refuses_more:
        how = "worse than" if worse else "but refuses more rows, beside"
        raise Conflict(
            f"Version {new.version} of {task} {has}, {how} {old_has}",
            hint="Promote it all the same with --force.",
        )
    return f"Version {new.version} {has}, beside {old_has}"


def rollback(task: str) -> str:
    """Put the version before into production again, and what it says of model views online."""
    catalog.find(task)
    registry = Registry(settings().home)
    registry.resolve(task, "production")  # where none is, it says how to get one
    return _now_in_production(task, registry.rollback(task))


def _now_in_production(task: str, manifest: Manifest) -> str:
    """That a version is, and what its model views have got or lack since it was decided on."""
    sentence = f"Version {manifest.version} of {task} is in production ({manifest.scored})."
    try:
        ready = made_ready(task, manifest.version)
    except LeptonError as error:  # the version has changed, and that must be heard
        ready = [f"What it says of views is not all online: {error}"]
    return " ".join([sentence, *ready])
