"""What HAProxy itself answers: problem documents, from the configuration that Ray writes."""

import http.server
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import profile
from cluster.host import free_port
from cluster.settings import Settings
from tests.support import problem

MIB = 2**20
# The lines of Ray Serve's template that the wrapper looks for.
RAYS = """\
global
    log 127.0.0.1 local0 info
    tune.bufsize 131072
defaults
    mode http
    option log-health-checks
    timeout connect 1s
    timeout client 60s
    timeout server 300ms
    log global
    option httplog
    retries 0
    errorfile 502 /nowhere
    errorfile 503 /nowhere
    errorfile 504 /nowhere
frontend prometheus
    bind :{metrics}
    mode http
    no log
frontend http_frontend
    bind 127.0.0.1:{port}
    acl is_slow path /slow
    acl is_gone path /gone
    acl is_broken path /broken
    use_backend gone if is_gone
    use_backend broken if is_broken
    default_backend replica
backend replica
    log global
    server one 127.0.0.1:{replica}
backend broken
    server one 127.0.0.1:{broken}
backend gone
    server one 127.0.0.1:{gone}
listen stats
  bind *:{stats}
  stats enable
"""
KEPT = "abc-1.2_Z"


class Replica(http.server.BaseHTTPRequestHandler):
    """Says whether it is told not to watch for callers who hang up; at /slow it comes too late."""

    def do_POST(self) -> None:
        if self.path == "/slow":
            time.sleep(0.5)
        self.send_response(200)
        self.end_headers()
        self.wfile.write((self.headers["x-request-disconnect-disabled"] or "").encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HAProxy as Ray starts it, before a replica, one that breaks off, and one that is gone."""
    if not profile.has_haproxy():
        pytest.skip("Ray's HAProxy is for Linux only.")
    folder = tmp_path_factory.mktemp("haproxy")
    made = profile.variables(Settings(home=folder, body_limit_mb=1), folder)
    replica = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replica)
    broken = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=replica.serve_forever, daemon=True).start()
    threading.Thread(target=break_off, args=(broken,), daemon=True).start()
    ports = {"port": free_port(), "replica": replica.server_port, "gone": free_port()}
    ports |= {"broken": broken.getsockname()[1], "metrics": free_port(), "stats": free_port()}
    config = folder / "cfg"
    config.write_text(RAYS.format(**ports))
    wrapper = made["RAY_SERVE_HAPROXY_BINARY_PATH"]
    running = subprocess.Popen([wrapper, "-db", "-f", str(config)])
    try:
        await_port(ports["port"])
        yield f"http://127.0.0.1:{ports['port']}"
    finally:
        running.terminate()
        running.wait(10)
        replica.shutdown()
        replica.server_close()
        broken.close()


def break_off(server: socket.socket) -> None:
    try:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"nonsense\r\n\r\n")
    except OSError:
        return


def await_port(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def post(url: str, content: bytes = b"x", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(url, content=content, headers=named, trust_env=False)


def test_a_body_over_the_limit_is_refused_with_the_limit_and_its_size(url: str) -> None:
    found = problem(post(url, b"x" * (MIB + 1)), 413)
    assert found.detail == (
        "The body has 1048577 bytes; the limit is 1048576. "
        "Send fewer inputs at a time, or smaller ones."
    )
    assert (found.code, found.errors[0].limit, found.errors[0].actual) == (
        "too-large", MIB, MIB + 1,
    )  # fmt: skip
    assert post(url, b"x" * MIB).status_code == 200


def test_a_plain_request_id_is_kept_and_an_odd_one_replaced(url: str) -> None:
    large = b"x" * (MIB + 1)
    assert problem(post(url, large, x_request_id=KEPT), 413).request_id == KEPT
    odd = problem(post(url, large, x_request_id='a"b'), 413).request_id
    assert re.fullmatch(r"[0-9a-f-]{36}", odd)


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/gone", 503, "No replica could answer. Ask again in a second; "),
        ("/broken", 503, "No replica could answer. Ask again in a second; "),
        ("/slow", 504, "No replica answered in time. Send fewer inputs at a time."),
    ],
)
def test_a_replica_that_does_not_answer_is_a_problem(
    url: str, path: str, status: int, detail: str
) -> None:
    answer = post(url + path)
    found = problem(answer, status)
    assert found.detail.startswith(detail)
    assert answer.headers["Retry-After"] == "1"
    assert found.retry_after_s == 1


def test_a_request_that_does_not_come_is_told_what_to_do(url: str, tmp_path: Path) -> None:
    profile._write_rules(tmp_path, MIB)
    told = json.loads((tmp_path / "408.json").read_text())
    assert told["status"] == 408
    assert told["detail"] == (
        "The request was not complete within 15 s. Send it faster, or less at a time."
    )
    assert "http-error status 408" in (tmp_path / "defaults").read_text()


def test_replicas_watch_for_a_caller_only_where_the_caller_asks(url: str) -> None:
    assert post(url).text == "?1"
    assert post(url, x_request_disconnect_disabled="?0").text == "?0"
