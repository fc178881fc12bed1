"""Everything that a call to Lepton consists of except for waiting: requests, retries, batches.

It is written once, as coroutines over a ``Network``. The asynchronous client awaits them. The
synchronous client lends a network whose coroutines never suspend, so one step runs them to the end.
"""

import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel, ValidationError

from lepton._answers import counted_from, problem_of, read
from lepton._fields import input_fields
from lepton._inputs import Row, batch_of, named, rows_of, to_wire
from lepton._outputs import as_objects
from lepton._retry import RETRIED_STATUSES, Backoff
from lepton._route import proxy_of
from lepton.errors import (
    APIStatusError,
    BadValue,
    ConnectError,
    InvalidInput,
    TimedOut,
    UnexpectedAnswer,
    status_error,
)
from lepton.wire import (
    REQUEST_ID_HEADER,
    Health,
    Output,
    Prediction,
    Readiness,
    TaskInfo,
    TaskList,
)

T = TypeVar("T")
Shape = TypeVar("Shape", bound=BaseModel)
Start = Callable[[], Coroutine[Any, Any, T]]

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where Lepton is, and how to ask it; the constructor of the clients says what each means."""

    url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    retries: int
    chunk_size: int
    concurrency: int
    backoff: Backoff
    environ: Mapping[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise BadValue("api_key has a character that no HTTP header carries. Copy it again.")
        if self.timeout_s <= 0:
            raise BadValue(f"timeout_s is {self.timeout_s}. Give more than 0 seconds.")
        if self.retries < 0:
            raise BadValue(f"retries is {self.retries}. Give 0 to ask only once, or more.")
        if self.chunk_size < 1:
            raise BadValue(f"chunk_size is {self.chunk_size}. Give 1 or more.")
        if self.concurrency < 1:
            raise BadValue(f"concurrency is {self.concurrency}. Give 1 or more.")

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every request has."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise BadValue(f"The url is {url!r}. Begin it with http:// or https://.")
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise BadValue(f"The url is {url!r}, which is none: {error}.") from None
    if not host:
        raise BadValue(f"The url is {url!r}. Name a host, as in http://127.0.0.1:8000.")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before httpx makes one of it."""

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
        """Send one request and read its answer."""

    async def sleep(self, wait_s: float) -> None:
        """Wait."""

    async def gather(self, starts: Sequence[Start[T]]) -> list[T]:
        """Start and finish all, a few at a time; the results come in the order of the starts."""


class Core:
    """The calls, over whatever network it is lent."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self.network = network
        self._settings = settings
        self._known: dict[str, TaskInfo] = {}

    async def call(
        self, task: str, values: Sequence[object], arguments: Row
    ) -> Output | list[Output]:
        """Predict for arguments, at most one of them without a name: lists in, list out."""
        fields = input_fields((await self._info(task)).input)
        arguments = named(values, arguments, fields, task)
        batch = batch_of(arguments, fields)
        prediction = await self.predict(task, [arguments] if batch is None else batch)
        return prediction.outputs[0] if batch is None else prediction.outputs

    async def predict(self, task: str, given: object) -> Prediction:
        """Predict for rows or a DataFrame: in chunks, but as if they were one request."""
        inputs = rows_of(given, "inputs")
        info = await self._info(task)
        fields, answered = input_fields(info.input), input_fields(info.output)
        request_id = uuid4().hex  # one for all chunks and tries, as they are one call
        size = self._settings.chunk_size

        async def chunk(first: int) -> Prediction:
            rows = [to_wire(row, fields) for row in inputs[first : first + size]]
            body = json.dumps({"inputs": rows}).encode()
            call = Call("POST", f"/v1/{task.replace('.', '/')}", body, request_id)
            try:
                prediction = _complete(await self.ask(call, Prediction), call, len(rows))
            except APIStatusError as error:
                raise status_error(counted_from(first, error.problem)) from None
            for output in prediction.outputs:
                as_objects(output, answered)
            return prediction

        try:
            parts = await self.network.gather(
                [partial(chunk, first) for first in range(0, len(inputs), size)]
            )
        except InvalidInput:
            self._known.pop(task, None)  # what is deployed by now may have another schema
            raise
        return _joined(parts) or Prediction(model=task, version=info.version or "", outputs=[])

    async def tasks(self) -> list[TaskInfo]:
        """Every task there is."""
        tasks = (await self.ask(Call("GET", "/v1/tasks"), TaskList)).tasks
        self._known.update({task.name: task for task in tasks})
        return tasks

    async def task(self, name: str) -> TaskInfo:
        """One task, as it is now."""
        if not re.fullmatch(r"[^\W\d]\w*\.[^\W\d]\w*", name):
            raise BadValue(f"{name!r} is no name of a task. Names look like 'vision.classify'.")
        self._known[name] = info = await self.ask(Call("GET", f"/v1/tasks/{name}"), TaskInfo)
        return info

    async def health(self) -> Health:
        """Whether the server answers: asked once, as a probe wants to know how it is now."""
        return self._read(await self._send(Call("GET", "/healthz"), retries=0), Health)

    async def ready(self) -> Readiness:
        """Whether every task is up: asked once, as a probe wants to know how it is now."""
        response = await self._send(Call("GET", "/readyz"), retries=0)
        try:
            return Readiness.model_validate_json(response.content)  # "starting" comes with a 503
        except ValidationError:
            return self._read(response, Readiness)

    async def _info(self, task: str) -> TaskInfo:
        return self._known.get(task) or await self.task(task)

    async def ask(self, call: Call, shape: type[Shape]) -> Shape:
        """Ask until there is an answer, and read it."""
        return self._read(await self._send(call, retries=self._settings.retries), shape)

    def _read(self, response: httpx.Response, shape: type[Shape]) -> Shape:
        return read(response, shape, now_s=self._settings.backoff.wall_clock())

    async def _send(self, call: Call, *, retries: int) -> httpx.Response:
        """Ask until there is an answer, the tries are used up, or the next would come too late.

        Asking again does no harm: every call is pure, predictions included, but for a push, and the
        same rows again change nothing.
        """
        backoff = self._settings.backoff
        deadline_s = backoff.clock() + self._settings.timeout_s
        attempt = 0
        while True:
            outcome = await self._try(call, deadline_s - backoff.clock())
            wait_s = backoff.wait_s(attempt, at_least_s=self._asked_wait_s(outcome))
            is_last = attempt >= retries or backoff.clock() + wait_s >= deadline_s
            if isinstance(outcome, ConnectError):
                if is_last:
                    raise outcome
            elif is_last or outcome.status_code not in RETRIED_STATUSES:
                return outcome
            await self.network.sleep(wait_s)
            attempt += 1

    def _asked_wait_s(self, outcome: httpx.Response | ConnectError) -> float:
        if isinstance(outcome, ConnectError) or outcome.status_code not in RETRIED_STATUSES:
            return 0.0
        problem = problem_of(outcome, now_s=self._settings.backoff.wall_clock())
        return problem.retry_after_s or 0.0

    async def _try(self, call: Call, left_s: float) -> httpx.Response | ConnectError:
        """Ask once. That nobody is met is returned, since it may be tried again."""
        url = self._settings.url
        timeout = httpx.Timeout(left_s, connect=min(left_s, CONNECT_TIMEOUT_S))
        try:
            return await self.network.send(call, timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            return ConnectError(self._nobody(error))
        except httpx.TimeoutException as error:
            raise TimedOut(
                f"{url} did not answer {call.method} {call.path} within "
                f"{self._settings.timeout_s:g} s. Allow more with timeout_s, or send less at once. "
                f"(request {call.request_id})"
            ) from error
        except httpx.RequestError as error:
            return ConnectError(
                f"The connection to {url} broke before {call.method} {call.path} was answered: "
                f"{error}. If it happens again, look for request {call.request_id} in the server's "
                "log."
            )

    def _nobody(self, error: httpx.RequestError) -> str:
        url = self._settings.url
        if proxy := proxy_of(url, self._settings.environ):
            return (
                f"{url} is not reached through the proxy {proxy.shown}, which {proxy.variable} "
                f"names: {error}. Add {httpx.URL(url).host} to NO_PROXY to ask it directly."
            )
        return (
            f"No Lepton answers at {url}. Is it running? Start it with "
            f"`python -m services up`. ({error})"
        )


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("A coroutine of the waiting network suspended.")


def _complete(prediction: Prediction, call: Call, count: int) -> Prediction:
    if len(prediction.outputs) != count:
        raise UnexpectedAnswer(
            f"{prediction.model} gave {len(prediction.outputs)} outputs for {count} inputs. That "
            f"is a fault of the server: look for request {call.request_id} in its log."
        )
    return prediction


def _joined(parts: Sequence[Prediction]) -> Prediction | None:
    if not parts:
        return None
    # while a new version is rolled out, chunks may meet both: then it says "3,4"
    versions = dict.fromkeys(part.version for part in parts)
    update = {
        "version": ",".join(versions),
        "outputs": [output for part in parts for output in part.outputs],
        "degraded": any(part.degraded for part in parts),
        "behind": sorted({name for part in parts for name in part.behind}),
    }
    if any(part.features for part in parts):
        looked = [part.features or [{}] * len(part.outputs) for part in parts]
        update["features"] = [statuses for part in looked for statuses in part]
    return parts[0].model_copy(update=update)
