"""Keep what replicas were asked and what they looked up: some lines of JSON, bounded in size."""

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

log = logging.getLogger("ray.serve")

Line = Mapping[str, Any]
Make = Callable[[], Sequence[Line]]
"""Spells out what was served, one line a row; called in the log's own thread."""

FILE_BYTES = 4 * 2**20
ROWS_PER_S = 200
WAIT_S = 0.1  # how often it is seen whether the thread is alive still
WAITING = 64  # batches; more at once are not worth their memory


class RequestLog:
    """Appends to files of one folder, in a thread, so that no answer waits for it.

    What is more than the share, than some hundred rows a second, or than the thread keeps up with
    is left out; of all files the oldest go where they are too many bytes together. A full disk
    costs lines, never an answer.

    Args:
        folder: of one capability; several replicas may write there.
        share: of the batches that are kept, from 0 to 1.
        limit_bytes: what all files together may take.
        rows_per_s: the most rows that are kept.
    """

    def __init__(
        self, folder: Path, *, share: float, limit_bytes: int, rows_per_s: float = ROWS_PER_S
    ) -> None:
        self.folder = folder
        self.share = share
        self.limit_bytes = limit_bytes
        self.rows_per_s = rows_per_s
        self._allowed = rows_per_s
        self._since = time.monotonic()
        self._queue: queue.Queue[Make | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None

    def keep(self, make: Make, rows: int) -> None:
        """Note a batch, if it is among those that are kept; this returns at once."""
        if not self.share or (self.share < 1 and random.random() >= self.share):  # noqa: S311
            return
        now = time.monotonic()
        self._allowed = min(self.rows_per_s, self._allowed + (now - self._since) * self.rows_per_s)
        self._since = now
        if self._allowed <= 0:
            return
        self._allowed -= rows
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="request log", daemon=True)
            self._thread.start()
        with suppress(queue.Full):
            self._queue.put_nowait(make)

    def close(self) -> None:
        """Wait until all that was noted is on its way to the disk."""
        if self._thread is not None:
            while self._thread.is_alive():  # a full queue that nobody reads would block for good
                with suppress(queue.Full):
                    self._queue.put(None, timeout=WAIT_S)
                    self._thread.join()
            self._thread = None

    def _write(self) -> None:
        file: BinaryIO | None = None
        try:
            while make := self._queue.get():
                try:
                    if file is None or file.tell() >= FILE_BYTES:
                        file = self._next(file)
                    file.writelines(orjson.dumps(line) + b"\n" for line in make())
                    file.flush()
                except orjson.JSONEncodeError as error:
                    log.warning("A request is not logged in %s: %s", self.folder, error)
                except OSError as error:
                    log.warning("Requests are not logged in %s: %s", self.folder, error)
                    _end(file)  # it may be closed, or end in half a line: the next gets a new one
                    file = None
                    time.sleep(1)  # what comes meanwhile is left out
        finally:
            _end(file)

    def _next(self, file: BinaryIO | None) -> BinaryIO:
        """A new file, once the oldest that are too many are gone."""
        if file is not None:
            file.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = 0
        for path in reversed(files(self.folder)):
            with suppress(FileNotFoundError):  # another replica removes them too
                kept += path.stat().st_size
                if kept > self.limit_bytes - FILE_BYTES:
                    path.unlink()
        return (self.folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl").open("ab")


def _end(file: BinaryIO | None) -> None:
    """Close a file, whatever its disk says; one that is empty goes."""
    if file is None:
        return
    with suppress(OSError):
        file.close()
    with suppress(OSError):
        path = Path(file.name)
        if not path.stat().st_size:
            path.unlink()


def files(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def read(folder: Path) -> Iterator[dict[str, Any]]:
    """Every line of a log, oldest file first; one that a killed replica tore is left out."""
    for path in files(folder):
        with suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n") and line.strip():
                    yield orjson.loads(line)


def erase(folder: Path, key: Mapping[str, str]) -> int:
    """Overwrites the lines of a log that look-ups of a key left; says how many.

    They become blanks of the same length: replicas go on appending to the same files.

    Args:
        folder: of one capability.
        key: columns and their values; a line that has all of them goes.
    """
    erased = 0
    for path in files(folder):
        with suppress(FileNotFoundError), path.open("rb") as lines, path.open("r+b") as file:
            place = 0
            for line in lines:
                if line.endswith(b"\n") and line.strip() and _is_about(orjson.loads(line), key):
                    os.pwrite(file.fileno(), b" " * (len(line) - 1), place)
                    erased += 1
                place += len(line)
            os.fsync(file.fileno())
    return erased


def _is_about(line: Line, key: Mapping[str, str]) -> bool:
    said: Mapping[str, str] = line.get("keys", {})
    return key.items() <= said.items()
