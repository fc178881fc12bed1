"""Stand at "/": say what is served and how to ask it; refuse the rest with a sentence."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.errors import NotFound, Unavailable, nearest
from cluster.registry import Registry
from lepton import __version__
from lepton.wire import State, TaskInfo, TaskList
from services import catalog
from services.http import HANDLERS, json_response
from services.schemas import openapi, path_of, task_info

FRESH_S = 1.0  # how old an answer about what runs may be

States = Callable[[], dict[str, State]]
"""The state of each application that Ray Serve knows, by its name."""


def build(home: Path, states: States) -> Starlette:
    """The application at "/".

    Args:
        home: where the registry is.
        states: asks Ray Serve what runs.
    """
    view = Overview(Registry(home), states)

    async def root(request: Request) -> Response:
        links = {"tasks": "/v1/tasks", "openapi": "/openapi.json", "ready": "/readyz"}
        return json_response({"name": "lepton", "version": __version__, "links": links}, request)

    async def healthz(request: Request) -> Response:
        return json_response({"status": "ok"}, request)

    async def readyz(request: Request) -> Response:
        tasks = {task.name: task.state for task in await view.tasks() if task.state != "stopped"}
        ready = all(state == "ready" for state in tasks.values())
        content = {"status": "ready" if ready else "starting", "tasks": tasks}
        return json_response(content, request, status=200 if ready else 503)

    async def tasks(request: Request) -> Response:
        found = TaskList(tasks=await view.tasks())
        return json_response(found.model_dump_json().encode(), request)

    async def task(request: Request) -> Response:
        name = request.path_params["name"]
        for found in await view.tasks():
            if found.name == name:
                return json_response(found.model_dump_json().encode(), request)
        raise NotFound(f"There is no capability {name!r}.", hint=nearest(name, catalog.names()))

    async def schema(request: Request) -> Response:
        return json_response(openapi(list(catalog.capabilities().values())), request)

    async def nothing(request: Request) -> Response:
        raise absent(request.url.path)

    routes = [
        Route("/", root),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/v1/tasks", tasks),
        Route("/v1/tasks/{name}", task),
        Route("/openapi.json", schema),
        Route("/{path:path}", nothing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
    return Starlette(routes=routes, exception_handlers=HANDLERS)  # type: ignore[arg-type]


def absent(path: str) -> NotFound | Unavailable:
    """What to answer at a path where nothing is served."""
    paths = {path_of(name): name for name in catalog.names()}
    if name := paths.get(path.rstrip("/")):
        return Unavailable(
            f"{name} is not served at the moment.",
            hint=f"Serve it: python -m services deploy {name}",
            retry_after_s=2.0,
        )
    return NotFound(f"There is nothing at {path[:200]!r}.", hint=nearest(path, paths))


class Overview:
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
            served = self._registry.aliases(name).get("serving")
            shown = served if state != "stopped" else None
            manifest = self._registry.manifest(name, shown) if shown else None
            infos.append(task_info(task, state, manifest))
        return infos
