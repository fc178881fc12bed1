"""What HAProxy itself answers: problem documents, from the configuration that Ray writes."""

import http.client
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

from cluster.base.settings import Settings
from cluster.engine import profile
from cluster.engine.haproxy import with_answers
from cluster.engine.host import free_port
from lepton.wire import PROBLEM_MEDIA_TYPE, Problem
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


HEAD = b"POST / HTTP/1.1\r\nHost: lepton\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        HEAD.replace(b"/ ", b"/a#b ") + b"Content-Length: 1\r\n\r\nx",
        HEAD + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        HEAD.replace(b"/ ", b"/" + b"a" * 200_000 + b" ") + b"\r\n",
        HEAD + b"X Spaced: 1\r\n\r\n",
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD.replace(b"POST", b"P(ST") + b"\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x00\r\n\r\n",
    ],
)
def test_what_is_no_http_is_a_problem_that_says_what_to_send(
    url: str, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as line:
        line.settimeout(5)
        line.sendall(request_bytes)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        body = answer.read()
    assert (answer.status, answer.getheader("Content-Type")) == (400, PROBLEM_MEDIA_TYPE)
    found = Problem.model_validate_json(body)
    assert (found.status, found.title) == (400, "The request cannot be read")
    assert found.detail == "Headers over 128 KiB, or no HTTP."


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (408, "It was not complete within 15 s. Send it faster."),
        (500, "Ask again."),
    ],
)
def test_a_request_that_does_not_come_or_is_lost_is_told_what_to_do(
    url: str, tmp_path: Path, status: int, detail: str
) -> None:
    profile._write_rules(tmp_path, MIB)
    told = json.loads((tmp_path / f"{status}.json").read_text())
    assert (told["status"], told["detail"]) == (status, detail)
    assert f"http-error status {status}" in (tmp_path / "defaults").read_text()
    made = profile.variables(Settings(home=tmp_path), tmp_path)
    copy = Path(made["RAY_SERVE_HAPROXY_BINARY_PATH"]).parent / "bin" / "haproxy"
    assert f'"detail":"{detail}"}}'.encode() in copy.read_bytes()
    assert subprocess.run([copy, "-v"], check=True, capture_output=True).stdout


def test_options_of_no_path_says_which_methods_are_allowed(url: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as line:
        line.settimeout(5)
        line.sendall(b"OPTIONS * HTTP/1.1\r\nHost: lepton\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(line)
        answer.begin()
    assert (answer.status, answer.getheader("Allow")) == (204, "GET, HEAD, POST, OPTIONS")


def test_an_haproxy_of_other_texts_is_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "haproxy"
    other.write_bytes(b"HTTP/1.1 400 Bad\r\n\r\n<html>short</html>\0")
    assert with_answers(other, tmp_path / "copy", profile.UNREAD) == other
    other.write_bytes(b"HTTP/1.1 404 Not found\r\n\r\n<html></html>\0")
    assert with_answers(other, tmp_path / "copy", profile.UNREAD) == other
    assert not (tmp_path / "copy").exists()


def test_replicas_watch_for_a_caller_only_where_the_caller_asks(url: str) -> None:
    assert post(url).text == "?1"
    assert post(url, x_request_disconnect_disabled="?0").text == "?0"
