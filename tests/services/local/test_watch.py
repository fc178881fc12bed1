"""Skew and drift on the command line, from a log that a replica wrote."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from cluster.base.errors import NotFound
from cluster.base.settings import settings
from cluster.contract.keys import keys_of
from cluster.features.monitoring.drift import statistics
from cluster.features.monitoring.requests import RequestLog, files
from cluster.registry.model import Model
from cluster.registry.versions import Manifest, Registry
from cluster.serving.answering import Answering
from services.__main__ import app
from services.local import catalog, watch
from tests.support import filler, manifest, plan_in, stored, trained

pytestmark = pytest.mark.slow  # it trains

TASK = "nlp.classify"
ROWS = 240


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a version of a capability and the log of what it was asked."""
    home, kind = tmp_path_factory.mktemp("home"), catalog.find(TASK)
    made = plan_in(kind, stored(kind, home / "features", rows=300), rows=0)
    kept = statistics([kind.inputs], made.sample("train", 300), {})
    task = trained(kind, made, home / "fitted")

    def fill(folder: Path) -> Manifest:
        task.save(folder)
        return filler(manifest(TASK, statistics=kept), {})(folder)

    registered = Registry(home).write(TASK, fill)
    layer = catalog.layer(settings({"LEPTON_HOME": str(home)}))
    layer.materialize(["texts"])
    requests = RequestLog(home / "requests" / TASK, share=1, limit_bytes=2**26, rows_per_s=1e9)
    model = Model.open(kind, Registry(home).folder(TASK, registered.version))
    answering = Answering(model, lambda: layer, requests)
    stored_ids = layer.store.snapshot("texts").read(layer.graph["texts"], ["text_id"])["text_id"]
    shape = keys_of(kind)
    assert shape is not None
    for first in range(0, ROWS, 8):
        ids = np.resize(stored_ids, ROWS)[first : first + 8]
        answering([shape.model_validate({"text_id": str(one)}) for one in ids])
    requests.close()
    return home


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(home))
    return home


def test_look_ups_that_agree_are_counted_and_the_status_is_0(here: Path) -> None:
    done = CliRunner().invoke(app, ["features", "check", TASK])
    assert done.exit_code == 0, done.output
    assert f"{TASK}: {ROWS} look-ups compared, 0 values differ" in done.output


def test_a_difference_is_a_row_and_the_status_is_1(here: Path, tmp_path: Path) -> None:
    path = files(here / "requests" / TASK)[0]
    whole = path.read_bytes()
    lines = [orjson.loads(line) for line in whole.splitlines()]
    lines[0]["views"]["texts"]["values"]["text"] = "something else"
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    try:
        done = CliRunner().invoke(app, ["features", "check"])
    finally:
        path.write_bytes(whole)
    assert done.exit_code == 1
    assert "something else" in done.output
    assert f"{TASK}: {ROWS} look-ups compared, 1 value differs" in done.output


def test_drift_is_told_in_words_and_drawn(here: Path) -> None:
    done = CliRunner().invoke(app, ["features", "drift", TASK])
    assert done.exit_code == 0, done.output
    assert "texts.text" in done.output
    assert "under 0.1 is steady" in done.output
    assert (here / "requests" / TASK / "drift-v1.png").read_bytes().startswith(b"\x89PNG")
    assert watch.drift(TASK).rows == ROWS


def test_where_nothing_was_logged_that_is_said(here: Path) -> None:
    with pytest.raises(NotFound, match=r"No request to vision\.classify was logged in .*LOG_SHARE"):
        watch.drift("vision.classify")
