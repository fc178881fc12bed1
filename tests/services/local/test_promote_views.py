"""A version that takes over has said by then what its predecessor had said of views."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cluster.base.batch import objects
from cluster.base.settings import settings
from cluster.features.layer import Layer
from cluster.registry.versions import Manifest, Registry
from services.__main__ import app
from services.cli import verbs
from services.http.features_http import described
from services.local import catalog
from services.local.features import listed
from tests.support import filler, manifest, plan_in, stored, trained

pytestmark = pytest.mark.slow  # it trains

TASK = "vision.embed"
VIEW = "item_image_vector"
PICTURE = np.random.default_rng(1).integers(0, 256, (28, 28, 3), np.uint8)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layer:
    """A home with two versions that learnt a little, neither of them in production."""
    kind = catalog.find(TASK)
    made = plan_in(kind, stored(kind, tmp_path / "rows", rows=60), rows=0)
    task = trained(kind, made, tmp_path / "fit")
    for number in (1, 2):

        def fill(folder: Path, number: int = number) -> Manifest:
            task.save(folder)
            return filler(manifest(TASK, run=f"r{number}"), {})(folder)

        Registry(tmp_path / "home").write(TASK, fill)
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return catalog.layer(settings())


def push(layer: Layer, item: str) -> None:
    layer.push("item_images", {"item_id": objects([item]), "image": objects([PICTURE])})


def test_a_view_by_alias_is_never_empty_while_versions_change(here: Layer) -> None:
    asked = {"item_id": objects(["p1", "p2"])}
    push(here, "p1")
    said = verbs.promote(TASK, "1", force=True)
    assert said == (
        "Version 1 of vision.embed is in production (accuracy 0.8750). item_image_vector is not "
        "online; to bring it: python -m services materialize item_image_vector"
    )
    here.materialize([VIEW])
    assert here.lookup([VIEW], asked)[f"{VIEW}_status"].tolist() == ["present", "missing"]
    before = next(one for one in listed(here) if one.view.name == VIEW)

    said = verbs.promote(TASK, "2", force=True)
    assert said == (
        "item_image_vector: 1 row of version 2 brought online. "
        "Version 2 of vision.embed is in production (accuracy 0.8750)."
    )
    assert here.lookup([VIEW], asked)[f"{VIEW}_status"].tolist() == ["present", "missing"]
    after = next(one for one in listed(here) if one.view.name == VIEW)
    assert (before.release, after.release) == (1, 2)
    assert before.version != after.version
    assert (after.rows, described(here, after).release) == (1, 2)
    assert f"{after.version} of model 2" in CliRunner().invoke(app, ["features"]).output

    push(here, "p2")  # which version 1 is not asked about any more
    assert "item_image_vector: 1 row of version 1 brought online" in verbs.rollback(TASK)
    assert here.lookup([VIEW], asked)[f"{VIEW}_status"].tolist() == ["present", "present"]


def test_a_version_that_cannot_be_asked_does_not_take_over(here: Layer) -> None:
    verbs.promote(TASK, "1", force=True)
    push(here, "p1")
    folder = Registry(settings().home).folder(TASK, 2)
    next(folder.glob("*.onnx")).write_bytes(b"nothing")
    done = CliRunner().invoke(app, ["promote", TASK, "2", "--force"])
    assert done.exit_code != 0
    assert Registry(settings().home).aliases(TASK)["production"] == 1
    asked = {"item_id": objects(["p1"])}
    assert here.lookup([VIEW], asked)[f"{VIEW}_status"].tolist() == ["present"]
