"""Tell MLflow about every run: its parameters, metrics, curves and the version it made."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.registry import Manifest

if TYPE_CHECKING:
    from mlflow import MlflowClient

MANY = 1_000  # metrics that MLflow takes in one call


class Tracker:
    """Runs in the tracking server, or in SQLite under the home folder.

    Args:
        uri: where MLflow keeps its runs.
        artifacts: the folder for what MLflow itself stores.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri = uri
        self.artifacts = artifacts

    @contextmanager
    def run(self, task: str, name: str, params: Mapping[str, object]) -> Iterator["TrackedRun"]:
        """Record a run from its start to its end, also when it fails or is interrupted.

        A run of that name whose process was killed goes on as the same run.
        """
        client = self._client()
        experiment = client.get_experiment_by_name(task)
        number = (
            experiment.experiment_id
            if experiment
            else client.create_experiment(task, artifact_location=self.artifacts.as_uri())
        )
        killed = client.search_runs(
            [number], f"attributes.run_name = '{name}' and attributes.status = 'RUNNING'"
        )
        started = killed[0] if killed else client.create_run(number, run_name=name)
        tracked = TrackedRun(client, started.info.run_id)
        for key, value in params.items():
            client.log_param(tracked.id, key, value)
        try:
            yield tracked
        except KeyboardInterrupt:
            client.set_terminated(tracked.id, "KILLED")
            raise
        except BaseException:
            client.set_terminated(tracked.id, "FAILED")
            raise
        client.set_terminated(tracked.id, "FINISHED")

    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient  # noqa: PLC0415 - three seconds, only where runs are kept

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        return MlflowClient(self.uri)


class TrackedRun:
    """One run in MLflow."""

    def __init__(self, client: "MlflowClient", number: str) -> None:
        self.client = client
        self.id = number

    def curves(self, points: list[dict[str, float]]) -> None:
        """Log every point of the curves at its step."""
        from mlflow.entities import Metric  # noqa: PLC0415

        metrics = [
            Metric(name, value, 0, int(point["step"]))
            for point in points
            for name, value in point.items()
            if name not in {"step", "epoch"}
        ]
        for start in range(0, len(metrics), MANY):
            self.client.log_batch(self.id, metrics=metrics[start : start + MANY])

    def version(self, manifest: Manifest, folder: Path) -> None:
        """Log the test metrics and enter the version in MLflow's model registry."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        for name, value in manifest.metrics.items():
            self.client.log_metric(self.id, f"test_{name}", value)
        self.client.set_tag(self.id, "lepton.version", str(manifest.version))
        try:
            self.client.create_registered_model(manifest.task)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        tags = {"lepton.version": str(manifest.version)}
        self.client.create_model_version(manifest.task, folder.as_uri(), self.id, tags=tags)
