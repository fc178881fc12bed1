"""The steps of a training: fit, measure a part, register; a search stops after the second."""

import platform
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cluster.base.code import capability_digest
from cluster.contract.keys import sent_columns
from cluster.contract.run import Run
from cluster.contract.split import TEST, TRAIN, VALID
from cluster.contract.task import AnyTask, Evaluation
from cluster.features.monitoring.drift import Statistics, statistics
from cluster.registry.card import below_reference, write_card
from cluster.registry.versions import Manifest, Registry, now
from cluster.training.data import Plan
from cluster.training.recipe import Recipe

RECORDED = ("numpy", "onnxruntime", "pyarrow", "ray", "scikit-learn", "torch", "transformers")
STATISTICS_ROWS = 5_000


def learn(recipe: Recipe, run: Run) -> Manifest | None:
    """Fit on this worker's rows; rank 0 then measures the exported model and registers it."""
    task = fit(recipe, run)
    return register(recipe, task, run) if run.rank == 0 else None


def fit(recipe: Recipe, run: Run) -> AnyTask:
    """Learn from this worker's training rows, watching by validation rows; no test row is read."""
    task = recipe.task(recipe.config)
    if run.rank == 0:
        for sentence in recipe.plan.warnings(task.truth):
            run.say(f"Warning: {sentence}")
    train_rows = recipe.plan.rows(TRAIN, rank=run.rank, workers=run.workers)
    run.tables = recipe.plan.whole()
    task.fit(train_rows, recipe.plan.rows(VALID), run)
    return task


def register(recipe: Recipe, task: AnyTask, run: Run) -> Manifest:
    """Write the version: files, what they scored on the test rows, and the card."""

    def fill(folder: Path) -> Manifest:
        task.save(folder)
        evaluation = measure(recipe.plan, recipe.task.load(folder), run)
        if warning := below_reference(task, evaluation):
            run.say(f"Warning: {warning}")
        manifest = Manifest(
            task=task.name(),
            version=0,
            created=now(),
            run=recipe.run,
            config=task.config.used(),  # fit may have chosen
            metrics=evaluation.metrics,
            reference=evaluation.reference.metrics if evaluation.reference else {},
            objective=task.objective.metric,
            direction=task.objective.direction,
            rows=recipe.plan.counts,
            views=recipe.plan.views,
            split=repr(recipe.plan.split),
            seed=recipe.seed,
            workers=recipe.workers,
            code=capability_digest(recipe.task),
            statistics=statistics_of(recipe),
            packages={
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in RECORDED},
            },
        )
        curves = getattr(task, "curves", [])
        warnings = [*recipe.plan.warnings(task.truth), *filter(None, [warning])]
        summary = task.summary()
        write_card(folder, manifest, evaluation, curves, summary=summary, warnings=warnings)
        return manifest

    return Registry(recipe.home).write(task.name(), fill)


def measure(plan: Plan, artefact: AnyTask, run: Run, *, part: str = TEST) -> Evaluation:
    """Score an artefact on the rows of a part, and the reference on the same rows.

    A reference that fails is said and left out: it must not cost the trained model.

    Args:
        plan: what it learnt from.
        artefact: was saved.
        run: `say` reports a reference that fails.
        part: a search measures its trials on `valid`, so that none of them is chosen by the test.
    """
    rows = plan.rows(part).whole()
    evaluation = artefact.evaluate(rows)
    train = plan.sample(TRAIN, artefact.reference_rows)
    try:
        return replace(evaluation, reference=artefact.reference(train, rows))
    except Exception as error:
        run.say(f"There is no reference beside it: {error or type(error).__name__}")
        return evaluation


def statistics_of(recipe: Recipe) -> Statistics:
    """Statistics of request columns and features over training rows, to measure drift against.

    Live views are evaluated as of the last training row: what a request right after it would see.
    """
    task, plan = recipe.task, recipe.plan
    names = [name for name in sent_columns(task) if name not in task.truth]
    views = [*([task.inputs.only(*names)] if names else ()), *plan.features]
    sample = plan.sample(TRAIN, STATISTICS_ROWS)
    called = task.feature_names()
    lived: dict[str, NDArray[Any]] = {}
    for name, columns in plan.lived(sample).items():
        lived |= {here: columns[column] for column, here in called[name].items()}
        lived[f"{name}_missing"] = columns[f"{name}_missing"]
    live = [view for view in plan.live if f"{view.name}_missing" in lived]
    return {**statistics(views, sample, called), **statistics(live, lived, called)}
