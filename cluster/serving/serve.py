"""Serve any capability with Ray Serve: its own application, its own replicas, no torch in them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel
from ray import serve
from ray.serve.config import AutoscalingConfig

from cluster.base.code import replica_digest
from cluster.base.errors import Unavailable
from cluster.base.settings import Settings
from cluster.contract.task import AnyTask, Serving
from cluster.engine import profile
from cluster.features.monitoring.requests import RequestLog
from cluster.registry.model import Model
from cluster.registry.versions import Registry
from cluster.serving.answering import Answer, Answered, Answering, RowAnswer, answered
from cluster.serving.asgi import Quiet
from cluster.serving.batching import Batcher
from cluster.serving.health import Health
from cluster.serving.live import Live, OpenLayer
from cluster.serving.outbox import Outbox, Writer

Build = Callable[[type[AnyTask], Answer, Callable[[], int]], Any]
"""Makes the HTTP application of a capability, given what answers its inputs and which version."""

log = logging.getLogger("ray.serve")  # what a replica's log file holds

DOOR = "door"
State = Literal["ready", "starting", "stopped", "failed"]
STATES: dict[str, State] = {
    "RUNNING": "ready",
    "DEPLOYING": "starting",
    "NOT_STARTED": "starting",
    "DEPLOY_FAILED": "failed",
    "UNHEALTHY": "failed",
    "DELETING": "stopped",
}


@dataclass(frozen=True)
class Application:
    """What Ray Serve says of one application.

    Attributes:
        name: the capability, or the door.
        state: ready, starting, failed or stopped.
        version: the version that it was told to serve; 0 for the door.
        replicas: how many there are, by their state.
        message: why something does not run.
    """

    name: str
    state: State
    version: int
    replicas: dict[str, int]
    message: str


class Replica:
    """One copy of a capability's model and its HTTP application.

    Args:
        task: the capability.
        here: where the registry is, and what may be logged.
        build: makes the application.
        open_layer: opens the feature layer; called when something is looked up.
    """

    def __init__(
        self, task: type[AnyTask], here: Settings, build: Build, open_layer: OpenLayer
    ) -> None:
        profile.keep_replica_private()
        self.task = task
        self.home = here.home
        self.build = build
        self.open_layer = open_layer
        self.requests = RequestLog(
            here.requests / task.name(), share=here.log_share, limit_bytes=here.log_mb * 2**20
        )
        self.outbox = (
            Outbox(here.home / "outbox" / task.name(), open_layer) if task.writes else None
        )
        self.model: Model | None = None
        self.batcher: Batcher[BaseModel, RowAnswer] | None = None
        self.health: Health | None = None

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Load a version beside the one that answers, try it, then let it answer instead.

        Ray Serve stops a replica whose reconfigure raises, even the only one. So where a version
        answers already it goes on answering, and whoever deploys sees which one that is.
        """
        try:
            await self._take_over(config)
        except Exception:  # whatever a version may raise, it must not end what answers
            if self.model is None:
                raise
            log.exception("version %s of %s does not load", config["version"], self.task.name())

    async def _take_over(self, config: dict[str, Any]) -> None:
        folder = Registry(self.home).folder(self.task.name(), config["version"])
        model = await asyncio.to_thread(Model.open, self.task, folder)
        await asyncio.to_thread(model.probe)
        limits = self.task.serving
        answering = Answering(model, self.open_layer, self.requests, self.outbox)
        self.health = answering.health
        self.batcher = Batcher(
            answering,
            max_batch=limits.max_batch,
            max_waiting=max(limits.max_waiting, limits.max_rows),
        )
        self.model = model

    async def answer(self, inputs: Sequence[BaseModel]) -> Answered:
        """Answer one request's inputs with one version, though another takes over meanwhile.

        Raises:
            InvalidInput: nothing is known of keys that were sent; the others of the batch do not
                notice.
            Unavailable: no version is loaded, too many rows wait, or stored rows cannot be read.
        """
        if self.model is None or self.batcher is None:
            raise Unavailable(f"{self.task.name()} is still loading.", retry_after_s=1.0)
        version, batcher = self.model.manifest.version, self.batcher
        return answered(version, await batcher.answer(inputs))

    def version(self) -> int:
        """The version that answers; 0 while none does."""
        return self.model.manifest.version if self.model else 0

    async def check_health(self) -> None:
        """Return if the model answers; Ray Serve replaces the replica if it does not."""
        if self.health is not None:
            await self.health.check()

    def __serve_build_asgi_app__(self) -> Any:
        """The application, made in the replica."""
        return Quiet(self.build(self.task, self.answer, self.version))


class DoorReplica:
    """One copy of the application at "/".

    Args:
        build: makes the application.
    """

    def __init__(self, build: Callable[[], Any]) -> None:
        profile.keep_replica_private()
        self.build = build

    def __serve_build_asgi_app__(self) -> Any:
        """The application, made in the replica."""
        return Quiet(self.build())


def quiet() -> None:
    """Leave what Ray Serve tells every driver to its logs; our own sentences say it once."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)


def deploy(
    task: type[AnyTask], version: int, settings: Settings, build: Build, open_layer: OpenLayer
) -> None:
    """Serve a version, or let the running replicas change to it; returns when they run.

    Ray must be connected.

    Args:
        task: the capability.
        version: which version of it.
        settings: where the registry is.
        build: makes the HTTP application.
        open_layer: opens the feature layer in a replica.

    Raises:
        Unavailable: its replicas do not start.
        InvalidInput: it writes a view that its answers cannot fill.
        Conflict: a view that the version learnt from, or one behind it, is declared otherwise now.
    """
    quiet()
    Writer(task)  # refuses what cannot be written before anything is served
    model = Model.open(task, Registry(settings.home).folder(task.name(), version))
    for conflict in Live(model.task, open_layer, model.manifest).changed.values():
        raise conflict
    model.probe()
    path = "/v1/" + task.name().replace(".", "/")
    made = deployment(Replica, **_options(task.serving, version))
    _run(made.bind(task, settings, build, open_layer), task.name(), path)


def _options(limits: Serving, version: int) -> dict[str, Any]:
    """How Ray Serve keeps the replicas of a version."""
    return {
        "name": "replica",
        "user_config": {"version": version},
        "max_ongoing_requests": limits.max_waiting,
        "autoscaling_config": AutoscalingConfig(
            min_replicas=limits.min_replicas,
            initial_replicas=max(1, limits.min_replicas),
            max_replicas=limits.max_replicas,
            target_ongoing_requests=limits.target_ongoing,
            upscale_delay_s=5,
            downscale_delay_s=60,
            look_back_period_s=12,  # longer than the 10 s between two reports of a replica
        ),
        "ray_actor_options": {"num_cpus": 0},
        "logging_config": {"enable_access_log": False},  # a line a request is a fifth of the rate
        "health_check_period_s": 2,
        "health_check_timeout_s": 10,
        "graceful_shutdown_wait_loop_s": 0.1,
        "graceful_shutdown_timeout_s": 10,
    }


def open_door(build: Callable[[], Any]) -> None:
    """Serve the application at "/"."""
    quiet()
    door = deployment(
        DoorReplica,
        name=DOOR,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=100,
        logging_config={"enable_access_log": False},  # writing a line takes as long as a look-up
    )
    _run(door.bind(build), DOOR, "/")


def _run(application: serve.Application, name: str, path: str) -> None:
    """Serve an application at a path, and wait until it runs.

    Raises:
        Unavailable: its replicas do not start; the sentence says where it stands why.
    """
    try:
        serve.run(application, name=name, route_prefix=path)
    except RuntimeError as error:  # all that Ray Serve says of a replica that raised
        raise Unavailable(
            f"{name} does not start: {error}",
            hint=f"Why stands in `python -m services logs {name}`, and in `status`.",
        ) from error


def deployment(replica: type[Any], **options: Any) -> serve.Deployment:
    """A class of replicas that are kept as long as the code is the same.

    A new version of a model is then only a new `user_config`, which each replica loads beside the
    old one. Ray Serve would otherwise draw a new code version, and so new replicas, at every
    deploy; its public options do not let us name one.
    """
    made: Any = serve.deployment(serve.ingress()(replica))
    named: serve.Deployment = made.options(version=replica_digest(), _internal=True, **options)
    return named


def undeploy(name: str) -> None:
    """Stop serving an application; requests in flight are answered first."""
    quiet()
    serve.delete(name)


def answering(name: str) -> int:
    """The version that a replica of a capability has, asked past the proxy; 0 where none is."""
    if name not in serve.status().applications:
        return 0
    asked: int = serve.get_app_handle(name).version.remote().result(timeout_s=10)
    return asked


def applications() -> list[Application]:
    """What Ray Serve runs, by name."""
    found = []
    for name, app in sorted(serve.status().applications.items()):
        parts = list(app.deployments.values())
        replicas = {
            str(state).lower(): count
            for part in parts
            for state, count in part.replica_states.items()
            if count
        }
        message = " ".join(filter(None, [app.message, *(part.message for part in parts)]))
        state = STATES.get(app.status.value, "starting")
        found.append(Application(name, state, 0, replicas, message))
    return found
