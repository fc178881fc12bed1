"""Stored rows are named by key: looked up by the replica, logged, and held to the join."""

import json
import subprocess
from typing import Any

import httpx
import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.settings import settings
from cluster.engine.engine import Engine
from cluster.features.layer import Layer
from cluster.features.monitoring import requests
from cluster.registry.versions import Manifest
from lepton import Client
from services.http.schemas import path_of
from services.local import catalog, watch
from tests.e2e.steps import LEPTON, MARKS, NLP, RECSYS, VISION, run, until

pytestmark = MARKS


@pytest.fixture(scope="module")
def layer(served: dict[str, Manifest]) -> Layer:
    """The feature layer, with a picture and a text that were pushed just now."""
    made = catalog.layer(settings())
    picture = np.full((28, 28, 1), 200, dtype=np.uint8)
    said = {"text_id": "said", "text": "A fine thing.", "label": "good"}
    pictured = {"image_id": "pushed", "image": picture, "label": "shirt"}
    for view, row in (("texts", said), ("images", pictured)):
        made.push(view, {name: objects([value]) for name, value in row.items()})
    return made


def post(engine: Engine, task: str, *rows: dict[str, Any]) -> httpx.Response:
    return httpx.post(engine.url + path_of(task), json={"inputs": list(rows)}, timeout=30)


def test_a_pushed_picture_is_answered_by_its_id_as_if_it_were_sent(
    layer: Layer, engine: Engine
) -> None:
    answer = post(engine, VISION, {"image_id": "pushed", "top_k": 2})
    assert answer.status_code == 200, answer.text
    assert answer.json()["features"] == [{"images": "present"}]
    with Client(engine.url) as client:
        sent = client.vision.classify(image=np.full((28, 28, 1), 200, np.uint8), top_k=2)
        by_id = client.vision.classify(image_id="pushed", top_k=2)
    assert by_id == sent
    assert len(by_id.top) == 2


def test_a_text_is_answered_by_its_id_on_the_command_line_too(layer: Layer, engine: Engine) -> None:
    words = [*LEPTON, "predict", NLP, "--text-id", "said"]
    done: subprocess.CompletedProcess[str] = run(words, LEPTON_URL=engine.url)
    assert done.returncode == 0, done.stderr
    direct = post(engine, NLP, {"text": "A fine thing."}).json()["outputs"][0]
    assert json.loads(done.stdout)["label"] == direct["label"]


def test_an_unknown_id_is_refused_with_its_place_view_and_key(layer: Layer, engine: Engine) -> None:
    answer = post(engine, VISION, {"image_id": "pushed"}, {"image_id": "nobody"})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["detail"] == (
        "/inputs/1: View 'images' knows nothing of image_id 'nobody'. Push it there, or send image."
    )
    assert [fault["pointer"] for fault in problem["errors"]] == ["/inputs/1"]


def test_what_was_looked_up_is_logged_and_agrees_with_the_join(
    layer: Layer, engine: Engine
) -> None:
    post(engine, VISION, {"image_id": "pushed"})
    post(engine, NLP, {"text": "Nobody may read this."})
    folder = settings().requests / VISION
    until(lambda: bool(list(requests.read(folder))), wait_s=10, what="the log")
    report = watch.check(VISION)[VISION]
    assert report.compared
    assert report.differences == []
    assert "Nobody may read this" not in "".join(
        path.read_text() for path in settings().requests.rglob("*.jsonl")
    )


def test_drift_is_told_from_the_statistics_in_the_manifest(
    layer: Layer, served: dict[str, Manifest], engine: Engine
) -> None:
    assert served[VISION].statistics["images.image"]["measure"] == "brightness"
    assert served[RECSYS].statistics["user_history.recent_items"]["measure"] == "length"
    for _ in range(10):
        post(engine, VISION, *[{"image_id": "pushed"}] * 25)
    found = watch.drift(VISION)
    assert found.rows
    assert found.picture.read_bytes().startswith(b"\x89PNG")
    assert [drift.feature for drift in found.features] == ["images.image"]


def test_a_pushed_event_changes_what_a_newcomer_is_recommended(
    layer: Layer, engine: Engine
) -> None:
    stored = layer.store.snapshot("interactions").read(layer.graph["interactions"], ["item_id"])
    taken = [str(item) for item in dict.fromkeys(stored["item_id"].tolist())][:3]

    def push(user: str, item: str) -> None:
        row = {"user_id": user, "item_id": item, "value": 1.0}
        layer.push("interactions", {name: objects([value]) for name, value in row.items()})

    push("somebody else", taken[0])
    before = post(engine, RECSYS, {"user_id": "first timer"}).json()
    assert before["features"] == [{"user_history": "missing"}]
    for item in taken:
        push("first timer", item)
    after = post(engine, RECSYS, {"user_id": "first timer"}).json()
    assert after["features"] == [{"user_history": "present"}]
    assert before["outputs"][0]["basis"] == "popular"
    assert after["outputs"][0]["basis"] != "popular"
    assert after["outputs"][0]["items"] != before["outputs"][0]["items"]
