"""Stand at "/": say what is served and how to ask it; refuse the rest with a sentence."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.base.errors import Corrupt, NotFound, Unavailable, nearest
from cluster.base.settings import Settings
from cluster.features.layer import Layer
from cluster.registry.versions import Manifest, Registry
from lepton import __version__
from lepton.wire import State, TaskInfo, TaskList
from services.http.feast import Feast
from services.http.features_http import Features
from services.http.problems import HANDLERS, cross_origin, json_response, problem
from services.http.schemas import openapi, path_of, task_info
from services.local import catalog

FEATURE_PATHS = (
    "Ask /v1/features by GET; /v1/features/lookup, and /push and /nearest of a view, by POST; "
    "a view by DELETE."
)
FRESH_S = 1.0  # how old an answer about what runs may be

States = Callable[[], dict[str, State]]
"""The state of each application that Ray Serve knows, by its name."""


def build(
    home: Path,
    states: States,
    layer: Callable[[], Layer] | None = None,
    *,
    origins: Sequence[str] = (),
) -> Starlette:
    """The application at "/".

    Args:
        home: where the registry is.
        states: asks Ray Serve what runs.
        layer: makes the feature layer; by default the one in that home.
        origins: whose pages may ask.
    """
    door = Door(Discovery(Registry(home), states))
    features = Features(layer or (lambda: catalog.layer(Settings(home=home))), home)
    routes = [
        Route("/", door.root),
        Route("/healthz", door.healthz),
        Route("/readyz", door.readyz),
        Route("/v1/tasks", door.tasks),
        Route("/v1/tasks/{name}", door.task),
        Route("/openapi.json", door.schema),
        *features.routes(),
        *Feast(features).routes(),
    ]
    handlers: dict[Any, Any] = {**HANDLERS, 404: door.nothing}
    return Starlette(routes=routes, middleware=cross_origin(origins), exception_handlers=handlers)


class Door:
    """What stands at each path.

    Args:
        discovery: knows what is served.
    """

    def __init__(self, discovery: "Discovery") -> None:
        self.discovery = discovery

    async def root(self, request: Request) -> Response:
        """Where to go from here."""
        links = {"tasks": "/v1/tasks", "openapi": "/openapi.json", "ready": "/readyz"}
        links["features"] = "/v1/features"
        return json_response({"name": "lepton", "version": __version__, "links": links}, request)

    async def healthz(self, request: Request) -> Response:
        """This process answers."""
        return json_response({"status": "ok"}, request)

    async def readyz(self, request: Request) -> Response:
        """Whether all that was deployed answers."""
        found = await self.discovery.tasks()
        tasks = {task.name: task.state for task in found if task.state != "stopped"}
        ready = all(state == "ready" for state in tasks.values())
        content = {"status": "ready" if ready else "starting", "tasks": tasks}
        return json_response(content, request, status=200 if ready else 503)

    async def tasks(self, request: Request) -> Response:
        """Every capability."""
        found = TaskList(tasks=await self.discovery.tasks())
        return json_response(found.model_dump_json().encode(), request)

    async def task(self, request: Request) -> Response:
        """One capability."""
        name = request.path_params["name"]
        for found in await self.discovery.tasks():
            if found.name == name:
                return json_response(found.model_dump_json().encode(), request)
        hint = nearest(name, catalog.names())
        raise NotFound(f"There is no capability {name[:200]!r}.", hint=hint)

    async def schema(self, request: Request) -> Response:
        """The OpenAPI document."""
        return json_response(openapi(list(catalog.capabilities().values())), request)

    async def nothing(self, request: Request, error: Exception) -> Response:
        """No route fits the path."""
        del error
        sent = request.scope.get("raw_path") or request.url.path.encode()
        # as it was sent: the proxy takes `%2F` for no slash, and so for no path of a capability
        return problem(request, absent(sent.partition(b"?")[0].decode("latin-1")))


def absent(path: str) -> NotFound | Unavailable:
    """What to answer at a path where nothing is served."""
    paths = {path_of(name): name for name in catalog.names()}
    if name := paths.get(path.rstrip("/")):
        return Unavailable(
            f"{name} is not served at the moment.",
            hint=f"Serve it: python -m services deploy {name}",
            retry_after_s=2.0,
        )
    hint = FEATURE_PATHS if path.startswith("/v1/features/") else nearest(path, paths)
    return NotFound(f"There is nothing at {path[:200]!r}.", hint=hint)


class Discovery:
    """What is served, asked for at most once a second however many want to know."""

    def __init__(self, registry: Registry, states: States) -> None:
        self._registry = registry
        self._states = states
        self._lock = asyncio.Lock()
        self._known: list[TaskInfo] = []
        self._asked = float("-inf")

    async def tasks(self) -> list[TaskInfo]:
        """Every capability in the catalog with its state."""
        async with self._lock:
            if time.monotonic() - self._asked > FRESH_S:
                self._known = await asyncio.to_thread(self._look)
                self._asked = time.monotonic()
            return self._known

    def _look(self) -> list[TaskInfo]:
        states = self._states()
        infos = []
        for name, task in catalog.capabilities().items():
            state = states.get(name, "stopped")
            infos.append(task_info(task, state, None if state == "stopped" else self._served(name)))
        return infos

    def _served(self, name: str) -> Manifest | None:
        """The manifest of the version that is served; discovery outlives one that is damaged."""
        with suppress(Corrupt, NotFound):
            if served := self._registry.aliases(name).get("serving"):
                return self._registry.manifest(name, served)
        return None
