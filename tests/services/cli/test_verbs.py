"""Whether a capability answers is known from what its URL says, and silence is not absence."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from services.cli import operate


class Replica(HTTPServer):
    """Answers every GET with one status and body."""

    status, body = 200, b""


class Answers(BaseHTTPRequestHandler):
    server: Replica

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def replica() -> Iterator[Replica]:
    with Replica(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "known"),
    [
        (200, json.dumps({"version": "3"}).encode(), 3),
        (503, b"", 0),
        (404, b"", 0),
        (500, b"", None),
        (200, b"<html>", None),
        (200, b"[]", None),
        (200, b"{}", None),
    ],
)
def test_a_version_its_absence_and_what_cannot_be_known_are_three_things(
    replica: Replica, status: int, body: bytes, known: int | None
) -> None:
    replica.status, replica.body = status, body
    url = f"http://127.0.0.1:{replica.server_port}"
    assert operate._answering("nlp.classify", url) == known
