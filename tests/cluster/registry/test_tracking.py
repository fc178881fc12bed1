"""MLflow hears of every run: parameters, curves, the version, what failed, and what came late."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.engine.host import free_port
from cluster.registry.tracking import Tracker
from cluster.registry.versions import Manifest, Registry
from tests.support import filler, manifest

CURVES = [{"step": step, "epoch": step, "loss": 1 / step, "accuracy": 0.5} for step in (1, 2, 3)]
AWAY = "Versions are kept all the same, and told to MLflow with the next training."

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # MLflow's own, about its dependencies
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def tracker(home: Path) -> Tracker:
    """One for all: MLflow takes seconds to make its tables."""
    return Tracker(f"sqlite:///{home / 'tracking.db'}", home)


def register(home: Path, run: str) -> Manifest:
    """What a worker does at the end of a training."""
    made = manifest(run=run)
    return Registry(home).write(
        made.task, filler(made, {"curves.json": json.dumps(CURVES).encode()})
    )


def runs(tracker: Tracker, name: str) -> list[Any]:
    client = tracker.client()
    experiment = client.get_experiment_by_name("toy.side")
    assert experiment
    return list(client.search_runs([experiment.experiment_id], f"run_name = '{name}'"))


def assert_told(tracker: Tracker, made: Manifest) -> None:
    client = tracker.client()
    (run,) = runs(tracker, made.run)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "3", "lr": "0.05"}
    assert run.data.metrics["test_accuracy"] == 0.875
    assert run.data.tags["lepton.version"] == str(made.version)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    (entered,) = client.search_model_versions(f"run_id='{run.info.run_id}'")
    assert (entered.name, entered.tags["lepton.version"]) == ("toy.side", str(made.version))
    assert Path(entered.tags["lepton.folder"], "curves.json").exists()


def test_a_run_its_curves_and_its_version_are_found_in_mlflow(tracker: Tracker, home: Path) -> None:
    for name in ("one", "two"):
        with tracker.run("toy.side", name, {"epochs": 3, "lr": 0.05}):
            made = register(home, name)
        assert_told(tracker, made)
    assert list(tracker.untold.iterdir()) == []


def test_a_killed_run_goes_on_as_the_same_run(tracker: Tracker, home: Path) -> None:
    unfinished = tracker.run("toy.side", "killed", {"epochs": 3})
    unfinished.__enter__()  # and then its process is killed
    with tracker.run("toy.side", "killed", {"epochs": 3}):
        made = register(home, "killed")
    assert_told(tracker, made)


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_that_ends_early_is_told_as_that(
    tracker: Tracker, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), tracker.run("toy.side", status, {}):
        raise error
    (run,) = runs(tracker, status)
    assert run.info.status == status
    assert (tracker.untold / f"{status}.json").exists() == (status == "KILLED")  # it may go on


def test_a_version_whose_process_ended_before_it_was_told_is_told_once_at_the_next_chance(
    tracker: Tracker, home: Path
) -> None:
    unfinished = tracker.run("toy.side", "ended", {"epochs": 3})
    unfinished.__enter__()
    made = register(home, "ended")  # and then its process is killed
    note = tracker.untold / "ended.json"
    kept = note.read_bytes()
    Tracker(tracker.uri, home).catch_up()
    assert_told(tracker, made)
    assert not note.exists()
    note.write_bytes(kept)  # as when it is killed once more, before it removes the note
    Tracker(tracker.uri, home).catch_up()
    assert_told(tracker, made)
    assert not note.exists()


def test_a_server_that_is_away_is_one_sentence_and_the_version_is_told_later(
    tracker: Tracker, home: Path
) -> None:
    said: list[str] = []
    url = f"http://127.0.0.1:{free_port()}"
    away = Tracker(url, home)
    with away.run("toy.side", "alone", {"epochs": 3, "lr": 0.05}, said.append):
        made = register(home, "alone")
    assert [sentence.removeprefix(f"MLflow at {url} was not told ") for sentence in said] == [
        f"that alone began: nothing answers there. {AWAY}",
        f"of toy.side version {made.version}: nothing answers there. {AWAY}",
    ]
    said.clear()
    with pytest.raises(ValueError, match="its own"), away.run("toy.side", "bad", {}, said.append):
        raise ValueError("its own")
    assert len(said) == 2
    said.clear()
    tracker.catch_up(said.append)
    assert said == []
    assert_told(tracker, made)


class Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"Who are you?")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_that_refuses_is_quoted(refusing: str, tmp_path: Path) -> None:
    said: list[str] = []
    with Tracker(refusing, tmp_path).run("toy.side", "one", {}, said.append):
        pass
    (sentence,) = said
    assert sentence.startswith(f"MLflow at {refusing} was not told that one began: API request to")
    assert "401" in sentence
    assert sentence.endswith(AWAY)
