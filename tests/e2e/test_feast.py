"""Feast's own client, unmodified and in an environment of its own, reads and writes a Lepton."""

import json
from pathlib import Path
from typing import Any

import pytest

import lepton
from cluster.base.settings import settings
from cluster.engine.engine import Engine
from services.local import catalog
from tests.bench.data import Absent
from tests.bench.feast import environment_of_feast
from tests.e2e.steps import MARKS, ROOT, run

pytestmark = [*MARKS, pytest.mark.slow]

AT = "2026-05-01T10:00:00"  # Feast's client takes what names no zone for UTC
PRESENT, NOT_FOUND = 1, 3  # Feast's numbers for them
FULL = {"full_feature_names": True}


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python that has Feast."""
    try:
        return environment_of_feast()
    except Absent as absent:
        pytest.skip(str(absent))


def test_feast_s_client_writes_and_reads_what_ours_does(
    python: Path, shop: Engine, tmp_path: Path
) -> None:
    layer = catalog.layer(settings())
    layer.materialize(["items", "interactions"])
    known = str(layer.store.snapshot("items").table(["item_id"])["item_id"][0])
    titles = {"item_id": ["fed", "7"], "title": ["Fed", "Seven"], "categories": [["a", "b"], ["c"]]}
    rated = {"user_id": ["u-fed"], "item_id": ["fed"], "value": [4.5]}
    keys = ["fed", known, "nowhere"]
    questions = {
        "push": {"items": {**titles, "event_timestamp": [AT, AT]}},
        "write": {"interactions": {**rated, "event_timestamp": [AT]}},
        "read": [
            {
                "features": ["items:title", "items:categories"],
                "entity_rows": [{"item_id": key} for key in keys],
            },
            {
                "features": ["items:title", "interactions:value"],
                "entity_rows": [{"item_id": "fed", "user_id": "u-fed"}],
                **FULL,
            },
            {"features": ["items:title"], "entity_rows": [{"item_id": 7}]},
        ],
    }
    several, both, number = feast(python, shop.url, questions, tmp_path)
    with lepton.Client(shop.url) as client:
        ours = client.features.lookup("items", [{"item_id": key} for key in keys])
    held = [result["items"].values for result in ours]
    assert several["values"] == {
        "item_id": keys,
        "title": [values["title"] for values in held],
        "categories": [values["categories"] for values in held],
    }
    assert several["values"]["title"][0] == "Fed"
    assert str(ours[0]["items"].event_time) == "2026-05-01 10:00:00+00:00"
    assert several["statuses"][1:] == [[PRESENT, PRESENT, NOT_FOUND]] * 2
    assert both["values"]["items__title"] == ["Fed"]
    assert both["values"]["interactions__value"] == [4.5]
    assert number["values"] == {"item_id": [7], "title": ["Seven"]}


def feast(python: Path, url: str, questions: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What Feast's client was answered."""
    (folder / "questions.json").write_text(json.dumps(questions))
    script = ROOT / "tests" / "e2e" / "feast_client.py"
    words = [str(python), str(script), url, str(folder), str(folder / "questions.json")]
    done = run(words, FEAST_USAGE="False")
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers
