"""Ask one question over 32 connections as fast as it is answered, and count."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.bench.report import percentile, say

CONNECTIONS: Final = 32
ANSWER_S: Final = 2.0  # a request is lost when it has waited that long

# The errors that wrk counts are answers over 399 and broken connections.
SCRIPT: Final = """
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "image/png"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"asked": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}}\\n',
    summary.requests, e.status + e.connect + e.read + e.write + e.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Load:
    """What one bout of load brought.

    Attributes:
        asked: requests that were answered, or failed.
        failed: those of them whose answer was not 200, or that had none.
        seconds: how long the bout took.
        p50: the median latency, in milliseconds.
        p99: the latency that one request in a hundred exceeded, in milliseconds.
    """

    asked: int
    failed: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.asked - self.failed) / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f} requests/s, p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, "
            f"{self.failed} of {self.asked:,} failed"
        )


@cache
def generator() -> str | None:
    """The path of wrk, which takes little of the two cores; None where asyncio must do.

    Where it is missing and may be installed (root on Debian), it is.
    """
    apt = shutil.which("apt-get")
    if not shutil.which("wrk") and apt and os.geteuid() == 0:
        say("Installing wrk, the load generator, with apt-get.")
        subprocess.run(
            [apt, "install", "--yes", "--no-install-recommends", "wrk"],
            check=False,
            capture_output=True,
        )
    found = shutil.which("wrk")
    say("The load comes from wrk." if found else "There is no wrk: the load comes from asyncio.")
    return found


def put(url: str, body: bytes, *, seconds: float) -> Load:
    """Post one picture over 32 keep-alive connections, each asking again when it was answered.

    Args:
        url: where to.
        body: a PNG.
        seconds: for how long.
    """
    wrk = generator()
    if wrk is None:
        return asyncio.run(put_asyncio(url, body, seconds=seconds))
    return _put_wrk(wrk, url, body, seconds)


def _put_wrk(wrk: str, url: str, body: bytes, seconds: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        picture, script = Path(folder) / "body.png", Path(folder) / "post.lua"
        picture.write_bytes(body)
        script.write_text(SCRIPT.format(body=picture))
        command = [
            wrk,
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds:.0f}s",
            f"--timeout={ANSWER_S:.0f}s",
        ]
        command += ["--script", str(script), url]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Load(**json.loads(told.splitlines()[-1]))


@dataclass
class Tally:
    """What the callers of one bout count together."""

    request: bytes
    ends: float
    latencies: list[float] = field(default_factory=list)
    failed: int = 0


class Caller(asyncio.Protocol):
    """One connection that asks, reads the answer and asks again."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.closed = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first time."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the request."""
        self.began = time.perf_counter()
        self.transport.write(self.tally.request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer; when it is whole, count it and ask again."""
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        now = time.perf_counter()
        self.tally.latencies.append(1e3 * (now - self.began))
        self.tally.failed += head[9:12] != b"200"
        self.buffer = b""
        if now < self.tally.ends:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the other side ended as a failure."""
        if exc is not None or time.perf_counter() < self.tally.ends:
            self.tally.failed += 1
        if not self.closed.done():
            self.closed.set_result(None)


async def put_asyncio(url: str, body: bytes, *, seconds: float) -> Load:
    """`put` without wrk."""
    place = urlsplit(url)
    host, port = place.hostname or "127.0.0.1", place.port or 80
    head = (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    began = time.perf_counter()
    tally = Tally(head.encode() + body, began + seconds)
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(tally), host, port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.wait([caller.closed for caller in callers], timeout=seconds + ANSWER_S)
    took, latencies = time.perf_counter() - began, tally.latencies
    lost = sum(not caller.closed.done() for caller in callers)
    return Load(
        asked=len(latencies) + lost,
        failed=tally.failed + lost,
        seconds=took,
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
    )


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError("An answer does not say how long it is: this generator cannot read it.")
