"""What can stop Ray from starting is told by its cause, with what to do about it."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from cluster.base import durable
from cluster.base.errors import Conflict, InvalidInput, NotEnough, Unavailable
from cluster.engine import host, profile, reasons
from cluster.engine.engine import session_folder
from cluster.engine.starting import _variables, temp_folder, up
from tests.support import here

GIB = 2**30
TRACEBACK = """\
Traceback (most recent call last):
  File "forkserver.py", line 138, in ensure_running
    listener.bind(address)
OSError: AF_UNIX path too long
"""
FATAL = "[2026-11-27 22:28:44,387 C 1 1] (gcs_server) grpc.cc:1: Check failed: no port\n*** stack\n"
ALERT = """\
RuntimeError: HAProxy crashed during startup: [NOTICE]   (11119) : config : no state file

[ALERT]    (11119) : [/bin/haproxy.main()] Cannot raise FD limit to 10268, limit is 1024.
"""


def test_a_taken_port_is_named_with_its_process(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=rf"Port {port} is taken by process {os.getpid()} "):
            up(here(tmp_path, port=port))


def test_a_port_that_another_lepton_has_is_told_with_its_home(tmp_path: Path) -> None:
    program = "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
    program += "print(s.getsockname()[1], flush=True); time.sleep(60)"
    theirs = {**os.environ, "LEPTON_ENGINE": "1", "LEPTON_HOME": "/their/home"}  # noqa: TID251
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=theirs
    ) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        try:
            with pytest.raises(Conflict, match=rf"by process {other.pid} .* home /their/home\)"):
                up(here(tmp_path, port=port))
        finally:
            other.kill()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "a..b"])
def test_a_host_that_is_not_this_machine_is_told_as_that(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInput, match=rf"LEPTON_HOST is '{host}', which is no address"):
        up(here(tmp_path, host=host))


def test_a_full_disk_is_told_with_what_is_needed_and_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match=r"has 3 MiB free; models and features need 512 MiB"):
        up(here(tmp_path), free_bytes=lambda _: 3 * 2**20)
    assert not session_folder(tmp_path).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Ray uses its temporary folder")
def test_small_shared_memory_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NotEnough, match=r"shm has 60 MiB free.* 80 MiB\. .*--shm-size"):
        up(
            here(tmp_path),
            free_bytes=lambda folder: 64 * 2**20 if folder.name == "shm" else GIB,
        )


def test_a_home_may_be_a_link_and_is_the_same_home_by_both_names(tmp_path: Path) -> None:
    folder, link = tmp_path / "disk", tmp_path / "home"
    folder.mkdir()
    link.symlink_to(folder)
    with pytest.raises(NotEnough):  # so its home was let through
        up(here(link), free_bytes=lambda _: 0)
    assert session_folder(link) == session_folder(folder)
    dangling, loop = tmp_path / "to be", tmp_path / "loop"
    dangling.symlink_to(tmp_path / "made")
    with pytest.raises(NotEnough):
        up(here(dangling), free_bytes=lambda _: 0)
    assert (tmp_path / "made").is_dir()
    loop.symlink_to(loop)
    with pytest.raises(Conflict, match=rf"{loop} cannot be made: File exists"):
        up(here(loop), free_bytes=lambda _: 0)


def test_a_link_at_the_place_of_ray_s_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Conflict, match=r"link belongs to somebody else"):
        durable.private_folder(tmp_path / "link")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (bytes(3) + b"\4" + bytes(5), Conflict, "RAY_ADDRESS names a cluster that runs already"),
        (b"HTTP/1.1 400 Bad Request", Unavailable, "is not the head of a Ray. Name host:6379"),
        (b"", Unavailable, "is not the head of a Ray. Name host:6379"),
    ],
)
def test_an_address_of_another_cluster_is_not_started_over(
    tmp_path: Path, answer: bytes, error: type[Exception], words: str
) -> None:
    def greet() -> None:
        for _ in range(2):  # whether it listens, and what it is
            with other.accept()[0] as caller:
                caller.recv(9)
                caller.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(error, match=words):
            up(here(tmp_path, ray_address=address))
    with pytest.raises(Unavailable, match=rf"No Ray answers at {address}, .* unset RAY_ADDRESS"):
        up(here(tmp_path, ray_address=address))


def test_few_open_files_mean_few_connections_and_too_few_are_refused() -> None:
    assert profile.connections(profile.FILES) == profile.connections(65_536) == 4096
    assert profile.connections(1024) == 369
    with pytest.raises(
        NotEnough, match=r"may open 256 files here; .* need 512\. .*ulimit -n 65536"
    ):
        host.check_files(256)
    host.check_files(512)


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes() -> None:
    program = "from cluster.engine import host; print(host.raise_file_limit())"
    shell = f"ulimit -Sn 600; ulimit -Hn 2000; '{sys.executable}' -c '{program}'"
    done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stdout == "2000\n"


def test_ray_s_session_goes_where_it_can_be_written(tmp_path: Path) -> None:
    gone, there = str(tmp_path / "gone"), str(tmp_path)
    assert session_folder(tmp_path, [gone, there]).parent == tmp_path
    assert len(os.fsencode(session_folder(tmp_path))) <= 24
    with pytest.raises(Conflict, match=rf"none of {gone} can be written"):
        session_folder(tmp_path, [gone])


def test_a_tmpdir_that_ray_cannot_use_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    session = tmp_path / "session"
    short = Path(tempfile.mkdtemp(dir="/tmp", prefix="a b"))
    try:
        assert temp_folder(str(short), session) == short
    finally:
        short.rmdir()
    long = tmp_path / ("x" * 180)
    long.mkdir()
    for unusable in (str(long), "/no/such/folder", ""):
        assert temp_folder(unusable, session) == session / "tmp"
    assert (session / "tmp").stat().st_mode & 0o777 == 0o700


def test_what_ray_starts_finds_no_proxy_before_loopback_and_spins_in_no_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "a.b")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    given = _variables(here(tmp_path), tmp_path, profile.FILES)
    assert (given["NO_PROXY"], given["OMP_WAIT_POLICY"]) == (
        "a.b,localhost,127.0.0.1,::1",
        "passive",
    )
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert _variables(here(tmp_path), tmp_path, 0)["OMP_WAIT_POLICY"] == "active"


@pytest.mark.parametrize(
    ("log", "text", "told"),
    [
        ("dashboard.err", TRACEBACK, "OSError: AF_UNIX path too long (dashboard.err)"),
        ("gcs_server.out", FATAL, "Check failed: no port (gcs_server.out)"),
        (
            "serve/proxy_1.log",
            ALERT,
            "Cannot raise FD limit to 10268, limit is 1024. (proxy_1.log)",
        ),
        ("raylet.err", "a warning\n", ""),
    ],
)
def test_the_error_of_a_log_is_its_last_line(
    tmp_path: Path, log: str, text: str, told: str
) -> None:
    path = tmp_path / "session_latest" / "logs" / log
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert reasons.last_error(tmp_path) == told
    assert reasons.fatal_error(tmp_path) == ("" if log.startswith("serve/") else told)


def test_a_cause_comes_before_its_consequences(tmp_path: Path) -> None:
    logs = tmp_path / "session_latest" / "logs"
    logs.mkdir(parents=True)
    (tmp_path / "head.log").write_text("Exception: the dashboard failed\n")
    (logs / "dashboard.err").write_text("RuntimeError: Module JobHead failed to start\n")
    assert reasons.last_error(tmp_path).startswith("RuntimeError: Module JobHead failed")
    (logs / "dashboard_JobHead.err").write_text(TRACEBACK)
    assert reasons.last_error(tmp_path).startswith("OSError: AF_UNIX")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Cannot raise FD limit to 10268, limit is 1024.", "ulimit -n"),
        ("OSError: [Errno 24] Too many open files", "ulimit -n"),
        ("OSError: AF_UNIX path too long", "shorter folders"),
        ("OSError: [Errno 98] Address already in use", "run `up` again"),
        ("RuntimeError: can't start new thread", "ulimit -u"),
        ("OSError: [Errno 28] No space left on device", "Free some room"),
        ("ValueError: anything else", ""),
    ],
)
def test_an_error_with_a_known_remedy_is_told_with_it(error: str, words: str) -> None:
    assert words in reasons.remedy(error)
    assert "busy" not in reasons.remedy(error)
    assert bool(reasons.remedy(error)) == bool(words)
