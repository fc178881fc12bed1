"""Sounds, masks and deep pictures travel through the feature layer: pushed, looked up, drifting."""

import base64
import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.monitoring.drift import compare, measured, statistics
from cluster.features.monitoring.spelling import spelled
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.view import View
from cluster.media import DeepPicture, Mask, Media, Sound, Waveform
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from lepton.wire import Lookup
from services.http.door import build
from tests.services.goods import none
from tests.support import ask, problem

FILES: dict[str, Media] = {"sound": Sound(), "mask": Mask(), "plate": DeepPicture()}
things = View("things", ("item_id",), FILES, none)
LEVELS = np.array([[0, 300], [65_535, 7]], np.uint16)
VALUES = {
    "sound": Waveform(np.linspace(-0.5, 0.5, 80, dtype=np.float32), 8_000),
    "mask": LEVELS,
    "plate": LEVELS,
}


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    def no_models(name: str) -> type:
        raise AssertionError(name)

    store, online = Store(tmp_path / "features"), Online(tmp_path / "online.db")
    return Layer(Graph([things]), store, online, Models(Registry(tmp_path), no_models))


def sent(layer: Layer, tmp_path: Path, path: str, content: object) -> httpx.Response:
    door = build(tmp_path, dict, lambda: layer)
    return ask(door, "POST", path, json.dumps(content).encode(), content_type="application/json")


def test_files_are_pushed_and_looked_up_as_they_were_sent(layer: Layer, tmp_path: Path) -> None:
    files = {name: FILES[name].base64(value) for name, value in VALUES.items()}
    row = {"item_id": "a", **files}
    pushed = sent(layer, tmp_path, "/v1/features/things/push", {"rows": [row]})
    assert pushed.status_code == 200, pushed.text
    asked = {"views": ["things"], "keys": [{"item_id": "a"}, {"item_id": "gone"}]}
    answer = sent(layer, tmp_path, "/v1/features/lookup", asked)
    known, gone = Lookup.model_validate_json(answer.content).results
    assert known["things"].values == files
    assert gone["things"].values == dict.fromkeys(FILES)
    found = layer.lookup(["things"], {"item_id": objects(["a", "gone"])})
    assert (found["mask"][0] == LEVELS).all()
    assert (found["plate"][0] == LEVELS).all()
    assert found["mask"][1] is None
    assert found["sound"][0].rate_hz == 8_000


def test_a_broken_file_is_told_where(layer: Layer, tmp_path: Path) -> None:
    files = {name: FILES[name].base64(value) for name, value in VALUES.items()}
    for name, file, said in (
        ("sound", "?", "sound is no base64"),
        ("mask", files["sound"], "mask is not usable: The picture begins with 52 49 46 46"),
        ("sound", base64.b64encode(b"RIFF").decode(), "sound is not usable"),
    ):
        row = {"item_id": "a", **files, name: file}
        answer = sent(layer, tmp_path, "/v1/features/things/push", {"rows": [row]})
        assert said in problem(answer, 422).detail


def test_each_kind_of_file_is_measured_by_its_own_number() -> None:
    quiet = Waveform(VALUES["sound"].samples / 10, 8_000)  # type: ignore[attr-defined]
    rows = {name: objects([value] * 300) for name, value in VALUES.items()}
    later = {**rows, "sound": objects([quiet] * 300), "plate": objects([LEVELS // 9] * 300)}
    trained = statistics([things], rows, {})
    measures = {name: kept["measure"] for name, kept in trained.items()}
    assert measures == {
        "things.sound": "loudness",
        "things.mask": "marked share",
        "things.plate": "brightness",
    }
    served = measured(trained, later)
    lines = [
        dict(zip(served, values, strict=True)) for values in zip(*served.values(), strict=True)
    ]
    verdicts = {drift.feature: drift.verdict for drift in compare(trained, lines)}
    assert verdicts == {
        "things.sound": "moved much",
        "things.mask": "steady",
        "things.plate": "moved much",
    }


def test_the_request_log_keeps_digests_of_files() -> None:
    for value in VALUES.values():
        assert spelled(value).keys() == {"sha256"}
    other = Waveform(VALUES["sound"].samples, 16_000)  # type: ignore[attr-defined]
    assert spelled(other) != spelled(VALUES["sound"])
