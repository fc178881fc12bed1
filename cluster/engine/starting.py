"""Start Ray and Serve on this machine, or say what stopped them."""

import os
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from os import pathsep
from os.path import realpath
from pathlib import Path
from typing import Final

from cluster.base import durable, signals
from cluster.base.errors import Unavailable
from cluster.base.settings import Settings, direct_loopback, environment
from cluster.engine import engine, host, profile, reasons
from cluster.engine.engine import Engine

PATIENCE_S: Final = 30.0  # before a Ray that does not answer counts as dead
ERROR_S: Final = 5.0  # how long an error may stay in Ray's logs before it counts as final
PARTS: Final = ("gcs_server", "raylet")  # without which there is no Ray
TMPDIR_BYTES: Final = 64


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
        Conflict: a port is taken, a folder cannot be written, or RAY_ADDRESS names a cluster.
        NotEnough: a disk, /dev/shm or the limit of open files is too small.
        Unavailable: Ray did not start; the message ends with the error that its logs hold.
    """
    if settings.ray_address:
        raise engine.elsewhere(settings.ray_address)
    durable.private_folder(Path(realpath(settings.home)))  # a link to a folder of ours will do
    with durable.lock(settings.home / "engine.lock"):
        if found := engine.read(settings):
            if _answers_in_time(found):
                say("Ray runs already.")
                return found
            say("Ray died here. Cleaning up and starting anew.")
            engine.clear(settings, found)
        else:
            engine.end_strays(settings, say)
        return _start(settings, say, free_bytes, wait_s)


def _answers_in_time(found: Engine) -> bool:
    """Whether it is ready, or gets so while it lives: a training may hold every core."""
    deadline = time.monotonic() + PATIENCE_S
    while engine.alive(found) and time.monotonic() < deadline:
        if engine.ready(found):
            return True
        time.sleep(0.5)
    return False


def _start(
    settings: Settings,
    say: Callable[[str], None],
    free_bytes: Callable[[Path], int],
    wait_s: float,
) -> Engine:
    """See that there is room, start Ray, wait for Serve; what fails leaves nothing behind."""
    folder = engine.session_folder(settings.home)
    store_bytes = host.check_room(
        settings.home, folder.parent, store_mb=settings.object_store_mb, free_bytes=free_bytes
    )
    host.check_port(settings.host, settings.port, "LEPTON_PORT")
    host.check_port("127.0.0.1", settings.dashboard_port, "LEPTON_DASHBOARD_PORT")
    files = host.raise_file_limit()
    if not profile.has_haproxy():
        say("HAProxy comes with Ray on Linux only: its own proxy serves, at a seventh the rate.")
    elif (connections := profile.connections(files)) < profile.CONNECTIONS:
        say(
            f"The proxy takes {connections:,} connections at a time, as a process may open "
            f"{files:,} files here; `ulimit -n {profile.FILES}` lets it take "
            f"{profile.CONNECTIONS:,}."
        )
    say("Starting Ray.")
    started = _launch(settings, durable.private_folder(folder), store_bytes, files)
    try:
        _start_serve(started, settings, say, time.monotonic() + wait_s)
    except BaseException:
        engine.clear(settings, started)
        raise
    return started


def _launch(settings: Settings, folder: Path, store_bytes: int, files: int) -> Engine:
    mark, port, token_file = uuid.uuid4().hex, host.free_port(), _token(settings)
    command = profile.command(settings, folder, port, store_bytes)
    variables = _variables(settings, folder, files) | {
        "LEPTON_ENGINE": mark,
        "RAY_AUTH_TOKEN_PATH": str(token_file),
    }
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
        started = Engine(
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
        durable.write(settings.home / "engine.json", started.model_dump_json(indent=2))
    return started


def _variables(settings: Settings, folder: Path, files: int) -> dict[str, str]:
    """What Ray and everything that it starts finds in its environment beside ours."""
    inherited = environment()
    return profile.variables(settings, folder, files) | {
        "LEPTON_HOME": str(settings.home),  # replicas and jobs look where `up` looked
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(host.free_port()),
        # `python` of a job, and of what it starts, is this interpreter
        "PATH": f"{Path(sys.executable).parent}{pathsep}{inherited.get('PATH', '')}",
        # workers import capabilities by name
        "PYTHONPATH": pathsep.join(
            filter(None, [str(Path(__file__).parents[2]), inherited.get("PYTHONPATH")])
        ),
        # threads that wait for work spin by default: a training beside others took five times as
        # long so, and one alone gained nothing
        "OMP_WAIT_POLICY": inherited.get("OMP_WAIT_POLICY") or "passive",
        # each thread that answers would keep a heap of its own
        "MALLOC_ARENA_MAX": inherited.get("MALLOC_ARENA_MAX") or "2",
        "TMPDIR": str(temp_folder(inherited.get("TMPDIR", ""), folder)),
        **direct_loopback(inherited),
    }


def _start_serve(
    started: Engine, settings: Settings, say: Callable[[str], None], deadline: float
) -> None:
    def wait(done: Callable[[], bool], error_in: Callable[[Path], str]) -> None:
        _wait(started, settings.home, deadline, done, error_in)

    wait(started.dashboard.answers, reasons.fatal_error)
    say("Starting Ray Serve.")
    wait(lambda: started.dashboard.start_serve(settings.host, settings.port), reasons.last_error)
    wait(lambda: engine.ready(started), reasons.last_error)


def _wait(
    started: Engine,
    home: Path,
    deadline: float,
    done: Callable[[], bool],
    error_in: Callable[[Path], str],
) -> None:
    """Wait until it is done; raise where Ray ended, an error stays in its logs, or time is over."""
    refusal, error, since = "", "", 0.0
    while True:
        try:
            if done():
                return
        except Unavailable as not_yet:
            refusal = not_yet.message
        now = time.monotonic()
        seen = error_in(started.folder) or host.ended_child(started.pid, PARTS)
        if not error and seen:
            since = now
        error = seen
        if not engine.alive(started):
            raise _failed("Ray ended while it started", started, home, error or refusal)
        if error and now - since > ERROR_S:
            raise _failed("Ray does not start", started, home, error)
        if now > deadline:
            raise _failed("Ray is not ready in time", started, home, error or refusal)
        time.sleep(0.2)


def _failed(what: str, started: Engine, home: Path, seen: str) -> Unavailable:
    """What went wrong by Ray's own words, and what to do about it."""
    error = reasons.last_error(started.folder)
    why = error or seen or reasons.last_line(started.folder / "head.log") or "its log is empty"
    return Unavailable(
        f"{what}: {why.rstrip('.')}.",
        hint=reasons.remedy(why) or f"All that it logged is in {home / 'logs'}.",
    )


def temp_folder(wanted: str, folder: Path) -> Path:
    """The TMPDIR of Ray's processes: the one that the environment names, if Ray can use it.

    Args:
        wanted: TMPDIR of the environment.
        folder: Ray's session, where there is a short one for it.
    """
    # Python puts /pymp-xxxxxxxx/listener-xxxxxxxx below it
    if wanted and len(os.fsencode(wanted)) <= TMPDIR_BYTES and durable.is_writable(Path(wanted)):
        return Path(wanted).absolute()
    return durable.private_folder(folder / "tmp")


def _token(settings: Settings) -> Path:
    path = settings.home / "token"
    if not path.exists():
        durable.write(path, secrets.token_hex(32))
    path.chmod(0o600)
    return path
