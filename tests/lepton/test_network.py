"""Over a real socket: answers, refusals, slowness, and a server that comes back."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from lepton import AsyncClient, Backoff, Client, ConnectError, TimedOut, Unavailable
from tests.lepton.toy import Toy

QUICK = Backoff(base_s=0.001)


class Server:
    """A toy behind a socket.

    Attributes:
        toy: what answers.
        url: where.
        delay_s: before each prediction.
        most: predictions that were ever under way at once.
    """

    def __init__(self) -> None:
        self.toy = Toy()
        self.delay_s = 0.0
        self.most = 0
        under_way: set[object] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if body:
                    under_way.add(self)
                    server.most = max(server.most, len(under_way))
                    time.sleep(server.delay_s)
                    under_way.discard(self)
                answer = server.toy(
                    httpx.Request(
                        self.command,
                        server.url + self.path,
                        headers=dict(self.headers),
                        content=body,
                    )
                )
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                with suppress(ConnectionError):  # the client may have given up
                    self.end_headers()
                    self.wfile.write(answer.content)

            do_POST = do_GET  # noqa: N815  # the names that http.server looks for

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def client(self, *, timeout_s: float = 5.0, retries: int = 3) -> Client:
        """A client that meets this server and no proxy."""
        return Client(
            self.url,
            timeout_s=timeout_s,
            retries=retries,
            chunk_size=2,
            backoff=QUICK,
            transport=httpx.HTTPTransport(),
        )

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_a_batch_goes_there_and_back(server: Server) -> None:
    with server.client() as client:
        outputs = client.nlp.classify(text=[str(n) for n in range(9)])
    assert [out.echo["text"] for out in outputs] == [str(n) for n in range(9)]


def test_a_batch_goes_there_and_back_with_asyncio(server: Server) -> None:
    async def ask() -> list[str]:
        transport = httpx.AsyncHTTPTransport()
        async with AsyncClient(server.url, chunk_size=2, transport=transport) as client:
            outputs = await client.nlp.classify(text=[str(n) for n in range(9)])
            return [out.echo["text"] for out in outputs]

    assert asyncio.run(ask()) == [str(n) for n in range(9)]


def test_a_server_that_was_busy_is_asked_again(server: Server) -> None:
    server.toy.answers = [httpx.Response(503, headers={"Retry-After": "0"}, text="busy")]
    with server.client() as client:
        assert client.nlp.classify(text="good").label == "boot"
    assert len(server.toy.predictions()) == 2


def test_a_server_that_stays_busy_is_unavailable(server: Server) -> None:
    server.toy.answers = [httpx.Response(503, text="busy") for _ in range(9)]
    with server.client() as client, pytest.raises(Unavailable, match="busy"):
        client.nlp.classify(text="good")
    assert len(server.toy.predictions()) == 4


def test_a_slow_answer_is_given_up_in_time(server: Server) -> None:
    server.delay_s = 2.0
    with server.client(timeout_s=0.2) as client:
        client.task("nlp.classify")
        began_s = time.monotonic()
        with pytest.raises(TimedOut, match=r"within 0\.2 s"):
            client.nlp.classify(text="good")
        assert time.monotonic() - began_s < 1.5


def test_chunks_of_the_waiting_client_overlap(server: Server) -> None:
    server.delay_s = 0.1
    with server.client() as client:
        client.nlp.classify(text=[str(n) for n in range(16)])
    assert 2 <= server.most <= 4


def test_nobody_at_the_url_is_a_connect_error() -> None:
    with socket.socket() as held:  # bound and not listening: nobody else can answer there
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with Client(url, backoff=QUICK, transport=httpx.HTTPTransport()) as client:
            with pytest.raises(ConnectError, match=f"No Lepton answers at {url}. Is it running?"):
                client.nlp.classify(text="good")
            with pytest.raises(ConnectError):
                client.health()
