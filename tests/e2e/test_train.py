"""Training goes on after any kill, and is the same on one worker, on two, in memory or streamed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.base.batch import load_arrays
from cluster.base.errors import InvalidInput, NotEnough
from cluster.base.settings import settings
from cluster.contract.run import Progress
from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest, Registry
from services.cli import verbs
from tests.e2e.steps import (
    MARKS,
    NLP,
    RECSYS,
    ROOT,
    VISION,
    folder,
    objective,
    processes,
    train,
    until,
    versions,
    weights_sha256,
)

pytestmark = MARKS

LONG = ["epochs=24", "batch_size=16", "widths=8,16,32", "precision=fp32"]
"""A training of vision.classify that can be killed half way."""
WORKER = "ray::RayTrainWorker"


def run_folders() -> set[Path]:
    """The folder of each run of vision.classify, with its checkpoints."""
    return set((settings().home / "runs").glob(f"{VISION}-*"))


def steps_kept(run: Path) -> list[int]:
    """The steps at which a run's checkpoints were taken that are there now."""
    steps = []
    for path in run.glob("checkpoint*/place.json"):
        with suppress(OSError, ValueError):  # Ray writes it, or takes it away, just now
            steps.append(json.loads(path.read_bytes())["step"])
    return sorted(steps)


def only_numbers(reports: list[dict[str, float]]) -> Progress:
    """Keeps the reports of a training and not its sentences."""

    def keep(report: dict[str, float] | str) -> None:
        if not isinstance(report, str):
            reports.append(report)

    return keep


@pytest.fixture(scope="module")
def often(environment: pytest.MonkeyPatch) -> Iterator[None]:
    """Checkpoints come often enough that a kill loses little."""
    environment.setenv("LEPTON_CHECKPOINT_S", "0.2")
    yield
    environment.delenv("LEPTON_CHECKPOINT_S")


@pytest.fixture(scope="module")
def unharmed(shop: Engine, often: None, after_kill: Manifest) -> Manifest:
    """The same training with nothing in its way."""
    return train(VISION, *LONG, again=True)


@pytest.fixture(scope="module")
def after_kill(shop: Engine, often: None) -> Manifest:
    """A training whose driver was killed with its process group, then asked for again."""
    known, before = run_folders(), versions(VISION)
    words = [sys.executable, "-m", "services", "train", VISION, *LONG]
    driver = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        until(lambda: bool(run_folders() - known), wait_s=120, what="starting the run")
        (run,) = run_folders() - known
        until(lambda: len(steps_kept(run)) >= 2, wait_s=120, what="keeping two checkpoints")
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    kept = steps_kept(run)[0]  # the newest may not count yet
    assert versions(VISION) == before
    reports: list[dict[str, float]] = []
    made = train(VISION, *LONG, on_progress=only_numbers(reports))
    assert run_folders() == known  # a run that has its version needs no checkpoints
    assert made.run == run.name
    first, last = reports[0]["step"], reports[-1]["step"]
    assert kept < first < last == reports[-1]["steps"]
    assert versions(VISION) == [*before, made.version]
    return made


def test_a_killed_driver_asked_again_ends_as_if_nothing_had_happened(
    after_kill: Manifest, unharmed: Manifest
) -> None:
    assert unharmed.version != after_kill.version
    assert unharmed.metrics == pytest.approx(after_kill.metrics)
    assert weights_sha256(unharmed) == weights_sha256(after_kill)


def test_a_killed_worker_is_started_anew_and_ends_the_same(
    shop: Engine, often: None, unharmed: Manifest
) -> None:
    before, known = versions(VISION), run_folders()
    killed: list[int] = []
    reports: list[dict[str, float]] = []

    def kill_once() -> None:
        until(lambda: bool(run_folders() - known), wait_s=120, what="starting the run")
        (run,) = run_folders() - known
        until(lambda: len(steps_kept(run)) >= 2, wait_s=120, what="keeping two checkpoints")
        (worker,) = processes(shop, WORKER)
        killed.append(worker.pid)
        worker.kill()

    killer = threading.Thread(target=kill_once)
    killer.start()
    made = train(VISION, *LONG, again=True, on_progress=only_numbers(reports))
    killer.join()
    assert killed
    assert reports[-1]["step"] == reports[-1]["steps"]
    assert versions(VISION) == [*before, made.version]
    assert weights_sha256(made) == weights_sha256(unharmed)


def test_the_same_run_asked_again_is_the_version_that_is_there(shop: Engine) -> None:
    made = train(NLP)
    before, began = versions(NLP), time.monotonic()
    assert train(NLP) == made
    assert time.monotonic() - began < 5
    assert versions(NLP) == before


def test_factors_are_the_same_on_one_worker_and_on_two(shop: Engine) -> None:
    knobs = ["method=ials", "dim=16", "epochs=4", "choose=false"]
    alone, shared = (
        load_arrays(folder(train(RECSYS, *knobs, workers=workers)) / "weights.safetensors")
        for workers in (1, 2)
    )
    assert alone.keys() == shared.keys() >= {"users", "items"}
    for name, factors in alone.items():
        assert factors.size
        assert shared[name] == pytest.approx(factors, rel=0, abs=1e-4)


def test_streamed_rows_teach_as_much_as_resident_ones(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = train(NLP)
    monkeypatch.setenv("LEPTON_MEMORY_SHARE", "0")
    streamed = train(NLP)
    assert streamed.version != resident.version
    assert streamed.rows == resident.rows
    assert streamed.metrics.keys() == resident.metrics.keys()
    noise = 2 * (0.25 / resident.rows["test"]) ** 0.5  # two standard errors of a share
    assert abs(objective(NLP, streamed) - objective(NLP, resident)) < noise


def test_a_linear_classifier_is_the_same_on_one_worker_and_on_two_and_learns_from_a_stream(
    shop: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared = (train(NLP, "encoder=linear", workers=workers) for workers in (1, 2))
    arrays = [load_arrays(folder(made) / "state.safetensors") for made in (alone, shared)]
    assert arrays[0].keys() == arrays[1].keys() >= {"weights", "bias"}
    for name, array in arrays[0].items():
        assert (array == arrays[1][name]).all()
    assert alone.reference.keys() == alone.metrics.keys()
    monkeypatch.setenv("LEPTON_MEMORY_SHARE", "0")
    streamed = train(NLP, "encoder=linear")
    noise = 2 * (0.25 / alone.rows["test"]) ** 0.5
    assert abs(objective(NLP, streamed) - objective(NLP, alone)) < noise


def test_more_workers_than_cpus_is_an_error_that_says_how_many_there_are(shop: Engine) -> None:
    with pytest.raises(NotEnough, match=r"3 workers need as many CPUs; the cluster has 2\. Ask"):
        train(NLP, workers=3)


def test_two_workers_for_what_learns_on_one_is_an_error_that_says_what_to_do(
    shop: Engine,
) -> None:
    from cluster.training import train as training
    from cluster.training.recipe import Recipe
    from services.local import catalog

    class Alone(catalog.find(RECSYS)):  # type: ignore[misc]
        parallel = False

    recipe = Recipe(Alone, Alone.Config(), verbs.plan_of(Alone), settings().home, workers=2)
    with pytest.raises(InvalidInput, match=r"learns on one worker, not on 2\. Leave --workers out"):
        training.train(recipe)


def test_no_failed_training_leaves_a_version(shop: Engine) -> None:
    registry = Registry(settings().home)
    assert not list(registry.root.glob(".staging-*"))
