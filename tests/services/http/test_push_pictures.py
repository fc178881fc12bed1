"""A pushed picture is what a stored one would be to the models that are asked about it."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.ragged import Vector
from cluster.features.views.images import item_images
from cluster.media.pixels import encode
from cluster.registry.pool import Models
from cluster.registry.versions import Manifest, Registry
from lepton.wire import Lookup
from services.http.door import build
from services.local import catalog
from tests.support import ask, filler, manifest, plan_in, stored, trained

pytestmark = pytest.mark.slow  # it trains

TASK = "vision.embed"
PIXELS = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)  # of no size that it knows
vectors = model_view(
    "vectors", f"{TASK}@production", over=item_images, columns={"vector": Vector(64)}
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A version that learnt a little, in production."""
    home, kind = tmp_path_factory.mktemp("home"), catalog.find(TASK)
    task = trained(kind, plan_in(kind, stored(kind, home / "rows", rows=60), rows=0), home / "fit")

    def fill(folder: Path) -> Manifest:
        task.save(folder)
        return filler(manifest(TASK), {})(folder)

    made = Registry(home)
    made.write(TASK, fill)
    made.point("production", TASK, 1)
    return made


@pytest.fixture
def layer(registry: Registry, tmp_path: Path) -> Layer:
    store, online = Store(tmp_path / "features"), Online(tmp_path / "online.db")
    return Layer(Graph([item_images, vectors]), store, online, Models(registry, catalog.find))


def test_a_pushed_picture_has_the_vector_of_a_stored_one_however_it_is_sent(
    layer: Layer, tmp_path: Path
) -> None:
    sent = encode(PIXELS)
    layer.store.write(item_images, {"item_id": objects(["stored"]), "image": objects([sent])})
    layer.materialize()
    layer.push("item_images", {"item_id": objects(["bytes"]), "image": objects([sent])})
    layer.push("item_images", {"item_id": objects(["pixels"]), "image": objects([PIXELS])})
    row = {"item_id": "http", "image": base64.b64encode(sent).decode()}
    body = json.dumps({"rows": [row]}).encode()
    door = build(tmp_path, dict, lambda: layer)
    answer = ask(door, "POST", "/v1/features/item_images/push", body)
    assert answer.status_code == 200, answer.text

    keys = [{"item_id": name} for name in ("stored", "bytes", "pixels", "http")]
    asked = json.dumps({"views": ["vectors"], "keys": keys}).encode()
    found = Lookup.model_validate_json(ask(door, "POST", "/v1/features/lookup", asked).content)
    stored, *pushed = (one["vectors"].values["vector"] for one in found.results)
    assert np.linalg.norm(np.array(stored)) == pytest.approx(1, abs=1e-5)
    for vector in pushed:
        assert vector == pytest.approx(stored, abs=1e-6)


def test_a_grey_picture_without_a_third_axis_is_pushed_too(layer: Layer) -> None:
    grey = objects([PIXELS[..., 0]])
    layer.push("item_images", {"item_id": objects(["grey"]), "image": grey})
    found = layer.lookup(["vectors"], {"item_id": objects(["grey"])})
    assert found["vectors_status"].tolist() == ["present"]
