"""Ask this machine: which processes, which ports, how much room."""

import ctypes
import errno
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from cluster.base.errors import Conflict, InvalidInput, NotEnough

MIB: Final = 2**20
HOME_NEED_BYTES: Final = 512 * MIB
TEMP_NEED_BYTES: Final = 1024 * MIB  # logs, and objects that do not fit in memory
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where Ray keeps objects, on Linux
HTTP2_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
HTTP2_SETTINGS: Final = b"\x04"  # the kind of frame that a server begins with
TLS_ALERT: Final = b"\x15"
FILES_NEED: Final = 512
FILES_WISH: Final = 65_536
STORE_FLOOR_BYTES: Final = 80 * MIB  # Ray asks for 75


def born(pid: int) -> int | None:
    """When a process started, on a clock that nobody can set; None when there is none."""
    with suppress(OSError, psutil.Error):
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in {"Z", "X"} else int(fields[19])
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time())
    return None


def boot() -> str:
    """Which start of the machine this is."""
    kernel = Path("/proc/sys/kernel/random/boot_id")
    return kernel.read_text().strip() if kernel.exists() else str(int(psutil.boot_time()))


def family(pid: int, born_at: int, mark: str) -> list[psutil.Process]:
    """The living processes that one session leader started, also when it is gone.

    They carry its number as their session's, or `mark` in their environment (jobs open a session
    of their own), or descend from one that does. This process is never among them.
    """
    leader = born(pid)
    session = pid if leader in {None, born_at} else None  # else the number is somebody else's now
    found = {}
    for process in psutil.process_iter():
        if (born(process.pid) or 0) < born_at:
            continue
        if _session(process.pid) == session or _carries(process, mark):
            found[process.pid] = process
            with suppress(psutil.Error):
                found |= {child.pid: child for child in process.children(recursive=True)}
    return [process for process in found.values() if process.pid != os.getpid()]


def strays(home: Path) -> list[psutil.Process]:
    """The processes of an engine of this home, whatever became of its record."""
    found = []
    for process in psutil.process_iter():
        theirs = _variables(process)
        is_of_home = "LEPTON_ENGINE" in theirs and theirs.get("LEPTON_HOME") == str(home)
        if is_of_home and process.pid != os.getpid() and born(process.pid):
            found.append(process)
    return found


def ended_child(pid: int, names: Collection[str]) -> str:
    """How one of a process's children by these names ended that it has not asked after; else empty.

    Linux alone says with what status.
    """
    with suppress(psutil.Error, OSError, IndexError):
        for child in psutil.Process(pid).children():
            if child.name() in names and child.status() == psutil.STATUS_ZOMBIE:
                fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
                code = int(fields[49])
                how = f"by {signal.Signals(code & 127).name}" if code & 127 else f"with {code >> 8}"
                return f"{child.name()} ended {how}"
    return ""


def end(processes: list[psutil.Process], *, grace_s: float) -> list[psutil.Process]:
    """Ask processes to end, kill those that have not after `grace_s`, return what is left."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(ask)
        deadline = time.monotonic() + grace_s
        while processes and time.monotonic() < deadline:
            time.sleep(0.05)
            # a zombie has ended, whenever its parent cares to notice
            processes = [p for p in processes if born(p.pid) is not None and p.is_running()]
    return processes


def resident_bytes(process: psutil.Process) -> int:
    """The memory of one process, without what it shares; 0 when it is gone."""
    with suppress(psutil.Error):
        memory = process.memory_info()
        return int(memory.rss - getattr(memory, "shared", 0))
    return 0


def trim_heap() -> None:
    """Return freed memory to the system, where the C library keeps it for itself (glibc)."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def check_port(host: str, port: int, variable: str) -> None:
    """See that a port can be had.

    Raises:
        Conflict: it is taken; the sentence names the process if that can be seen.
        InvalidInput: the host is no address of this machine.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"Port {port} is taken{_owner(port)}.",
                    hint=f"Stop that, or choose another with {variable}.",
                ) from None
            if isinstance(error, PermissionError):
                raise
            raise InvalidInput(
                f"LEPTON_HOST is {host!r}, which is no address of this machine.",
                hint="Take 127.0.0.1, or 0.0.0.0 for every network that it is in.",
            ) from None


def check_room(
    home: Path, temp: Path, *, store_mb: int | None, free_bytes: Callable[[Path], int]
) -> int:
    """How many bytes Ray's object store may take, once there is room for everything.

    Raises:
        NotEnough: a disk or /dev/shm has less than is needed.
    """
    for place, need, what, other in (
        (home, HOME_NEED_BYTES, "models and features", ", or set LEPTON_HOME to another disk"),
        (temp, TEMP_NEED_BYTES, "Ray's temporary files", ""),
    ):
        if (have := free_bytes(place)) < need:
            raise NotEnough(
                f"The disk of {place} has {have // MIB} MiB free; {what} need {need // MIB} MiB.",
                hint=f"Free some room there{other}.",
            )
    wish = (store_mb or 0) * MIB or min(psutil.virtual_memory().total // 10, 2048 * MIB)
    if not SHARED_MEMORY.exists():  # Ray keeps objects in its temporary folder
        return max(wish, STORE_FLOOR_BYTES)
    have = int(free_bytes(SHARED_MEMORY) * 0.95)
    need = wish if store_mb else STORE_FLOOR_BYTES
    if have < need:
        raise NotEnough(
            f"{SHARED_MEMORY} has {have // MIB} MiB free; Ray's objects need {need // MIB} MiB.",
            hint="Enlarge it (docker run --shm-size=1g)"
            + (", or lower LEPTON_OBJECT_STORE_MB." if need > STORE_FLOOR_BYTES else "."),
        )
    return max(min(wish, have), STORE_FLOOR_BYTES)


def raise_file_limit() -> int:
    """Let this process, and what it starts, open as many files as it may; returns how many.

    Raises:
        NotEnough: that is too few for Ray.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_WISH if hard == resource.RLIM_INFINITY else min(hard, FILES_WISH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # macOS has a bound of its own below the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    check_files(limit)
    return FILES_WISH if limit == resource.RLIM_INFINITY else limit


def check_files(limit: int) -> None:
    """See that a process may open as many files as Ray needs.

    Raises:
        NotEnough: it may not.
    """
    if limit != resource.RLIM_INFINITY and limit < FILES_NEED:
        raise NotEnough(
            f"A process may open {limit:,} files here; Ray and its proxy need {FILES_NEED:,}.",
            hint="Raise the limit in the shell that runs `up` (ulimit -n 65536), in "
            "/etc/security/limits.conf, or of the container (--ulimit nofile=65536:65536).",
        )


def listens(address: str, *, timeout_s: float = 2.0) -> bool:
    """Whether something answers at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except (OSError, ValueError):
        return False
    return True


def speaks_grpc(address: str, *, timeout_s: float = 5.0) -> bool:
    """Whether what listens at host:port answers as a gRPC server, or wants TLS first."""
    host, _, port = address.rpartition(":")
    with (
        suppress(OSError, ValueError),
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s) as trial,
    ):
        trial.settimeout(timeout_s)
        trial.sendall(HTTP2_HELLO)
        answer = trial.recv(9)
        return answer[3:4] == HTTP2_SETTINGS or answer[:1] == TLS_ALERT
    return False


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _session(pid: int) -> int:
    with suppress(OSError):
        return os.getsid(pid)
    return -1


def _carries(process: psutil.Process, mark: str) -> bool:
    return _variables(process).get("LEPTON_ENGINE") == mark


def _variables(process: psutil.Process) -> dict[str, str]:
    with suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def _owner(port: int) -> str:
    with suppress(psutil.Error):  # other people's processes are hidden, on some systems all are
        for connection in psutil.net_connections("tcp"):
            local, listening = connection.laddr, connection.status == psutil.CONN_LISTEN
            if listening and local and local.port == port and connection.pid:
                owner = psutil.Process(connection.pid)
                theirs = _variables(owner)
                lepton = "LEPTON_ENGINE" in theirs
                whose = f", Lepton's with home {theirs['LEPTON_HOME']}" if lepton else ""
                return f" by process {owner.pid} ({owner.name()}{whose})"
    return ""
