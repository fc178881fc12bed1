"""Train a capability with Ray Train: on one worker or many, resumed after any kill."""

import json
import math
import shutil
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.exceptions
import ray.train
from numpy.typing import NDArray
from ray.train import Checkpoint
from ray.train.torch import TorchTrainer

from cluster.base import signals
from cluster.base.errors import InvalidInput, LeptonError, NotEnough, error_of
from cluster.contract.run import Progress, Report, Run, Write
from cluster.contract.split import TRAIN
from cluster.registry.versions import Manifest
from cluster.training.recipe import Recipe
from cluster.training.steps import learn

POLL_S = 0.5


def train(recipe: Recipe, *, on_progress: Progress = lambda _: None) -> Manifest:
    """Train, export, evaluate the export and register it; a run that was killed goes on.

    Ray must be connected. Whether the run has its version already is for the caller to ask the
    registry: a run that has one would learn again, and get the same version.

    Args:
        recipe: what to train on which rows.
        on_progress: called with each report and each sentence of rank 0, in a thread of its own.

    Returns:
        The manifest of the version that the run made.

    Raises:
        InvalidInput: the capability cannot learn from these rows, or not on that many workers.
        NotEnough: the cluster has fewer CPUs than workers.
        LeptonError: whatever else of ours a worker raised, as it was.
        RuntimeError: the worker failed; the message ends with its traceback.
    """
    if recipe.workers > 1 and not recipe.task.parallel:
        raise InvalidInput(
            f"{recipe.task.name()} learns on one worker, not on {recipe.workers}.",
            hint="Leave --workers out.",
        )
    if recipe.workers > (rows := recipe.plan.counts[TRAIN]):
        raise InvalidInput(
            f"{recipe.workers} workers cannot share {rows} training row{'s' * (rows > 1)}.",
            hint=f"Ask for --workers {rows}, or ingest more rows.",
        )
    with mailbox(on_progress) as box:
        answered = _launch(replace(recipe, mailbox=box))
    manifest = manifest_of(recipe, json.loads(answered))
    # nobody resumes a run that has its version, and its checkpoints are larger than that
    shutil.rmtree(recipe.home / "runs" / recipe.run, ignore_errors=True)
    return manifest


def _launch(recipe: Recipe) -> str:
    """Run `work` on every worker, and return what rank 0 returned."""
    datasets = recipe.plan.datasets(recipe.workers)
    trainer: Any = TorchTrainer(  # its result does not declare what a worker returned
        work,
        train_loop_config={"recipe": recipe},
        scaling_config=scaling(recipe),
        run_config=ray.train.RunConfig(
            name=recipe.run,
            storage_path=str(recipe.home / "runs"),
            failure_config=ray.train.FailureConfig(max_failures=3),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
        datasets=dict(datasets),
        dataset_config=ray.train.DataConfig(
            datasets_to_split=[name for name in datasets if name == TRAIN]  # not those of a rank
        ),
    )
    with signals.kept():  # Ray Train takes Ctrl-C
        try:
            return str(trainer.fit().return_value)
        except ray.train.TrainingFailedError as failure:
            raise _cause(failure) from failure


def manifest_of(recipe: Recipe, answered: dict[str, Any]) -> Manifest:
    """The manifest that `answer` returned as JSON; an error that it returned is raised."""
    if refused := answered.get("refused"):
        raise error_of(**refused)
    if trace := answered.get("failed"):
        raise RuntimeError(f"{recipe.task.name()} failed in its worker:\n{trace}")
    return Manifest.model_validate(answered)


def scaling(recipe: Recipe) -> ray.train.ScalingConfig:
    """Workers and their CPUs: all there are, less one for the data tasks of a stream.

    Raises:
        NotEnough: there are fewer CPUs than workers.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    total, gpus = resources.get("CPU", 0.0), int(resources.get("GPU", 0))
    if recipe.workers > total:
        raise NotEnough(
            f"{recipe.workers} workers need as many CPUs; the cluster has {total:g}.",
            hint=f"Ask for --workers {max(1, int(total))} or add nodes.",
        )
    free = total if recipe.plan.resident else max(total / 2, total - 1)
    each = max(0.5, math.floor(free / recipe.workers * 2) / 2)
    return ray.train.ScalingConfig(
        num_workers=recipe.workers,
        use_gpu=gpus >= recipe.workers,
        resources_per_worker={"CPU": math.floor(each) or each},
    )


def work(settings: dict[Any, Any]) -> Any:
    """What every worker does; rank 0 returns the manifest, or what went wrong."""
    recipe: Recipe = settings["recipe"]
    restored = ray.train.get_checkpoint()
    with restored.as_directory() if restored else nullcontext() as folder:
        return answer(recipe, RayRun(recipe, Path(folder) if folder else None))


def answer(recipe: Recipe, run: Run) -> str:
    """Learn, and return the manifest or the error as JSON; other ranks than 0 return nothing.

    An exception is returned, not raised, so that Ray does not try again what would fail again: it
    is there for workers that are killed. One of several workers must raise it, or the others would
    wait.
    """
    try:
        manifest = learn(recipe, run)
    except Exception as error:
        if recipe.workers > 1:
            raise
        if isinstance(error, LeptonError):
            said = {"code": error.code, **vars(error), "parts": ()}  # the sum of them says enough
            return json.dumps({"refused": said}, default=float)
        return json.dumps({"failed": traceback.format_exc()})
    return manifest.model_dump_json() if manifest else ""


class RayRun(Run):
    """A worker of a Ray Train run."""

    def __init__(self, recipe: Recipe, resume: Path | None) -> None:
        from ray.train.torch import get_device  # noqa: PLC0415 - imports torch

        context = ray.train.get_context()
        super().__init__(
            rank=context.get_world_rank(),
            workers=context.get_world_size(),
            device=str(get_device()),
            seed=recipe.seed,
            resume=resume,
            checkpoint_s=recipe.checkpoint_s,
            start=recipe.start,
        )
        self._mailbox = recipe.mailbox

    def report(self, **metrics: float) -> None:
        """Send it to the process that asked for the training."""
        if self.rank == 0 and self._mailbox is not None:
            self._mailbox.put.remote(metrics)

    def say(self, sentence: str) -> None:
        """Send it to the process that asked for the training."""
        if self.rank == 0 and self._mailbox is not None:
            self._mailbox.put.remote(sentence)

    def checkpoint(self, write: Write) -> None:
        """Keep what the run would resume from; rank 0 writes, the others wait."""
        with tempfile.TemporaryDirectory() as folder:
            kept = None
            if self.rank == 0:
                write(Path(folder))
                kept = Checkpoint.from_directory(folder)
            ray.train.report({}, checkpoint=kept)

    def all_reduce(self, array: NDArray[Any]) -> NDArray[Any]:
        """The sum of every worker's array, in the order of ranks."""
        if self.workers == 1:
            return array
        return np.sum(self.all_gather(array), axis=0)  # type: ignore[no-any-return]

    def all_gather(self, value: Any) -> list[Any]:
        """Every worker's value, in the order of ranks."""
        if self.workers == 1:
            return [value]
        import torch.distributed as dist  # noqa: PLC0415 - the driver imports no torch

        values: list[Any] = [None] * self.workers
        dist.all_gather_object(values, value)
        return values

    def gather(self, value: Any) -> list[Any] | None:
        """Every worker's value on rank 0, in the order of ranks; nothing on the others."""
        if self.workers == 1:
            return [value]
        import torch.distributed as dist  # noqa: PLC0415 - the driver imports no torch

        values: list[Any] | None = [None] * self.workers if self.rank == 0 else None
        dist.gather_object(value, values)
        return values


@ray.remote(num_cpus=0)
class Mailbox:
    """Holds the reports of a run until the process that asked for it takes them."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def put(self, report: Report) -> None:
        """Leave a report."""
        self.reports.append(report)

    def take(self) -> list[Report]:
        """Every report since the last call."""
        taken, self.reports = self.reports, []
        return taken


@contextmanager
def mailbox(on_progress: Progress) -> Iterator[Any]:
    """A mailbox that a thread of this process empties into `on_progress`."""
    box = Mailbox.remote()  # type: ignore[attr-defined]
    ended = threading.Event()

    def take() -> None:
        with suppress(ray.exceptions.RayError):  # a report that is late or lost stops no training
            for report in ray.get(box.take.remote()):
                on_progress(report)

    def empty() -> None:
        while not ended.wait(POLL_S):
            take()

    thread = threading.Thread(target=empty, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        ended.set()
        thread.join()
        try:
            take()
        finally:
            ray.kill(box)


def _cause(failure: ray.train.TrainingFailedError) -> Exception:
    """Our own error out of a failed run, where a worker raised one."""
    raised = getattr(failure, "worker_failures", {}).values()
    for error in raised:
        cause = getattr(error, "cause", error)
        if isinstance(cause, LeptonError):
            return cause
    return failure
