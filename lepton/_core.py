"""Everything that a call to Lepton consists of, except for waiting: requests, retries, answers.

The core is written once, as coroutines over a ``Network``. The asynchronous client awaits them. The
synchronous client lends a network whose coroutines never suspend, so that one step runs them to
their end.
"""

import itertools
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Protocol, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from lepton._fields import input_fields
from lepton._inputs import Fields, Row, batch_of, to_wire
from lepton._retry import RETRIED_STATUSES, Backoff, retry_after_s
from lepton.errors import (
    APIStatusError,
    BadType,
    BadValue,
    ConnectError,
    InvalidInput,
    LeptonError,
    TimedOut,
    UnexpectedAnswer,
    status_error,
)
from lepton.wire import (
    REQUEST_ID_HEADER,
    Health,
    Output,
    Prediction,
    Problem,
    Readiness,
    TaskInfo,
    TaskList,
)

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)
Job = Callable[[], Awaitable[T]]

CONNECT_TIMEOUT_S = 5.0
TEXT_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where Lepton is, and how patiently to ask it. ``Client`` says what the knobs mean."""

    url: str
    timeout_s: float
    retries: int
    chunk_size: int
    backoff: Backoff

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise BadValue(f"The url is {self.url!r}. Begin it with http:// or https://.")
        if self.timeout_s <= 0:
            raise BadValue(f"timeout_s is {self.timeout_s}. Give more than 0 seconds.")
        if self.retries < 0:
            raise BadValue(f"retries is {self.retries}. Give 0 to ask once, or more.")
        if self.chunk_size < 1:
            raise BadValue(f"chunk_size is {self.chunk_size}. Give 1 or more.")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before it is one of httpx."""

    method: str
    path: str
    body: bytes | None = None
    request_id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that are this request's own."""
        headers = {REQUEST_ID_HEADER: self.request_id}
        return headers if self.body is None else headers | {"Content-Type": "application/json"}


class Network(Protocol):
    """What a client lends the core: the three places where it may have to wait."""

    async def send(self, call: Call, timeout: httpx.Timeout) -> httpx.Response:
        """Send one request and read the answer."""

    async def sleep(self, wait_s: float) -> None:
        """Wait."""

    async def gather(self, jobs: Sequence[Job[T]]) -> list[T]:
        """Run all jobs, some at the same time; the results come in the order of the jobs."""


class Core:
    """The calls, on whatever network it is lent."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self._network = network
        self._settings = settings
        self._known: dict[str, TaskInfo] = {}

    async def call(self, task: str, arguments: Row) -> Output | list[Output]:
        """Predict for arguments: lists in, list out."""
        fields = await self._fields(task)
        batch = batch_of(arguments, fields)
        prediction = await self.predict(task, [arguments] if batch is None else batch)
        return prediction.outputs[0] if batch is None else prediction.outputs

    async def predict(self, task: str, inputs: Sequence[Row]) -> Prediction:
        """Predict for rows, in chunks, as if it were one request."""
        if isinstance(inputs, Mapping | str):
            raise BadType(f"inputs is a {type(inputs).__name__}. Give a list of dicts.")
        fields = await self._fields(task)
        size = self._settings.chunk_size
        request_id = uuid4().hex  # one for all chunks and tries: they are one call
        try:
            parts = await self._network.gather(
                [
                    partial(
                        self._predict_chunk, task, inputs[at : at + size], at, fields, request_id
                    )
                    for at in range(0, len(inputs), size)
                ]
            )
        except InvalidInput:
            self._known.pop(task, None)  # the schema may be older than what is deployed by now
            raise
        # while a new version is rolled out, chunks may meet both
        versions = dict.fromkeys(part.version for part in parts)
        return Prediction(
            model=parts[0].model if parts else task,
            version=",".join(versions) or self._known[task].version or "",
            outputs=[output for part in parts for output in part.outputs],
            request_id=parts[0].request_id or request_id if parts else request_id,
        )

    async def tasks(self) -> list[TaskInfo]:
        """Every task there is."""
        tasks = (await self._ask(Call("GET", "/v1/tasks"), TaskList)).tasks
        self._known.update({task.name: task for task in tasks})
        return tasks

    async def task(self, name: str) -> TaskInfo:
        """One task, as it is now."""
        info = await self._ask(Call("GET", f"/v1/tasks/{_checked(name)}"), TaskInfo)
        self._known[name] = info
        return info

    async def health(self) -> Health:
        """Whether the server answers. Asked once: a probe wants to know how it is now."""
        return await self._ask(Call("GET", "/healthz"), Health, retries=0)

    async def ready(self) -> Readiness:
        """Whether every task is up. Asked once; "starting" is an answer, though its status is 503."""
        response = await self._send(Call("GET", "/readyz"), retries=0)
        try:
            return Readiness.model_validate_json(response.content)
        except ValidationError:
            return self._read(response, Readiness)

    async def _fields(self, task: str) -> Fields:
        return input_fields((self._known.get(task) or await self.task(task)).input)

    async def _predict_chunk(
        self, task: str, rows: Sequence[Row], first: int, fields: Fields, request_id: str
    ) -> Prediction:
        body = json.dumps({"inputs": [to_wire(row, fields) for row in rows]}, allow_nan=False)
        path = f"/v1/{_checked(task).replace('.', '/')}"
        try:
            prediction = await self._ask(Call("POST", path, body.encode(), request_id), Prediction)
        except APIStatusError as error:
            raise status_error(_counted_from(first, error.problem)) from error
        if len(prediction.outputs) != len(rows):
            raise UnexpectedAnswer(
                f"{task} gave {len(prediction.outputs)} outputs for {len(rows)} inputs. This is a "
                f"fault of the server: look for request {request_id} in its log."
            )
        return prediction

    async def _ask(self, call: Call, shape: type[Shape], *, retries: int | None = None) -> Shape:
        return self._read(await self._send(call, retries=retries), shape)

    def _read(self, response: httpx.Response, shape: type[Shape]) -> Shape:
        if not response.is_success:
            raise status_error(problem_of(response, self._settings.backoff.wall_clock()))
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"{response.request.url} answered {response.status_code}, but not with what Lepton "
                f"sends there: {_shown(response.text)!r}. Check the url: is something else "
                "listening there?"
            ) from error

    async def _send(self, call: Call, *, retries: int | None = None) -> httpx.Response:
        """Ask until there is an answer, the tries are used up, or the next would come too late.

        Every call is pure, predictions included, so asking twice does no harm.
        """
        most = self._settings.retries if retries is None else retries
        backoff = self._settings.backoff
        deadline_s = backoff.clock() + self._settings.timeout_s
        for attempt in itertools.count():
            outcome = await self._try(call, deadline_s - backoff.clock())
            if isinstance(outcome, httpx.Response):
                if outcome.status_code not in RETRIED_STATUSES:
                    return outcome
                problem = problem_of(outcome, backoff.wall_clock())
                wait_s = backoff.wait_s(attempt, at_least_s=problem.retry_after_s or 0.0)
            else:
                wait_s = backoff.wait_s(attempt)
            if attempt >= most or backoff.clock() + wait_s >= deadline_s:
                break
            await self._network.sleep(wait_s)
        if isinstance(outcome, httpx.Response):
            return outcome
        raise outcome

    async def _try(self, call: Call, left_s: float) -> httpx.Response | ConnectError:
        url = self._settings.url
        timeout = httpx.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        try:
            return await self._network.send(call, timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = ConnectError(
                f"No Lepton answers at {url}. Is it running? Start it with "
                f"`python -m services up`. ({error})"
            )
            failure.__cause__ = error
        except httpx.TimeoutException as error:
            raise TimedOut(
                f"{url} did not answer {call.method} {call.path} within "
                f"{self._settings.timeout_s:g} s. Allow more with timeout_s, or send less at once. "
                f"(request {call.request_id})"
            ) from error
        except httpx.RequestError as error:
            failure = ConnectError(
                f"The connection to {url} broke before {call.method} {call.path} was answered: "
                f"{error}. Try again; if it stays so, look for request {call.request_id} in the "
                "server's log."
            )
            failure.__cause__ = error
        return failure


def problem_of(response: httpx.Response, now_s: float) -> Problem:
    """Read an error answer; one that says nothing, as proxies send, is put into words."""
    status = response.status_code
    try:
        body: JsonValue = response.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    bare = _bare(response, said.get("detail"))
    try:
        problem = Problem.model_validate(bare | said | {"status": status})
    except ValidationError:
        problem = Problem.model_validate(bare)
    header_s = retry_after_s(response.headers.get("Retry-After"), now_s=now_s)
    return problem if header_s is None else problem.model_copy(update={"retry_after_s": header_s})


def _bare(response: httpx.Response, detail: JsonValue) -> dict[str, JsonValue]:
    status = response.status_code
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "an unknown status"
    text = detail if isinstance(detail, str) else _shown(response.text)
    to = f" and points to {response.headers['Location']}" if "Location" in response.headers else ""
    return {
        "title": phrase,
        "status": status,
        "detail": (
            f"{response.request.method} {response.request.url} was answered {status} {phrase}{to}, "
            f"but not by Lepton itself{f': {text!r}' if text else ''}. "
            "Check the url, and what stands between here and Lepton."
        ),
        "code": f"http-{status}",
        "request_id": response.request.headers.get(REQUEST_ID_HEADER, ""),
    }


def _counted_from(first: int, problem: Problem) -> Problem:
    """Let pointers count the inputs as the caller gave them, not those of one chunk."""

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) + first}"

    errors = [
        fault.model_copy(update={"pointer": re.sub(r"^(#?/inputs/)(\d+)", moved, fault.pointer)})
        for fault in problem.errors
    ]
    return problem.model_copy(update={"errors": errors})


def _checked(task: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*\.[^\W\d]\w*", task):
        raise BadValue(f"{task!r} is no name of a task. Names look like 'vision.classify'.")
    return task


def _shown(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}..."


__all__ = ["Backoff", "Call", "Core", "Job", "LeptonError", "Network", "Settings", "problem_of"]
