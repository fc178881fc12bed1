"""Find, join, describe and stop the Ray that runs on this machine."""

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from os.path import realpath
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.base import durable, signals
from cluster.base.errors import Conflict, Unavailable
from cluster.base.settings import Settings, direct_loopback, environment, export
from cluster.engine import host
from cluster.engine.dashboard import Dashboard

NAMESPACE: Final = "lepton"
PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - private_folder checks who owns it
START: Final = "Start it with `python -m services up`."


class Engine(BaseModel):
    """The Ray that `up` started: what `home/engine.json` holds."""

    model_config = ConfigDict(frozen=True)

    pid: int
    born: int  # with the boot, tells the process from a later one that got its number
    boot: str
    mark: str  # stands in the environment of everything that it starts
    folder: Path
    token_file: Path
    address: str
    url: str
    dashboard_url: str
    proxy: Literal["haproxy", "ray"]
    started_at: datetime

    @property
    def dashboard(self) -> Dashboard:
        """Ray's dashboard."""
        return Dashboard(self.dashboard_url, self.token_file)


class Status(BaseModel):
    """What runs, what it uses, and what room is left."""

    engine: Engine | None
    address: str = ""  # of a cluster that runs elsewhere: what RAY_ADDRESS names
    ready: bool = False
    uptime_s: float = 0.0
    cpus: float = 0.0
    cpus_used: float = 0.0
    gpus: float = 0.0
    gpus_used: float = 0.0
    accelerators: list[str] = []
    memory_bytes: int = 0  # of all processes of the engine
    memory_free_bytes: int
    disk_free_bytes: int


def down(settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> bool:
    """End who uses it, drain the services, end what `up` started; False when nothing ran."""
    disconnect()
    if not os.path.isdir(settings.home):  # noqa: PTH112 - Path.is_dir raises where it is barred
        return end_strays(settings, say)
    path = settings.home / "engine.lock"
    with durable.lock(path):
        engine = read(settings)
        if engine:
            if alive(engine):
                _let_finish(engine, say)
            clear(settings, engine)
            say("Lepton is down.")
        path.unlink(missing_ok=True)
    return engine is not None or end_strays(settings, say)


def end_strays(settings: Settings, say: Callable[[str], None]) -> bool:
    """End a Ray of this home whose record was removed; False when there is none."""
    strays = host.strays(settings.home)
    if strays:
        host.end(strays, grace_s=5.0)
        shutil.rmtree(session_folder(settings.home), ignore_errors=True)
        say(f"Ended {len(strays)} processes of a Ray of this home that had no record any more.")
    return bool(strays)


def session_folder(home: Path, places: Sequence[str] = PLACES) -> Path:
    """Where Ray keeps its session: short, as the path of a Unix socket in it has 107 bytes.

    Raises:
        Conflict: none of the places can be written.
    """
    name = f"lepton-{hashlib.sha256(os.fsencode(realpath(home))).hexdigest()[:8]}"
    for place in places:
        if durable.is_writable(Path(place)):
            return Path(place) / name
    raise Conflict(
        f"Ray's sockets need a short folder, and none of {', '.join(places)} can be written.",
        hint="Let this user write to /tmp.",
    )


def connect(settings: Settings) -> None:
    """Join the running cluster as a driver, in the namespace "lepton".

    Raises:
        Unavailable: nothing runs here, or nothing listens at RAY_ADDRESS.
    """
    if engine := _own(settings):
        address = engine.address
        export(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(engine.token_file))
    elif settings.ray_address:
        address = settings.ray_address
    else:
        raise Unavailable("No Ray runs here.", hint=START)
    export(**direct_loopback(environment()))
    # asked first, because Ray would try for a minute and then abort the process
    if engine is None and isinstance(wrong := elsewhere(address), Unavailable):
        raise wrong
    if engine and not host.listens(address):
        raise Unavailable(f"No Ray answers at {address}.", hint=START)
    _join(address)


def _own(settings: Settings) -> Engine | None:
    """The engine of this home if it runs; a RAY_ADDRESS of `auto` means that one first."""
    engine = read(settings) if settings.ray_address in {None, "auto"} else None
    return engine if engine and alive(engine) else None


def elsewhere(address: str) -> Conflict | Unavailable:
    """What to say of a cluster that RAY_ADDRESS names, to who would start one or join that."""
    try:
        place = _found() if address == "auto" else address.removeprefix("ray://")
    except ConnectionError:
        return Unavailable(
            "No Ray runs on this machine; RAY_ADDRESS is 'auto' and looks for one.",
            hint="Unset RAY_ADDRESS, then start one with `python -m services up`.",
        )
    if not host.listens(place.partition("://")[2] or place):
        return Unavailable(
            f"No Ray answers at {place}, which RAY_ADDRESS names.",
            hint="Start it there, or unset RAY_ADDRESS to use the Ray of this machine.",
        )
    if not host.speaks_grpc(place):
        return Unavailable(
            f"What answers at {address}, which RAY_ADDRESS names, is not the head of a Ray.",
            hint="Name host:6379, the port of its GCS, or unset RAY_ADDRESS.",
        )
    return Conflict(
        f"RAY_ADDRESS names a cluster that runs already: {address}.",
        hint="Use it as it is, or unset RAY_ADDRESS to start one on this machine.",
    )


def _found() -> str:
    """Where Ray itself finds a cluster on this machine; a ConnectionError where it finds none."""
    from ray._private import services  # noqa: PLC0415

    return str(services.canonicalize_bootstrap_address_or_die("auto"))


def disconnect() -> None:
    """Leave the cluster, if this process joined one: Ray aborts a driver whose cluster ends."""
    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        with signals.kept():
            ray.shutdown()


def logs(settings: Settings) -> Path:
    """Where Ray logs on this machine, or logged before it was taken down."""
    engine = read(settings)
    return engine.folder / "session_latest" / "logs" if engine else settings.home / "logs"


def status(settings: Settings) -> Status:
    """What runs here, or where RAY_ADDRESS says; what it uses, and what room is left.

    Raises:
        Unavailable: nothing listens at RAY_ADDRESS.
    """
    engine = _own(settings)
    places = (settings.home, *settings.home.parents)
    home = next(place for place in places if os.path.isdir(place))  # noqa: PTH112 - never raises
    room = Status(
        engine=None,
        memory_free_bytes=psutil.virtual_memory().available,
        disk_free_bytes=shutil.disk_usage(home).free,
    )
    if settings.ray_address and engine is None:
        connect(settings)
        found = _resources(_usage())
        return room.model_copy(update={"address": settings.ray_address, **found})
    if engine is None:
        return room
    family = host.family(engine.pid, engine.born, engine.mark)
    return room.model_copy(
        update={
            "engine": engine,
            "ready": ready(engine),
            "uptime_s": (datetime.now(UTC) - engine.started_at).total_seconds(),
            "memory_bytes": sum(map(host.resident_bytes, family)),
            **_resources(engine.dashboard.usage()),
        }
    )


def _join(address: str) -> None:
    local = address.startswith("127.")
    if local:  # a driver must give itself the address that its node has
        export(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    import ray  # noqa: PLC0415 - takes a second, and reads the variables when imported
    from ray._private import ray_constants  # noqa: PLC0415
    from ray._raylet import (  # type: ignore[attr-defined]  # noqa: PLC0415 - compiled
        AuthenticationTokenLoader,
        Config,
    )

    if ray.is_initialized():
        return
    # once more for a process that imported ray before it came here
    ray_constants.ENABLE_RAY_CLUSTER = not local
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        with signals.kept():
            ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError) as error:  # none is there, or one of another version
        why = " ".join(str(error).split())[:300].rstrip(".")
        raise Unavailable(f"Ray at {address} cannot be joined: {why}.", hint=START) from None


def _let_finish(engine: Engine, say: Callable[[str], None]) -> None:
    """Ask those who use it to leave, and Serve to answer what it has begun."""
    try:
        for pid in engine.dashboard.end_drivers(wait_s=10):
            say(f"Ended process {pid}, which used Ray.")
        say("Letting requests in flight finish.")
        engine.dashboard.drain(wait_s=15)
    except (Conflict, Unavailable) as refusal:  # its processes are known and can be ended
        say(f"{refusal.message} Ending it all the same.")


def clear(settings: Settings, engine: Engine) -> None:
    """End every process of an engine, keep its last log, and forget it."""
    for grace_s in (5.0, 2.0):  # twice: a process may have been born meanwhile
        if engine.boot == host.boot():
            host.end(host.family(engine.pid, engine.born, engine.mark), grace_s=grace_s)
    last = settings.home / "logs"
    with suppress(OSError):
        shutil.rmtree(last, ignore_errors=True)
        shutil.move((engine.folder / "session_latest").resolve() / "logs", last)
        last.chmod(0o700)  # Ray lets anybody write there
    shutil.rmtree(engine.folder, ignore_errors=True)
    (settings.home / "engine.json").unlink(missing_ok=True)


def alive(engine: Engine) -> bool:
    """Whether the process that `up` started still runs."""
    return engine.boot == host.boot() and host.born(engine.pid) == engine.born


def ready(engine: Engine) -> bool:
    """Whether Serve's proxy answers and is Ray's."""
    # any answer will do: until the first application is deployed, a healthy proxy says 503
    with suppress(httpx.HTTPError, Unavailable):
        answer = httpx.get(f"{engine.url}/-/healthz", trust_env=False)
        return bool(answer.status_code) and engine.dashboard.serves()
    return False


def _usage() -> dict[str, tuple[float, float]]:
    """How much of each resource of the cluster is taken, and how much there is."""
    import ray  # noqa: PLC0415 - as above

    most: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return {name: (amount - free.get(name, 0.0), amount) for name, amount in most.items()}


def _resources(usage: dict[str, tuple[float, float]]) -> dict[str, Any]:
    cpus_used, cpus = usage.get("CPU", (0.0, 0.0))
    gpus_used, gpus = usage.get("GPU", (0.0, 0.0))
    kinds = [name.partition(":")[2] for name in usage if name.startswith("accelerator_type:")]
    return {
        "cpus": cpus,
        "cpus_used": cpus_used,
        "gpus": gpus,
        "gpus_used": gpus_used,
        "accelerators": kinds,
    }


def read(settings: Settings) -> Engine | None:
    """The engine that `up` left a record of, running or dead."""
    with suppress(OSError, ValidationError):  # a torn record is no record: writing is atomic
        return Engine.model_validate_json((settings.home / "engine.json").read_bytes())
    return None
