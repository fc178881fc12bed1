"""Start a Redis of one's own for tests: Debian's redis-server, on a free port of this machine."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INSTALL_S = 120


def program() -> str:
    """The redis-server, installed if it is missing and we may; else the test is skipped."""
    if found := shutil.which("redis-server"):
        return found
    apt = shutil.which("apt-get")
    if apt and os.geteuid() == 0:
        for words in ("update", "install -y --no-install-recommends redis-server"):
            command = [apt, *words.split()]
            subprocess.run(command, capture_output=True, timeout=INSTALL_S, check=False)
    if found := shutil.which("redis-server"):
        return found
    pytest.skip("There is no redis-server here, and it cannot be installed.")


class Server:
    """One Redis, which can be killed, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self._program = program()
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it empty, and waits until it answers."""
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._running = subprocess.Popen(
            [self._program, *place, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """Ends it at once; what it held is gone."""
        if self._running:
            self._running.kill()
            self._running.wait()
            self._running = None

    def freeze(self) -> None:
        """Stops it where it is: connections stay open, nothing answers."""
        assert self._running
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        assert self._running
        self._running.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(folder: Path) -> Iterator[Server]:
    """A Redis for one test or more; it ends with the block."""
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
