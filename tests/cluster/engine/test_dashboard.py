"""The dashboard tells who uses Ray and whether Serve runs; where none answers, nobody does."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.base.errors import Conflict, Unavailable
from cluster.engine.dashboard import APPLICATIONS, Dashboard


class Told(HTTPServer):
    """An HTTP server that answers GET with what it was told, to who has the token.

    A string is told as it is and a number is a status; the rest is JSON.
    """

    told: dict[str, Any]


class Answers(BaseHTTPRequestHandler):
    server: Told

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer secret"
        told = self.server.told.get(self.path, 404) if allowed else 401
        self.send_response(told if isinstance(told, int) else 200)
        self.end_headers()
        words = told if isinstance(told, str) else json.dumps(told)
        self.wfile.write(words.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def told() -> Iterator[dict[str, Any]]:
    with Told(("127.0.0.1", 0), Answers) as server:
        server.told = {"url": f"http://127.0.0.1:{server.server_port}"}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.told
        server.shutdown()


@pytest.fixture
def dashboard(told: dict[str, Any], tmp_path: Path) -> Dashboard:
    (tmp_path / "token").write_text("secret")
    return Dashboard(told["url"], tmp_path / "token")


def driver(pid: int, status: str = "RUNNING") -> dict[str, Any]:
    return {"status": status, "driver_info": {"pid": str(pid)}}


def test_where_nobody_answers_nothing_runs(tmp_path: Path) -> None:
    nobody = Dashboard("http://127.0.0.1:9", tmp_path / "token")
    assert not nobody.answers()
    assert not nobody.serves()
    assert nobody.drivers() == []
    assert nobody.usage() == {}


@pytest.mark.parametrize("token", ["another", None])
def test_a_token_that_is_refused_is_told_and_not_taken_for_silence(
    dashboard: Dashboard, token: str | None
) -> None:
    dashboard.token_file.unlink()
    if token:
        dashboard.token_file.write_text(token)
    said = rf"{dashboard.url} refuses the token in {dashboard.token_file}\. One of them"
    for ask in (dashboard.answers, dashboard.serves, dashboard.drivers, dashboard.usage):
        with pytest.raises(Conflict, match=said):
            ask()


def test_what_it_cannot_do_is_told_with_its_words(
    dashboard: Dashboard, told: dict[str, Any]
) -> None:
    told[APPLICATIONS] = 503
    with pytest.raises(Unavailable, match=rf"answers GET {APPLICATIONS} with status 503: 503"):
        dashboard.answers()
    told[APPLICATIONS] = "<html>"
    with pytest.raises(Conflict, match=r"What answers at .* is not Ray's dashboard\. Stop that"):
        dashboard.answers()


def test_serve_runs_when_its_own_proxies_are_healthy(
    dashboard: Dashboard, told: dict[str, Any]
) -> None:
    told[APPLICATIONS] = {"proxies": {}}
    assert dashboard.answers()
    assert not dashboard.serves()
    told[APPLICATIONS] = {"proxies": {"a": {"status": "HEALTHY"}, "b": {"status": "STARTING"}}}
    assert not dashboard.serves()
    told[APPLICATIONS] = {"proxies": {"a": {"status": "HEALTHY"}}}
    assert dashboard.serves()


def test_who_uses_ray_is_asked_to_leave_and_no_other(
    dashboard: Dashboard, told: dict[str, Any]
) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleep) as user, subprocess.Popen(sleep) as former:
        told["/api/jobs/"] = [
            driver(user.pid),
            driver(former.pid, "SUCCEEDED"),
            driver(os.getpid()),
            {"status": "RUNNING", "driver_info": None},
        ]
        assert dashboard.drivers() == [user.pid]
        assert dashboard.end_drivers(wait_s=0.2) == []  # it is told to be there still
        assert user.wait(10) == -15
        assert former.poll() is None
        former.kill()
