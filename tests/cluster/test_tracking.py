"""MLflow hears of every run: parameters, curves, the version, and what failed."""

from pathlib import Path

import pytest

from cluster.tracking import Tracker
from tests.support import manifest

CURVES = [{"step": step, "epoch": step, "loss": 1 / step, "accuracy": 0.5} for step in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, about its dependencies
def test_a_run_its_curves_and_its_version_are_found_in_mlflow(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    tracker = Tracker(f"sqlite:///{tmp_path / 'tracking.db'}", tmp_path / "mlflow")
    with tracker.run("toy.side", "one", {"epochs": 3, "network": "line"}) as tracked:
        tracked.curves(CURVES)
        tracked.version(manifest(version=4), tmp_path)
    with tracker.run("toy.side", "two", {}) as again:
        again.version(manifest(version=5), tmp_path)

    client = MlflowClient(tracker.uri)
    run = client.get_run(tracked.id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "3", "network": "line"}
    assert run.data.metrics["test_accuracy"] == 0.875
    assert run.data.tags["lepton.version"] == "4"
    history = client.get_metric_history(tracked.id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    (entered,) = client.search_model_versions(f"run_id='{tracked.id}'")
    assert (entered.name, entered.tags["lepton.version"]) == ("toy.side", "4")

    with tracker.run("toy.side", "killed", {"epochs": 3}) as held:
        pass
    client.update_run(held.id, "RUNNING")  # as a killed process leaves it
    with tracker.run("toy.side", "killed", {"epochs": 3}) as resumed:
        assert resumed.id == held.id

    for error, status in ((ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")):
        with pytest.raises(error), tracker.run("toy.side", "three", {}) as failed:
            raise error
        assert client.get_run(failed.id).info.status == status
