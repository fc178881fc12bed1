"""Call a Lepton from Python: ``Client().vision.classify(image="shoe.png").label``."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

import httpx

from lepton._core import Call, Core, Network, Settings, Start, finish
from lepton._features import FeatureCalls, Features
from lepton._inputs import Frame, Row
from lepton._retry import Backoff
from lepton._route import options
from lepton.wire import Health, Prediction, Readiness, TaskInfo

T = TypeVar("T")
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)

DEFAULT_URL = "http://127.0.0.1:8000"


class Domain(Generic[T]):
    """One domain of a client, such as ``client.vision``: its attributes are the domain's tasks."""

    def __init__(self, name: str, call: Callable[[str, Sequence[object], Row], T]) -> None:
        self._name = name
        self._call = call

    def __getattr__(self, task: str) -> Callable[..., T]:
        if task.startswith("_"):  # asked for by copies and notebooks, never meant as a task
            raise AttributeError(task)

        def call(*values: object, **fields: object) -> T:
            return self._call(f"{self._name}.{task}", values, fields)

        return call

    def __repr__(self) -> str:
        return f"<domain {self._name!r} of a Lepton client>"


class _Connection(Generic[Transport]):
    """The one constructor of both clients.

    Args:
        url: where Lepton answers; else LEPTON_URL, else http://127.0.0.1:8000.
        api_key: sent as a bearer token; else LEPTON_API_KEY, else none.
        timeout_s: seconds that one request may take, all of its tries and waits together.
        retries: how often a request is asked again after it met nobody, 429, 502, 503 or 504.
        chunk_size: the most inputs that one request carries; more are sent as several.
        concurrency: how many requests of one call are under way at the same time.
        transport: what carries requests instead of the network.
        backoff: how to wait between tries.

    Raises:
        BadValue: a value that makes no sense, such as a url without http://, or a proxy or a file
            of certificates that the environment names and that cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 3,
        chunk_size: int = 32,
        concurrency: int = 4,
        transport: Transport | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        # the one place of the client that reads the environment
        environ = dict(os.environ)  # noqa: TID251
        url = url or environ.get("LEPTON_URL") or DEFAULT_URL
        api_key = api_key or environ.get("LEPTON_API_KEY")
        self._settings = Settings(
            url=url.rstrip("/"),
            api_key=api_key,
            timeout_s=timeout_s,
            retries=retries,
            chunk_size=chunk_size,
            concurrency=concurrency,
            backoff=backoff or Backoff(),
            environ=environ,
        )
        self._core = Core(self._open(transport), self._settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url!r})"

    def _open(self, transport: Transport | None) -> Network:
        raise NotImplementedError


class Client(_Connection[httpx.BaseTransport]):
    """Call a Lepton, and wait for each answer.

    Any attribute that is not a method is a domain, and any attribute of that is a task, so a task
    that is deployed tomorrow needs no new client::

        with Client() as client:
            client.vision.classify(image="shoe.png", top_k=3).label
            client.nlp.classify(text=["a wonderful film", "too long"])[1].label
            client.features.lookup("items", {"item_id": "42"})[0]["items"].values

    The arguments are the task's input fields; the first of them may go without its name:
    ``client.vision.classify("shoe.png")``. A list, for a field that the task does not declare as
    one, makes a batch, and a list of outputs comes back; the other arguments hold for all of it. A
    binary field takes a path, bytes, a Pillow image, a uint8 array, or base64.

    The arguments of the constructor are url, api_key, timeout_s, retries, chunk_size, concurrency,
    transport and backoff: ``help(Client.__init__)``.
    """

    def __getattr__(self, domain: str) -> Domain[Any]:
        # Any, because the arguments decide whether one output comes back or a list of them
        if domain.startswith("_"):
            raise AttributeError(domain)
        return Domain(domain, lambda task, *given: finish(self._core.call(task, *given)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def predict(self, task: str, inputs: Sequence[Row] | Frame) -> Prediction:
        """Predict for rows of input fields, and say which version of which model answered.

        The rows are dicts, or those of a DataFrame of pandas or Polars or an Arrow table; an empty
        cell of it counts as a field that is not given.
        """
        return finish(self._core.predict(task, inputs))

    @property
    def features(self) -> Features:
        """The feature layer: look up, push, find the nearest."""
        return Features(FeatureCalls(self._core))

    def tasks(self) -> list[TaskInfo]:
        """Every task there is."""
        return finish(self._core.tasks())

    def task(self, name: str) -> TaskInfo:
        """One task: its state, version, metric and schemas."""
        return finish(self._core.task(name))

    def health(self) -> Health:
        """Whether the server answers; asked once, with no retries."""
        return finish(self._core.health())

    def ready(self) -> Readiness:
        """Whether every task is up; asked once, with no retries."""
        return finish(self._core.ready())

    def close(self) -> None:
        """Close the connections."""
        self._network.close()

    def _open(self, transport: httpx.BaseTransport | None) -> Network:
        self._network = _Waiting(self._settings, transport)
        return self._network


class AsyncClient(_Connection[httpx.AsyncBaseTransport]):
    """``Client`` for asyncio: the same calls, awaited.

    ::

        async with AsyncClient() as client:
            output = await client.vision.classify(image="shoe.png", top_k=3)
    """

    def __getattr__(self, domain: str) -> Domain[Coroutine[Any, Any, Any]]:
        if domain.startswith("_"):
            raise AttributeError(domain)
        return Domain(domain, self._core.call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def predict(self, task: str, inputs: Sequence[Row] | Frame) -> Prediction:
        """Predict for rows of input fields, and say which version of which model answered.

        The rows are dicts, or those of a DataFrame of pandas or Polars or an Arrow table; an empty
        cell of it counts as a field that is not given.
        """
        return await self._core.predict(task, inputs)

    @property
    def features(self) -> FeatureCalls:
        """The feature layer, as ``Client.features``, awaited."""
        return FeatureCalls(self._core)

    async def tasks(self) -> list[TaskInfo]:
        """Every task there is."""
        return await self._core.tasks()

    async def task(self, name: str) -> TaskInfo:
        """One task: its state, version, metric and schemas."""
        return await self._core.task(name)

    async def health(self) -> Health:
        """Whether the server answers; asked once, with no retries."""
        return await self._core.health()

    async def ready(self) -> Readiness:
        """Whether every task is up; asked once, with no retries."""
        return await self._core.ready()

    async def close(self) -> None:
        """Close the connections."""
        await self._network.close()

    def _open(self, transport: httpx.AsyncBaseTransport | None) -> Network:
        self._network = _Awaiting(self._settings, transport)
        return self._network


class _Waiting:
    """The network of ``Client``: its coroutines block, and so never suspend."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None) -> None:
        self._settings = settings
        with options(settings.url, settings.environ) as way:
            self._http = httpx.Client(
                base_url=settings.url, headers=settings.headers, transport=transport, **way
            )

    async def send(self, call: Call, timeout: httpx.Timeout) -> httpx.Response:
        return self._http.request(
            call.method, call.path, content=call.body, headers=call.headers, timeout=timeout
        )

    async def sleep(self, wait_s: float) -> None:
        (self._settings.backoff.sleep or time.sleep)(wait_s)

    async def gather(self, starts: Sequence[Start[T]]) -> list[T]:
        def run(start: Start[T]) -> T:
            return finish(start())

        if len(starts) <= 1:
            return [run(start) for start in starts]
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            running = [pool.submit(run, start) for start in starts]
            try:
                return [one.result() for one in running]
            finally:  # after a failure, what has not begun need not begin
                pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._http.close()


class _Awaiting:
    """The network of ``AsyncClient``: asyncio."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None) -> None:
        self._settings = settings
        with options(settings.url, settings.environ) as way:
            self._http = httpx.AsyncClient(
                base_url=settings.url, headers=settings.headers, transport=transport, **way
            )

    async def send(self, call: Call, timeout: httpx.Timeout) -> httpx.Response:
        return await self._http.request(
            call.method, call.path, content=call.body, headers=call.headers, timeout=timeout
        )

    async def sleep(self, wait_s: float) -> None:
        if self._settings.backoff.sleep is None:
            await asyncio.sleep(wait_s)
        else:
            self._settings.backoff.sleep(wait_s)

    async def gather(self, starts: Sequence[Start[T]]) -> list[T]:
        gate = asyncio.Semaphore(self._settings.concurrency)

        async def run(start: Start[T]) -> T:
            async with gate:
                return await start()

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(run(start)) for start in starts]
        except ExceptionGroup as failures:  # the first one cancelled the rest
            first = failures.exceptions[0]
            raise first from first.__cause__
        return [one.result() for one in running]

    async def close(self) -> None:
        await self._http.aclose()
