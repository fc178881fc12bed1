"""A Lepton of three tasks that answers with what it was asked, and time that passes at once."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from lepton import AsyncClient, Backoff, Client
from lepton.wire import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE, Schema

Answer = httpx.Response | Exception

INPUTS: dict[str, Schema] = {
    "vision.classify": {
        "$defs": {
            "Input": {
                "type": "object",
                "properties": {
                    "image": {
                        "type": "string",
                        "contentEncoding": "base64",
                        "description": "The picture [any size].",
                    },
                    "top_k": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": 10,
                        "default": 5,
                        "description": "How many labels.",
                    },
                },
                "required": ["image"],
            },
            "Keys": {"type": "object", "properties": {"item_id": {"type": "integer"}}},
        },
        "anyOf": [{"$ref": "#/$defs/Input"}, {"$ref": "#/$defs/Keys"}],
    },
    "nlp.classify": {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "lang": {"anyOf": [{"enum": ["en", "de"], "type": "string"}, {"type": "null"}]},
            "threshold": {"type": "number", "minimum": 0, "default": 0.5},
            "explain": {"type": "boolean", "default": False},
        },
        "required": ["text"],
    },
    "recsys.recommend": {
        "type": "object",
        "properties": {
            "user_id": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "k": {"type": "integer"},
            "exclude": {"type": "array", "items": {"type": "integer"}, "default": []},
            "context": {"type": "object"},
        },
        "required": ["user_id"],
    },
}


def problem(status: int, detail: str = "It is wrong.", **extensions: object) -> httpx.Response:
    """An error as Lepton writes it."""
    body = {
        "type": f"{PROBLEM_TYPE}some-code",
        "title": "Some kind of problem",
        "status": status,
        "detail": detail,
        "instance": "urn:lepton:request:r1",
        "code": "some-code",
        "request_id": "r1",
        "errors": [],
    }
    return httpx.Response(
        status,
        content=json.dumps(body | extensions),
        headers={"Content-Type": PROBLEM_MEDIA_TYPE},
    )


@dataclass
class Toy:
    """What the server does, and what it was asked.

    Attributes:
        answers: given to the next predictions, before it begins to echo.
        asked: every request, in order.
        version: of every task.
    """

    answers: list[Answer] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)
    version: Callable[[], str] = lambda: "3"
    readiness: str = "ready"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if request.method == "POST":
            return self._predict(request)
        if path.startswith("/v1/tasks/") and path.rpartition("/")[2] not in INPUTS:
            return problem(404, "No task is named that. There are three.")
        status = 503 if path == "/readyz" and self.readiness != "ready" else 200
        return httpx.Response(status, json=self._described(path))

    def client(self, **knobs: Any) -> Client:
        """A client of this server."""
        return Client("http://toy", transport=httpx.MockTransport(self), **knobs)

    def async_client(self, **knobs: Any) -> AsyncClient:
        """An asynchronous client of this server."""
        return AsyncClient("http://toy", transport=httpx.MockTransport(self), **knobs)

    def predictions(self) -> list[list[dict[str, object]]]:
        """The inputs of every prediction that was asked for."""
        return [json.loads(r.content)["inputs"] for r in self.asked if r.method == "POST"]

    def _predict(self, request: httpx.Request) -> httpx.Response:
        try:
            answer = self.answers.pop(0)
        except IndexError:
            return self._echo(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _echo(self, request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["inputs"]
        return httpx.Response(
            200,
            json={
                "model": request.url.path.removeprefix("/v1/").replace("/", "."),
                "version": self.version(),
                "outputs": [{"label": "boot", "echo": row} for row in rows],
                "request_id": request.headers["X-Request-ID"],
            },
        )

    def _described(self, path: str) -> object:
        tasks = {name: self._task(name) for name in INPUTS}
        return {
            "/healthz": {"status": "ok"},
            "/readyz": {"status": self.readiness, "tasks": dict.fromkeys(INPUTS, "ready")},
            "/v1/tasks": {"tasks": list(tasks.values())},
            **{f"/v1/tasks/{name}": task for name, task in tasks.items()},
        }[path]

    def _task(self, name: str) -> dict[str, object]:
        return {
            "name": name,
            "summary": f"Say what {name} says.",
            "url": f"/v1/{name.replace('.', '/')}",
            "version": "3",
            "state": "ready",
            "metric": {"name": "accuracy", "value": 0.93},
            "input": INPUTS[name],
            "output": {},
        }


@dataclass
class Time:
    """Time that passes only by waiting, and remembers the waits."""

    now_s: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, wait_s: float) -> None:
        """Let it pass."""
        self.waits.append(wait_s)
        self.now_s += wait_s

    def backoff(self, chance: float = 0.5) -> Backoff:
        """A backoff that lives in this time."""
        return Backoff(
            random=lambda: chance,
            clock=lambda: self.now_s,
            wall_clock=lambda: self.now_s,
            sleep=self.sleep,
        )
