"""Start, find and stop Ray on one machine."""

import hashlib
import logging
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from os import pathsep
from os.path import realpath
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster import host, profile, signals
from cluster.dashboard import Dashboard
from cluster.errors import Conflict, Unavailable
from cluster.settings import Settings, environment, export

NAMESPACE: Final = "lepton"
PATIENCE_S: Final = 30.0  # before a Ray that does not answer counts as dead
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


def up(
    settings: Settings,
    *,
    say: Callable[[str], None] = lambda _: None,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    wait_s: float = 120.0,
) -> Engine:
    """Start Ray and Serve in the background, or find them started.

    Args:
        settings: home, ports and limits.
        say: is told each step in a sentence.
        free_bytes: the room left on the disk of a folder.
        wait_s: how long starting may take.

    Raises:
        Conflict: a port is taken, or RAY_ADDRESS names another cluster.
        NotEnough: a disk or /dev/shm is short of room.
        Unavailable: Ray did not start; the message ends with the last lines of its log.
    """
    if settings.ray_address:
        raise Conflict(
            f"RAY_ADDRESS names a cluster that runs already: {settings.ray_address}.",
            hint="Use it as it is, or unset RAY_ADDRESS to start one on this machine.",
        )
    host.private_folder(Path(realpath(settings.home)))  # a link to a folder of ours will do
    with host.lock(settings.home / "engine.lock"):
        if engine := _read(settings):
            if _answers_in_time(engine):
                say(f"Lepton is already up at {engine.url}.")
                return engine
            say("Ray died here. Cleaning up and starting anew.")
            _clear(settings, engine)
        engine = _start(settings, say, free_bytes, wait_s)
        say(f"Lepton is up at {engine.url}, Ray's dashboard at {engine.dashboard_url}.")
        return engine


def down(settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> bool:
    """End who uses it, drain the services, end what `up` started; False when nothing ran."""
    if not settings.home.is_dir():
        return False
    disconnect()
    path = settings.home / "engine.lock"
    with host.lock(path):
        engine = _read(settings)
        if engine:
            if _alive(engine):
                _let_finish(engine, say)
            _clear(settings, engine)
            say("Lepton is down.")
        path.unlink(missing_ok=True)
    return engine is not None


def connect(settings: Settings) -> None:
    """Join the running cluster as a driver, in the namespace "lepton".

    Raises:
        Unavailable: nothing runs here, or nothing listens at RAY_ADDRESS.
    """
    engine = None if settings.ray_address else _read(settings)
    if engine and _alive(engine):
        address = engine.address
        export(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(engine.token_file))
    elif settings.ray_address:
        address = settings.ray_address
    else:
        raise Unavailable("No Ray runs here.", hint=START)
    # asked first, because Ray would try for a minute and then abort the process
    if address != "auto" and not host.listens(address.removeprefix("ray://")):
        raise Unavailable(f"No Ray answers at {address}.", hint=START)
    _join(address)


def disconnect() -> None:
    """Leave the cluster, if this process joined one: Ray aborts a driver whose cluster ends."""
    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        with signals.kept():
            ray.shutdown()


def logs(settings: Settings) -> Path:
    """Where Ray logs on this machine, or logged before it was taken down."""
    engine = _read(settings)
    return engine.folder / "session_latest" / "logs" if engine else settings.home / "logs"


def status(settings: Settings) -> Status:
    """What runs here, or where RAY_ADDRESS says; what it uses, and what room is left.

    Raises:
        Unavailable: nothing listens at RAY_ADDRESS.
    """
    engine = None if settings.ray_address else _read(settings)
    home = settings.home if settings.home.exists() else Path.home()
    room = Status(
        engine=None,
        memory_free_bytes=psutil.virtual_memory().available,
        disk_free_bytes=shutil.disk_usage(home).free,
    )
    if settings.ray_address:
        from cluster import serve  # noqa: PLC0415 - imports ray

        connect(settings)
        found = _resources(serve.usage())
        return room.model_copy(update={"address": settings.ray_address, **found})
    if engine is None or not _alive(engine):
        return room
    family = host.family(engine.pid, engine.born, engine.mark)
    return room.model_copy(
        update={
            "engine": engine,
            "ready": _ready(engine),
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
    with signals.kept():
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)


def _start(
    settings: Settings,
    say: Callable[[str], None],
    free_bytes: Callable[[Path], int],
    wait_s: float,
) -> Engine:
    """See that there is room, start Ray, wait for Serve; what fails leaves nothing behind."""
    folder = _run_folder(settings)
    store_bytes = host.check_room(
        settings.home, folder.parent, store_mb=settings.object_store_mb, free_bytes=free_bytes
    )
    host.check_port(settings.host, settings.port, "LEPTON_PORT")
    host.check_port("127.0.0.1", settings.dashboard_port, "LEPTON_DASHBOARD_PORT")
    if not profile.has_haproxy():
        say("HAProxy comes with Ray on Linux only: its own proxy serves, at a seventh the rate.")
    say("Starting Ray.")
    engine = _launch(settings, host.private_folder(folder), store_bytes)
    try:
        _start_serve(engine, settings, say, time.monotonic() + wait_s)
    except BaseException:
        _clear(settings, engine)
        raise
    return engine


def _launch(settings: Settings, folder: Path, store_bytes: int) -> Engine:
    mark, port, token_file = uuid.uuid4().hex, host.free_port(), _token(settings)
    command = profile.command(settings, folder, port, store_bytes)
    variables = _variables(settings, folder, mark, token_file)
    # nothing comes between, and Ray is not ready yet: `down` can end what a killed `up` left
    with signals.deferred(), (folder / "head.log").open("wb") as log:
        head = subprocess.Popen(  # noqa: S603 - a command line of our own
            command,
            env={**environment(), **variables},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # outlives the terminal, and its family carries its number
        )
        head.returncode = 0  # it is meant to outlive this handle, which would warn about that
        engine = Engine(
            pid=head.pid,
            born=host.born(head.pid) or 0,
            boot=host.boot(),
            mark=mark,
            folder=folder,
            token_file=token_file,
            address=f"127.0.0.1:{port}",
            url=settings.url,
            dashboard_url=f"http://127.0.0.1:{settings.dashboard_port}",
            proxy="haproxy" if profile.has_haproxy() else "ray",
            started_at=datetime.now(UTC),
        )
        host.write(settings.home / "engine.json", engine.model_dump_json(indent=2))
    return engine


def _variables(settings: Settings, folder: Path, mark: str, token_file: Path) -> dict[str, str]:
    """What Ray and everything that it starts finds in its environment beside ours."""
    inherited = environment()
    return profile.variables(settings, folder) | {
        "LEPTON_ENGINE": mark,
        "LEPTON_HOME": str(settings.home),  # replicas and jobs look where `up` looked
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(host.free_port()),
        # `python` of a job, and of what it starts, is this interpreter
        "PATH": f"{Path(sys.executable).parent}{pathsep}{inherited.get('PATH', '')}",
        # workers import capabilities by name
        "PYTHONPATH": pathsep.join(
            filter(None, [str(Path(__file__).parents[1]), inherited.get("PYTHONPATH")])
        ),
    }


def _start_serve(
    engine: Engine, settings: Settings, say: Callable[[str], None], deadline: float
) -> None:
    _wait(engine, deadline, engine.dashboard.answers)
    say("Starting Ray Serve.")
    _wait(engine, deadline, lambda: engine.dashboard.start_serve(settings.host, settings.port))
    _wait(engine, deadline, lambda: _ready(engine))


def _wait(engine: Engine, deadline: float, done: Callable[[], bool]) -> None:
    refusal = ""
    while True:
        try:
            if done():
                return
        except Unavailable as not_yet:
            refusal = not_yet.message
        if not _alive(engine):
            raise Unavailable(f"Ray ended while it started: {_last_words(engine)}")
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Ray is not ready in time: {refusal or _last_words(engine)}",
                hint="The machine may be busy: try again.",
            )
        time.sleep(0.1)


def _let_finish(engine: Engine, say: Callable[[str], None]) -> None:
    """Ask those who use it to leave, and Serve to answer what it has begun."""
    try:
        for pid in engine.dashboard.end_drivers(wait_s=10):
            say(f"Ended process {pid}, which used Ray.")
        say("Letting requests in flight finish.")
        engine.dashboard.drain(wait_s=15)
    except (Conflict, Unavailable) as refusal:  # its processes are known and can be ended
        say(f"{refusal.message} Ending it all the same.")


def _clear(settings: Settings, engine: Engine) -> None:
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


def _alive(engine: Engine) -> bool:
    return engine.boot == host.boot() and host.born(engine.pid) == engine.born


def _ready(engine: Engine) -> bool:
    # any answer will do: until the first application is deployed, a healthy proxy says 503
    with suppress(httpx.HTTPError, Unavailable):
        answer = httpx.get(f"{engine.url}/-/healthz", trust_env=False)
        return bool(answer.status_code) and engine.dashboard.serves()
    return False


def _answers_in_time(engine: Engine) -> bool:
    """Whether it is ready, or gets so while it lives: a training may hold every core."""
    deadline = time.monotonic() + PATIENCE_S
    while _alive(engine) and time.monotonic() < deadline:
        if _ready(engine):
            return True
        time.sleep(0.5)
    return False


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


def _run_folder(settings: Settings) -> Path:
    # not under home, nor TMPDIR: the path of a Unix socket must fit in 107 bytes
    name = hashlib.sha256(realpath(settings.home).encode()).hexdigest()[:8]
    return Path("/tmp") / f"lepton-{name}"  # noqa: S108 - private_folder checks who owns it


def _token(settings: Settings) -> Path:
    path = settings.home / "token"
    if not path.exists():
        host.write(path, secrets.token_hex(32))
    path.chmod(0o600)
    return path


def _read(settings: Settings) -> Engine | None:
    with suppress(OSError, ValidationError):  # a torn record is no record: writing is atomic
        return Engine.model_validate_json((settings.home / "engine.json").read_bytes())
    return None


def _last_words(engine: Engine) -> str:
    lines = (engine.folder / "head.log").read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "its log is empty"
