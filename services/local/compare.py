"""Compare two versions of a capability on the same rows, which neither was trained on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch
from cluster.base.errors import Conflict, InvalidInput, NotFound
from cluster.contract.split import TEST, TRAIN, draw
from cluster.contract.task import AnyTask, Evaluation
from cluster.features.offline.store import Store
from cluster.features.quality.copies import content_of
from cluster.registry.model import Model
from cluster.registry.versions import Manifest, Registry
from cluster.training.data import Plan


@dataclass(frozen=True)
class Compared:
    """What two versions score by the objective's metric.

    Args:
        new: of the version that may be promoted.
        old: of the one in production.
        basis: which rows that is measured on, as the end of a sentence.
        refuses_more: whether the new one answered fewer of these rows: no score counts the others.
    """

    new: float
    old: float
    basis: str
    refuses_more: bool = False


def compared(
    task: type[AnyTask],
    plan: Callable[[], Plan],
    store: Store,
    registry: Registry,
    *,
    new: Manifest,
    old: Manifest,
) -> Compared:
    """Measure both on the test rows that are stored now, less those that one was trained on.

    Where that cannot be, the scores count that were measured when each was trained.

    Raises:
        Conflict: one of them was never measured, and cannot be now.
    """
    try:
        rows, basis = _fresh(task, plan(), store, new, old)
        now, before = (_evaluated(task, registry, made, rows) for made in (new, old))
    except Exception as error:  # an old version may fail in any way with the code of today
        reason = str(error).rstrip(".") or type(error).__name__
        new_score, old_score = (_measured(task, made, reason) for made in (new, old))
        return Compared(
            new_score, old_score,
            "each as measured when it was trained, on rows that may not be the same, since they "
            f"cannot be compared now: {reason}",
        )  # fmt: skip
    if now.refused or before.refused:
        basis += (
            f"; of {now.rows:,} questions version {new.version} refused {now.refused:,} and "
            f"version {old.version} {before.refused:,}, which no score counts"
        )
    metric = task.objective.metric
    refuses_more = now.refused > before.refused
    return Compared(now.metrics[metric], before.metrics[metric], basis, refuses_more)


def _measured(task: type[AnyTask], made: Manifest, reason: str) -> float:
    """The score of a version where it has one; the reason is why it cannot be measured now."""
    if made.score is None:
        raise Conflict(
            f"Version {made.version} of {task.name()} was imported and never measured, so it "
            f"cannot be compared, and now: {reason}.",
            hint="Ingest rows to measure on, or promote all the same with --force.",
        )
    return made.score


def _evaluated(task: type[AnyTask], registry: Registry, made: Manifest, rows: Batch) -> Evaluation:
    """What a version scores on some rows."""
    model = Model.open(task, registry.folder(made.task, made.version))
    return model.task.evaluate(rows)


def _fresh(
    task: type[AnyTask], plan: Plan, store: Store, new: Manifest, old: Manifest
) -> tuple[Batch, str]:
    """The test rows that are new to both versions, and what they are.

    Raises:
        InvalidInput: there are none.
    """
    drawn = draw(plan.keys, [*plan.view.key, "event_time"])
    trained, notes = np.zeros(len(drawn), dtype=bool), ""
    for made in (new, old):
        learnt = _trained_on(task, store, made)
        if learnt is None:
            notes += f"; which rows version {made.version} was trained on is not known any more"
        else:
            trained |= np.isin(drawn, learnt)
    alike = plan.copies.alike
    known = np.isin(alike, alike[trained])  # a copy of what was learnt is known, too
    tested = plan.parts == TEST
    fresh = np.flatnonzero(tested & ~known)
    if not len(fresh):
        raise InvalidInput(f"one of them was trained on each of the {tested.sum():,} test rows")
    basis = f"both measured now on {len(fresh):,} test rows that neither was trained on"
    if left := int(tested.sum()) - len(fresh):
        basis += f" ({left:,} others of the test part were trained on)"
    return plan.read(fresh), basis + notes


def _trained_on(task: type[AnyTask], store: Store, made: Manifest) -> NDArray[np.float64] | None:
    """What `draw` gives for the rows that a version was trained on; None where nobody knows."""
    split = made.split or repr(task.split)
    commit = made.views.get(task.examples.name, {}).get("commit")
    if split != repr(task.split) or commit is None:
        return None
    try:
        snapshot = store.snapshot(task.examples, commit)
    except NotFound:
        return None
    # versions that do not say how their rows were split are of a time when copies were split apart
    content = content_of(task.inputs, task.examples) if made.split else ()
    then = Plan(task.examples, snapshot, task.split, resident=True, content=content)
    return then.drawn(then.mine(TRAIN))
