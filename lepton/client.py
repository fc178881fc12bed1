"""Call a Lepton from Python: ``Client().vision.classify(image="shoe.png").label``."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Self, TypeVar

import httpx

from lepton._core import Call, Core, Job, Network, Settings
from lepton._inputs import Row
from lepton._retry import Backoff
from lepton.errors import BadValue
from lepton.wire import Health, Prediction, Readiness, TaskInfo

T = TypeVar("T")
Transport = TypeVar("Transport", httpx.BaseTransport, httpx.AsyncBaseTransport)

DEFAULT_URL = "http://127.0.0.1:8000"


class Domain(Generic[T]):
    """One domain of a client, such as ``client.vision``: its attributes are the domain's tasks."""

    def __init__(self, name: str, call: Callable[[str, Row], T]) -> None:
        self._name = name
        self._call = call

    def __getattr__(self, task: str) -> Callable[..., T]:
        if task.startswith("_"):  # asked by copy, pickle and notebooks, never meant as a task
            raise AttributeError(task)

        def call(**fields: object) -> T:
            return self._call(f"{self._name}.{task}", fields)

        call.__name__ = task
        call.__qualname__ = f"client.{self._name}.{task}"  # what Python's own messages say
        return call

    def __repr__(self) -> str:
        return f"<domain {self._name!r} of a Lepton client>"


class _Connection(Generic[Transport]):
    """What both clients are made of.

    Any attribute that is not a method is a domain, and any attribute of that is a task, so that a
    task deployed tomorrow needs no new client: ``client.vision.classify(image=picture, top_k=3)``.
    Arguments are the task's input fields. A list, for a field that the task does not declare as
    one, makes a batch, and a list of outputs comes back; arguments that are no such list hold for
    the whole batch. Binary fields take a path, bytes, a Pillow image, a uint8 array, or base64.

    Args:
        url: where Lepton answers; else LEPTON_URL, else http://127.0.0.1:8000.
        api_key: sent as a bearer token; else LEPTON_API_KEY, else none.
        timeout_s: seconds that one request may take, all of its tries and waits together.
        retries: how often a request may be asked again after it met nobody, 429, 502, 503 or 504.
        chunk_size: the most inputs that one request carries; more are sent as several.
        concurrency: how many requests of one call are under way at the same time.
        transport: what carries requests instead of the network.
        backoff: how to wait between tries.

    Raises:
        BadValue: a value that makes no sense, such as a url without http://.
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
        url = url or os.environ.get("LEPTON_URL") or DEFAULT_URL  # noqa: TID251
        api_key = api_key or os.environ.get("LEPTON_API_KEY")  # noqa: TID251
        if concurrency < 1:
            raise BadValue(f"concurrency is {concurrency}. Give 1 or more.")
        self._settings = Settings(
            url=url.rstrip("/"),
            timeout_s=timeout_s,
            retries=retries,
            chunk_size=chunk_size,
            backoff=backoff or Backoff(),
        )
        self._concurrency = concurrency
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._core = Core(self._open(headers, transport), self._settings)

    def _open(self, headers: dict[str, str], transport: Transport | None) -> Network:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.url!r})"
