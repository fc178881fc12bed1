"""Two versions are compared on the same rows, and it is said which these are."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, LeptonError
from cluster.contract.run import Run
from cluster.contract.split import ByKey, Split
from cluster.features.offline.store import Store
from cluster.registry.model import Model
from cluster.registry.versions import Manifest, Registry
from cluster.training.data import Plan, plan
from cluster.training.recipe import Recipe
from cluster.training.train import answer, manifest_of
from services.local.compare import Compared, compared
from tests.toy import Output, Side, draw, labelled_points

CHOOSY = 0.2
pytestmark = pytest.mark.slow  # it trains


class Measured(Side):
    """The toy, of which many points are measured."""

    split: ClassVar[Split] = ByKey(valid=0.0, test=0.3)

    def predict(self, batch: Batch) -> Sequence[Output | LeptonError]:
        """The toy's answers; with another dropout it refuses what lies to the left."""
        outputs = super().predict(batch)
        if self.config.dropout != CHOOSY:
            return outputs
        refusal = InvalidInput("x is too far to the left.")
        return [
            refusal if x < -0.5 else output for x, output in zip(batch["x"], outputs, strict=True)
        ]


class World:
    """A home with some points and the versions that were trained on them."""

    def __init__(self, home: Path) -> None:
        self.home, self.store, self.registry = home, Store(home / "features"), Registry(home)

    def add(self, count: int, *, start: int = 0, split: str = "", turned: bool = False) -> None:
        rows = dict(draw(count, np.random.default_rng(start)))
        other = {"above": "below", "below": "above"}
        rows["point_id"] = objects(f"p{start + number}" for number in range(count))
        rows["split"] = objects([split] * count)
        if turned:  # what is learnt of these is wrong of the others
            rows["label"] = objects(map(other.__getitem__, rows["label"]))
        self.store.write(labelled_points, rows)

    def plan(self) -> Plan:
        return plan(Measured, self.store, memory_share=0.9)

    def train(self, *knobs: str, seed: int = 0) -> Manifest:
        config = Measured.Config.parse(["epochs=6", "precision=fp32", *knobs])
        recipe = Recipe(Measured, config, self.plan(), self.home, seed=seed)
        return manifest_of(recipe, json.loads(answer(recipe, Run(seed=seed))))

    def compare(self, new: Manifest, old: Manifest) -> tuple[float, float, str]:
        found = self.full(new, old)
        return found.new, found.old, found.basis

    def full(self, new: Manifest, old: Manifest) -> Compared:
        return compared(Measured, self.plan, self.store, self.registry, new=new, old=old)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_both_are_measured_on_the_test_rows_of_now(world: World) -> None:
    world.add(120, turned=True)
    old = world.train()
    assert old.split == repr(Measured.split)
    world.add(1_000, start=1_000)
    new = world.train()
    rows = world.plan().rows("test").whole()
    scores = []
    for made in (new, old):
        model = Model.open(Measured, world.registry.folder(made.task, made.version))
        scores.append(model.task.evaluate(rows).metrics["accuracy"])
    found = world.compare(new, old)
    assert found[:2] == tuple(scores)
    assert found[0] > found[1]
    assert (
        old.metrics["accuracy"] > 0.8 > found[1]
    )  # on the few rows of then the old one looked good
    assert (
        found[2] == f"both measured now on {len(rows['x'])} test rows that neither was trained on"
    )


def test_rows_that_one_was_trained_on_are_left_out(world: World) -> None:
    world.add(400)
    old = world.train()
    trained = set(world.plan().rows("train").whole()["point_id"])
    world.add(300, split="test")
    world.add(400, start=1_000, split="train")
    new = world.train()
    now = set(world.plan().rows("test").whole()["point_id"])
    assert len(now & trained) > 100
    assert world.compare(new, old)[2] == (
        f"both measured now on {len(now - trained)} test rows that neither was trained on "
        f"({len(now & trained)} others of the test part were trained on)"
    )


def test_rows_that_a_version_refuses_are_counted_beside_the_scores(world: World) -> None:
    world.add(400)
    old, new = world.train(), world.train(f"dropout={CHOOSY}")
    rows = world.plan().rows("test").whole()["x"]
    told = (
        f"both measured now on {len(rows)} test rows that neither was trained on; of {len(rows)} "
        f"questions version 2 refused {(rows < -0.5).sum()} and version 1 0, which no score counts"
    )
    assert world.compare(new, old)[2] == told
    assert world.full(new, old).refuses_more
    assert not world.full(old, new).refuses_more


def test_what_cannot_be_measured_is_told_with_its_reason(world: World) -> None:
    world.add(400)
    old, new = world.train(), world.train(seed=1)
    (world.registry.root / old.task / str(old.version) / "model.onnx").write_bytes(b"x")
    scores = world.compare(new, old)
    assert scores[:2] == (new.score, old.score)
    assert scores[2].startswith("each as measured when it was trained, on rows that may not be")
    assert f"model.onnx of {old.task} version {old.version} is not what was written" in scores[2]


def test_that_nobody_knows_what_a_version_was_trained_on_is_told(world: World) -> None:
    world.add(400)
    old, new = world.train(), world.train(seed=1)
    other = replace(Measured.split, test=0.5)
    basis = world.compare(new, old.model_copy(update={"split": repr(other)}))[2]
    assert basis.endswith("; which rows version 1 was trained on is not known any more")
