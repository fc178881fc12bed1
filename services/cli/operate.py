"""Start and stop what runs: the engine, the door and the replicas; print nothing."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from cluster.base.errors import Conflict, NotFound, Unavailable
from cluster.base.settings import Settings, settings
from cluster.engine import engine, starting
from cluster.registry.versions import Registry
from lepton.wire import State
from services.http.app import build as build_app
from services.http.schemas import path_of
from services.local import catalog
from services.local.opening import Opening

if TYPE_CHECKING:
    from cluster.serving import serve

TAKE_OVER_S = 30.0
ASKED_IN_A_ROW = 8
RECORD = re.compile(r"[A-Z]+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ")
"""How Ray Serve begins a record of its logs: `ERROR 2026-11-21 10:00:00,123 nlp.classify ...`."""


def up(say: Callable[[str], None]) -> None:
    """Start Ray and the door on this machine, or find them started."""
    here = settings()
    running = starting.up(here, say=say)
    _open_door(here)
    say(f"Lepton is up at {running.url}, Ray's dashboard at {running.dashboard_url}.")


def down(say: Callable[[str], None]) -> None:
    """Stop all that `up` started."""
    if not engine.down(settings(), say=say):
        say("Nothing runs here.")


def deploy(task: str, reference: str) -> str:
    """Serve a version, or let the running replicas change to it.

    Returns:
        The sentence that says where.
    """
    here, capability = settings(), catalog.find(task)
    version = Registry(here.home).resolve(task, reference)
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    build = partial(build_app, origins=here.cors_origins)
    serve.deploy(capability, version, here, build, Opening(here))
    url = here.url + path_of(task)
    if (found := _settled(task, url, wanted=version)) != version:
        answers = f"version {found} answers" if found else "no version answers"
        raise Unavailable(
            f"Version {version} of {task} did not take over; {answers}.",
            hint=f"Why stands in the log: python -m services logs {task}",
        )
    Registry(here.home).point("serving", task, version)
    return f"Version {version} of {task} answers at {url}."


def _settled(task: str, url: str, *, wanted: int) -> int | None:
    """Ask what answers until it is `wanted` several times in a row, or the time is over.

    There may be several replicas, and for some tenths of a second after a change the proxy goes now
    to the old and now to the new. Where the URL leads nowhere from this machine, as with a cluster
    elsewhere, the replicas are asked past the proxy.

    Returns:
        What `_answering` said last.
    """
    deadline, agreed = time.monotonic() + TAKE_OVER_S, 0
    found: int | None = None
    while agreed < ASKED_IN_A_ROW and time.monotonic() < deadline:
        found = _answering(task, url)
        agreed = agreed + 1 if found == wanted else 0
        time.sleep(0.1)
    return found


def _answering(task: str, url: str) -> int | None:
    """The version that answers; 0 where none is served; None where that cannot be known.

    What is too busy to say its version, or is broken, may answer the next request.
    """
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
        if answer.status_code in {404, 503}:  # of the door, or of the proxy where there is none
            return 0
        return int(answer.json()["version"]) if answer.is_success else None
    except httpx.ConnectError:
        from cluster.serving import serve  # noqa: PLC0415 - imports ray

        return serve.answering(task)
    except (httpx.HTTPError, ValueError, KeyError, TypeError):  # somebody else may answer there
        return None


def undeploy(task: str) -> str:
    """Stop serving a capability.

    Raises:
        Conflict: it is not served.
        Unavailable: it, or something, answers still after half a minute.
    """
    catalog.find(task)
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(settings())
    if task not in states():
        raise Conflict(f"{task} is not served.", hint="What is: python -m services status")
    serve.undeploy(task)
    url = settings().url + path_of(task)
    if (left := _settled(task, url, wanted=0)) != 0:
        still = f"Version {left} of {task} still answers" if left else "Something still answers"
        raise Unavailable(f"{still} at {url}.", hint="Ask again: python -m services status")
    return f"{task} is not served any more."


def _open_door(here: Settings) -> None:
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    serve.open_door(partial(_door, here))


def _door(here: Settings) -> Any:
    """The application at "/", made in its replica."""
    from services.http import door  # noqa: PLC0415 - the replica's business

    return door.build(here.home, states, lambda: catalog.layer(here), origins=here.cors_origins)


def states() -> dict[str, State]:
    """The state of each application, by its name."""
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    return {app.name: app.state for app in serve.applications()}


@dataclass(frozen=True)
class Overview:
    """What runs: Ray, its applications, and the version that each was deployed with."""

    engine: engine.Status
    applications: list["serve.Application"]
    versions: dict[str, int]


def status() -> Overview:
    """What runs here, or on the cluster that RAY_ADDRESS names, and what it serves."""
    here = settings()
    found = engine.status(here)
    if found.engine is None and not found.address:
        return Overview(found, [], {})
    from cluster.serving import serve  # noqa: PLC0415 - imports ray

    engine.connect(here)
    aliases = {task: Registry(here.home).aliases(task) for task in Registry(here.home).tasks()}
    versions = {task: names["serving"] for task, names in aliases.items() if "serving" in names}
    return Overview(found, serve.applications(), versions)


def logs(task: str, lines: int) -> list[str]:
    """The last lines that the replicas of a capability logged on this machine.

    Args:
        task: its name; without one, everything that Ray Serve logged.
        lines: how many.

    Raises:
        NotFound: it was never served here.
    """
    if task and task != "door":
        catalog.find(task)
    folder = engine.logs(settings()) / "serve"
    files = sorted(folder.glob(f"replica_{task}_*.log" if task else "*.log"))
    if not files:
        raise NotFound(
            f"There are no logs of {task or 'Ray Serve'} in {folder}.",
            hint="Serve it first: python -m services deploy TASK",
        )
    records = sorted(
        (record for file in files for record in _records(file)), key=lambda record: record[0]
    )
    return [line for _, record in records for line in record][-lines:]


def _records(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Each record of a log and its time: lines without one belong to the record before them."""
    at, record = "", list[str]()
    for line in file.read_text(errors="replace").splitlines():
        if begins := RECORD.match(line):
            if record:
                yield at, record
            at, record = begins[1], []
        record.append(line)
    if record:
        yield at, record
