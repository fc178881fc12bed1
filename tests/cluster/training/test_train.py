"""What a worker tells of its training is what `train` returns or raises, and no Ray is needed."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, length, objects
from cluster.base.errors import InvalidInput, LeptonError, NotEnough, NotFound, TooLarge
from cluster.contract.rows import Rows
from cluster.contract.run import Run
from cluster.contract.task import Reference
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.registry.versions import Manifest
from cluster.training.data import plan
from cluster.training.recipe import Recipe
from cluster.training.steps import fit, measure
from cluster.training.train import answer, manifest_of, train
from tests.support import stored
from tests.toy import Side, labelled_points

ERRORS = [
    NotFound("No weights of x are here.", hint="Fetch them."),
    NotEnough("The disk is full.", retry_after_s=2.0),
    TooLarge("Too many.", pointer="/rows", limit=3, actual=np.float64(4)),
    InvalidInput("There is one label.", hint="Two are needed."),
    LeptonError("Something of ours."),
]


class Fails(Side):
    """Raises what it is told to."""

    error: Exception

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        raise self.error


def told(task: type[Side], home: Path, *, workers: int = 1) -> Manifest:
    rows = plan(task, stored(task, home / "features", rows=100), memory_share=0.9)
    recipe = Recipe(task, task.Config.parse(["epochs=1"]), rows, home, workers=workers)
    return manifest_of(recipe, json.loads(answer(recipe, Run())))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_of_a_lone_worker_keeps_its_class_and_all_that_it_says(
    tmp_path: Path, error: LeptonError
) -> None:
    task: Any = type("Failing", (Fails,), {"error": error})
    with pytest.raises(LeptonError) as raised:
        told(task, tmp_path)
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_an_error_that_is_not_ours_comes_with_its_traceback(tmp_path: Path) -> None:
    task: Any = type("Failing", (Fails,), {"error": ZeroDivisionError("one by nothing")})
    with pytest.raises(RuntimeError, match=r"(?s)failed in its worker:.*in fit.*one by nothing"):
        told(task, tmp_path)


def test_one_of_several_workers_raises_or_the_others_would_wait(tmp_path: Path) -> None:
    task: Any = type("Failing", (Fails,), {"error": ZeroDivisionError("one by nothing")})
    with pytest.raises(ZeroDivisionError):
        told(task, tmp_path, workers=2)


def test_more_workers_than_training_rows_are_refused_before_any_is_started(tmp_path: Path) -> None:
    rows = plan(Side, stored(Side, tmp_path / "features", rows=10), memory_share=0.9)
    recipe = Recipe(Side, Side.Config(), rows, tmp_path, workers=11)
    count = rows.counts["train"]
    with pytest.raises(InvalidInput, match=rf"11 workers cannot share {count} training rows\."):
        train(recipe)


def test_a_reference_that_fails_costs_no_model(tmp_path: Path) -> None:
    def fails(_: object, train: object, test: object) -> None:
        raise ValueError("no words")

    task: Any = type("Fails", (Side,), {"reference": fails})
    rows = plan(task, stored(Side, tmp_path, rows=80), memory_share=0.9)
    run, learner = Noting(), task(task.Config())
    learner.fit(rows.rows("train"), rows.rows("valid"), run)
    learner.save(tmp_path)
    evaluation = measure(rows, learner, run)
    assert evaluation.reference is None
    assert evaluation.rows == rows.counts["test"]
    assert run.said == ["There is no reference beside it: no words"]


def test_a_trial_is_fitted_and_measured_without_test_rows_and_registers_nothing(
    tmp_path: Path,
) -> None:
    rows = plan(Side, stored(Side, tmp_path / "features", rows=200), memory_share=0.9)
    read: list[str] = []

    class Reading(type(rows)):  # type: ignore[misc]
        def rows(self, part: str, **who: int) -> Rows:
            read.append(part)
            return super().rows(part, **who)  # type: ignore[no-any-return]

    watched = Reading(**{field.name: getattr(rows, field.name) for field in fields(rows)})
    recipe = Recipe(Side, Side.Config.parse(["epochs=1"]), watched, tmp_path)
    task = fit(recipe, Run())
    (tmp_path / "trial").mkdir()
    task.save(tmp_path / "trial")
    evaluation = measure(watched, task, Run(), part="valid")
    assert evaluation.rows == rows.counts["valid"]
    assert set(read) == {"train", "valid"}
    assert not (tmp_path / "registry").exists()


class Noting(Run):
    """Notes what it is told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def test_labels_that_are_not_measured_are_told_before_learning(tmp_path: Path) -> None:
    task: Any = type("Failing", (Fails,), {"error": ERRORS[0]})
    drawn = dict(labelled_points.sample(300, np.random.default_rng(0)))
    drawn["label"] = objects(["above"] * 299 + ["below"])
    drawn["split"] = objects(["train", "test"] * 149 + ["train", "train"])
    ingest_rows(labelled_points, drawn, Store(tmp_path))
    recipe = Recipe(task, task.Config(), plan(task, Store(tmp_path), memory_share=0.9), tmp_path)
    run = Noting()
    answer(recipe, run)
    assert run.said[-1].startswith("Warning: 1 of 2 labels has no row in the test part")


@pytest.mark.slow
def test_what_a_worker_registered_is_returned(tmp_path: Path) -> None:
    made = told(Side, tmp_path)
    assert (made.task, made.version, made.workers) == (Side.name(), 1, 1)
    assert (tmp_path / "registry" / made.task / "1" / "model.onnx").exists()


class Compared(Side):
    """Has a reference that is always right, learned from thirty rows at most."""

    reference_rows = 30

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        assert length(train) == 30
        assert set(self.truth) <= set(test)
        return Reference("the line itself", {"accuracy": 1.0})


@pytest.mark.slow
def test_a_reference_that_scores_better_is_recorded_and_warned_of(tmp_path: Path) -> None:
    rows = plan(Compared, stored(Compared, tmp_path / "features", rows=100), memory_share=0.9)
    run = Noting()
    recipe = Recipe(Compared, Compared.Config.parse(["epochs=1", "lr=0.00001"]), rows, tmp_path)
    made = manifest_of(recipe, json.loads(answer(recipe, run)))
    assert made.reference == {"accuracy": 1.0}
    (warning,) = (said for said in run.said if "worse than the line itself trained on" in said)
    assert warning.startswith("Warning: ")
    card = tmp_path / "registry" / made.task / "1" / "card.md"
    assert "reference: the line itself" in card.read_text()
