"""Take the steps that several end-to-end tests take: train something tiny, find a process."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from cluster.base.settings import settings
from cluster.contract.run import Progress
from cluster.engine import host
from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest, Registry
from services.cli import verbs
from services.local import catalog

ROOT = Path(__file__).resolve().parents[2]
VISION, NLP, RECSYS = "vision.classify", "nlp.classify", "recsys.recommend"
ROWS = {VISION: 600, NLP: 1_200, RECSYS: 1_500}
TINY = {
    VISION: ["epochs=2", "batch_size=32", "widths=8,16,32", "precision=fp32"],
    NLP: ["encoder=bag", "epochs=2", "batch_size=32", "precision=fp32"],
    RECSYS: ["choose=false", "views=user_activity,item_activity"],
}
"""Knobs with which each training takes seconds."""
MARKS = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    # theirs, not ours: they warn about how they themselves use Pydantic, files and each other
    *(pytest.mark.filterwarnings(rf"ignore:::{name}\b") for name in ("ray", "mlflow", "alembic")),
]
"""What every test of these has."""
LEPTON = [sys.executable, "-c", "import sys; from lepton.cli import main; sys.exit(main())"]
"""What the `lepton` command runs."""


def train(
    task: str,
    *knobs: str,
    workers: int = 1,
    seed: int = 0,
    again: bool = False,
    on_progress: Progress = lambda _: None,
) -> Manifest:
    """A version, trained as `python -m services train` does it."""
    wanted = verbs.Training(task, knobs or TINY[task], workers=workers, seed=seed, again=again)
    return verbs.train(wanted, on_progress)


def folder(made: Manifest) -> Path:
    """The folder of a version."""
    return Registry(settings().home).folder(made.task, made.version)


def weights_sha256(made: Manifest) -> str:
    """The digest of a version's weights."""
    return hashlib.sha256((folder(made) / "weights.safetensors").read_bytes()).hexdigest()


def versions(task: str) -> list[int]:
    """The numbers of a task's versions."""
    return [made.version for made in verbs.versions(task)[0]]


def objective(task: str, made: Manifest) -> float:
    """What a version scored on the test rows."""
    return made.metrics[catalog.find(task).objective.metric]


def processes(running: Engine, name: str) -> list[psutil.Process]:
    """The engine's processes whose name begins so; a replica's is `ray::ServeReplica:<task>:...`.

    Linux keeps fifteen characters of a name, so the command line is looked at.
    """
    found = []
    for process in host.family(running.pid, running.born, running.mark):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if line and line[0].startswith(name):
            found.append(process)
    return found


def replicas(running: Engine, task: str) -> list[psutil.Process]:
    """The processes that answer for a task."""
    return processes(running, f"ray::ServeReplica:{task}:")


def until(true: Callable[[], bool], *, wait_s: float, what: str) -> float:
    """Waits until something is true; how many seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < wait_s, f"{what} took more than {wait_s:g} s"
        time.sleep(0.05)
    return time.monotonic() - began


def run(
    words: Sequence[str], *, wait_s: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """A command that ended, with what it printed; variables are added to its environment."""
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=wait_s,
        env={**os.environ, **env},  # noqa: TID251 - a child gets ours and some more
    )
