"""Tell MLflow about every run: its parameters, metrics, curves and the version it made."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.base import durable
from cluster.base.settings import environment, export
from cluster.registry.versions import Manifest, Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MANY = 1_000  # metrics that MLflow takes in one call
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""What MLflow hears unless the environment says otherwise: it would try for minutes."""

Say = Callable[[str], None]


class Tracker:
    """Runs in the tracking server, or in SQLite under the home folder.

    The registry holds the truth, and MLflow is told of it. A note of each run stands on the disk
    from before the run begins until MLflow knows the version that it made: so it is told also when
    this process ends, or the server is away, at the wrong moment.

    Args:
        uri: where MLflow keeps its runs.
        home: Lepton's home; what MLflow itself stores goes into its folder `mlflow`.
    """

    def __init__(self, uri: str, home: Path) -> None:
        self.uri = uri
        self.artifacts = home / "mlflow"
        self.untold = self.artifacts / "untold"
        self.registry = Registry(home)

    @contextmanager
    def run(
        self, task: str, name: str, params: Mapping[str, object], say: Say = lambda _: None
    ) -> Iterator[None]:
        """Record a run from its start to its end, also when it fails or is interrupted.

        A run of that name whose process was killed goes on as the same run. A server that is away
        stops no training: `say` gets a sentence about it.
        """
        note = self.untold / f"{name}.json"
        self.untold.mkdir(parents=True, exist_ok=True)
        durable.write(note, json.dumps({"task": task, "run": name, "began_ms": _now_ms()}))
        with self._unless_away(lambda why: say(self._untold(f"that {name} began", why))):
            client, number = self._reached(task)
            run = _running(client, number, name)
            _log_params(client, run or client.create_run(number, run_name=name), params)
        try:
            yield
        except BaseException as error:
            with self._unless_away(lambda why: say(self._untold(f"that {name} ended", why))):
                client, number = self._reached(task)
                if run := _running(client, number, name):
                    ended = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                    client.set_terminated(run.info.run_id, ended)
            if not isinstance(error, KeyboardInterrupt) and not self.registry.of_run(task, name):
                note.unlink(missing_ok=True)  # there is nothing that could be told later
            raise
        self.catch_up(say)

    def catch_up(self, say: Say = lambda _: None) -> None:
        """Tell MLflow of every version that it was not told of yet.

        If the server is away, `say` gets a sentence, and the next call tells what is left.
        """
        if not self.untold.is_dir():
            return
        left: dict[str, str] = {}
        with durable.lock(self.artifacts / "untold.lock"):
            for path in sorted(self.untold.glob("*.json")):
                note = json.loads(path.read_bytes())
                if made := self.registry.of_run(note["task"], note["run"]):
                    name = f"{made.task} version {made.version}"
                    with self._unless_away(partial(left.__setitem__, name)):
                        self._tell(made, note["began_ms"])
                        path.unlink()
        for why in dict.fromkeys(left.values()):
            names = ", ".join(name for name, reason in left.items() if reason == why)
            say(self._untold(f"of {names}", why))

    def client(self) -> "MlflowClient":
        """A client of the tracking server."""
        export(**{name: environment().get(name, value) for name, value in PATIENCE.items()})
        from mlflow import MlflowClient  # noqa: PLC0415 - three seconds, only where runs are kept

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns before it tries again
        return MlflowClient(self.uri)

    def _reached(self, task: str) -> tuple["MlflowClient", str]:
        """A client, and the number of the task's experiment."""
        client = self.client()
        if experiment := client.get_experiment_by_name(task):
            return client, experiment.experiment_id
        return client, client.create_experiment(task, artifact_location=self.artifacts.as_uri())

    def _tell(self, made: Manifest, began_ms: int) -> None:
        """Bring the run that made a version to its end. What MLflow knows is not told twice."""
        client, number = self._reached(made.task)
        run = _newest(client, number, made) or client.create_run(
            number, run_name=made.run, start_time=began_ms
        )
        folder = self.registry.root / made.task / str(made.version)
        _log_params(client, run, made.config)
        _log_metrics(client, run, made, folder)
        client.set_tag(run.info.run_id, "lepton.version", str(made.version))
        _enter(client, run, made, folder)
        client.set_terminated(run.info.run_id, "FINISHED", end_time=_ms(made))

    def _untold(self, what: str, why: str) -> str:
        return (
            f"MLflow at {self.uri} was not told {what}: {why}. "
            "Versions are kept all the same, and told to MLflow with the next training."
        )

    @contextmanager
    def _unless_away(self, because: Callable[[str], None]) -> Iterator[None]:
        """Take down why MLflow does not answer, or will not, instead of raising it."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - what MLflow keeps runs with

        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            silent = isinstance(error.__context__, OSError)  # how requests says it
            because("nothing answers there" if silent else str(error).splitlines()[0].rstrip("."))


def _running(client: "MlflowClient", number: str, name: str) -> "Run | None":
    """The run of that name that has not ended; its process may have been killed."""
    wanted = f"attributes.run_name = '{name}' and attributes.status = 'RUNNING'"
    return next(iter(client.search_runs([number], wanted)), None)


def _newest(client: "MlflowClient", number: str, made: Manifest) -> "Run | None":
    """The run that made a version, if it was told that it began."""
    order = ["attributes.start_time DESC"]
    found = client.search_runs([number], f"attributes.run_name = '{made.run}'", order_by=order)
    told = (run.data.tags.get("lepton.version", str(made.version)) for run in found[:1])
    return found[0] if str(made.version) in told else None


def _log_params(client: "MlflowClient", run: "Run", params: Mapping[str, object]) -> None:
    for name, value in params.items():
        if name not in run.data.params:
            client.log_param(run.info.run_id, name, value)


def _log_metrics(client: "MlflowClient", run: "Run", made: Manifest, folder: Path) -> None:
    """Log what was measured on the test rows, and every point of the curves at its step.

    A metric of the same time and step is the same to MLflow, so it may be told again.
    """
    from mlflow.entities import Metric  # noqa: PLC0415

    curves = folder / "curves.json"
    points: list[dict[str, Any]] = json.loads(curves.read_bytes()) if curves.exists() else []
    metrics = [
        Metric(f"{kind}_{name}", value, _ms(made), 0)
        for kind, measured in (("test", made.metrics), ("reference", made.reference))
        for name, value in measured.items()
    ]
    metrics += [
        Metric(name, value, 0, int(point["step"]))
        for point in points
        for name, value in point.items()
        if name not in {"step", "epoch"}
    ]
    for start in range(0, len(metrics), MANY):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + MANY])


def _enter(client: "MlflowClient", run: "Run", made: Manifest, folder: Path) -> None:
    """Enter the version in MLflow's registry of models."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.create_registered_model(made.task)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if not client.search_model_versions(f"run_id='{run.info.run_id}'"):
        # a server refuses the path of a folder that is not the run's own
        source = f"lepton:/{made.task}/{made.version}"
        tags = {"lepton.version": str(made.version), "lepton.folder": str(folder)}
        client.create_model_version(made.task, source, run.info.run_id, tags=tags)


def _ms(made: Manifest) -> int:
    return int(made.created.timestamp() * 1_000)


def _now_ms() -> int:
    return int(time.time() * 1_000)
