"""Push fields of answers to views after the answer: at least once, and never in its way."""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import BaseModel

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, LeptonError, nearest
from cluster.contract.task import AnyTask
from cluster.features.schema.view import View
from cluster.serving.live import OpenLayer

log = logging.getLogger("ray.serve")

TOGETHER = 1_000  # rows that one push takes
AGAIN_S, SELDOM_S = 0.1, 30.0  # between two tries: first, and at most
LIMIT_BYTES = 64 * 2**20
Row = dict[str, Any]
"""One row on its way: `view`, `event_time` and the columns in `row`."""


class Writer:
    """Makes rows of the views that a capability writes out of its answers.

    A column is the field of Output of that name or, where there is none, of Input. An answer in
    which one of them is None writes nothing to that view.

    Args:
        task: the capability.

    Raises:
        InvalidInput: it cannot write one of the views that it names.
    """

    def __init__(self, task: type[AnyTask]) -> None:
        self.views = task.writes
        self._fields: dict[str, list[tuple[str, bool]]] = {}
        self._newest = 0
        fields = {**task.Input.model_fields, **task.Output.model_fields}
        for view in self.views:
            check(task, view)
            for name in (*view.key, *view.columns):
                if name not in fields:
                    raise InvalidInput(
                        f"{task.name()} writes view {view.name!r}, whose column {name!r} is a "
                        "field neither of its Output nor of its Input.",
                        hint=nearest(name, fields),
                    )
            names = (*view.key, *view.columns)
            self._fields[view.name] = [(name, name in task.Output.model_fields) for name in names]

    def rows(self, inputs: Sequence[BaseModel], answers: Sequence[object]) -> list[Row]:
        """The rows that some answers write, each a microsecond after the one before it.

        Args:
            inputs: what was asked.
            answers: an Output to each, or an error, which writes nothing.
        """
        made = []
        for asked, answer in zip(inputs, answers, strict=True):
            if not isinstance(answer, BaseModel):
                continue
            for name, fields in self._fields.items():
                row = {field: getattr(answer if own else asked, field) for field, own in fields}
                if None not in row.values():
                    made.append({"view": name, "event_time": self._moment(), "row": row})
        return made

    def _moment(self) -> str:
        """Now, and later than all before: what is pushed twice is then the same row."""
        self._newest = max(self._newest + 1, time.time_ns() // 1_000)
        return f"{np.datetime64(self._newest, 'us')}Z"


def check(task: type[AnyTask], view: View) -> None:
    """Refuse a view that answers cannot be written to.

    Raises:
        InvalidInput: it is made from others, or holds what a line of JSON does not carry.
    """
    if view.needs:
        raise InvalidInput(
            f"{task.name()} writes view {view.name!r}, which is made from {', '.join(view.needs)}.",
            hint="Write a source view.",
        )
    for name, column in view.columns.items():
        if pa.types.is_binary(column.arrow) or pa.types.is_timestamp(column.arrow):
            raise InvalidInput(
                f"{task.name()} writes view {view.name!r}, whose column {name!r} is {column}.",
                hint="Texts, numbers, lists of them and vectors are written.",
            )


class Outbox:
    """Holds rows in a file until they are pushed, by a thread of its own.

    `put` returns once the rows are with the operating system: they outlive the process, though not
    a power cut. What a killed process left is pushed by the next that opens the folder. A row that
    is pushed twice is one row, as its key and event time are the same.

    While pushes fail they are tried again, for as long as it takes; beyond `limit_bytes` that wait,
    further rows are lost, and the log says so. A row that no view can hold is left out.

    Args:
        folder: of one capability; several replicas may write there.
        open_layer: opens the feature layer, in the thread.
        limit_bytes: what may wait.
    """

    def __init__(
        self, folder: Path, open_layer: OpenLayer, *, limit_bytes: int = LIMIT_BYTES
    ) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._open_layer = open_layer
        self._layer: Any = None
        self._changed = threading.Condition()
        self._waiting: list[Row] = []
        self._size = 0
        self._ended = False
        self._path, self._file = _begun(folder)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, rows: Sequence[Row]) -> None:
        """Takes rows; they will be pushed."""
        if not rows:
            return
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        with self._changed:
            if self._size + len(data) > self.limit_bytes:
                log.error("%d rows are lost: over %d bytes wait already", len(rows), self._size)
                return
            try:
                os.write(self._file, data)
            except OSError as error:  # they are pushed all the same, if nothing kills this process
                log.warning("Rows that wait in %s are not on the disk: %s", self.folder, error)
            self._size += len(data)
            self._waiting += rows
            self._changed.notify_all()

    def close(self, wait_s: float = 10.0) -> bool:
        """Waits until all is pushed, and says whether it is; what is not stays for the next."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._waiting, wait_s)
            self._ended = True
            self._changed.notify_all()
        self._thread.join(wait_s)
        return done

    def _run(self) -> None:
        try:
            self._push_all()
        finally:
            with self._changed:  # here, since a number that is closed may be another file's soon
                if not self._waiting:
                    self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = -1

    def _push_all(self) -> None:
        self._adopt()
        while some := self._next():
            if not self._push(some):
                return
            with self._changed:
                del self._waiting[: len(some)]
                if not self._waiting:
                    os.ftruncate(self._file, 0)
                    self._size = 0
                self._changed.notify_all()

    def _next(self) -> list[Row]:
        """The rows that are pushed next, once there are some; none in the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return self._waiting[:TOGETHER]

    def _adopt(self) -> None:
        """Pushes what processes left that are no more: the lock of their file is free."""
        for path in sorted(self.folder.glob("*.jsonl")):
            try:
                file = path.open("rb")
            except FileNotFoundError:  # another replica took it over
                continue
            with file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                rows = [orjson.loads(line) for line in file if line.endswith(b"\n")]
                starts = range(0, len(rows), TOGETHER)
                if all(self._push(rows[start : start + TOGETHER]) for start in starts):
                    path.unlink(missing_ok=True)

    def _push(self, rows: Sequence[Row]) -> bool:
        """Pushes rows, by view; False where it was ended before that worked."""
        ordered = sorted(rows, key=lambda row: str(row["view"]))
        groups = groupby(ordered, key=lambda row: str(row["view"]))
        return all(self._push_to(view, list(some)) for view, some in groups)

    def _push_to(self, view: str, rows: Sequence[Row]) -> bool:
        for wait_s in _waits():
            try:
                if self._layer is None:
                    self._layer = self._open_layer()
                self._layer.push(view, _columns(rows))
            except InvalidInput as error:
                if len(rows) > 1:  # which of them is it?
                    return all(self._push_to(view, [row]) for row in rows)
                log.warning("An answer is not written to view %s: %s", view, error)
            except (LeptonError, OSError) as error:
                log.warning("Answers wait to be written to view %s: %s", view, error)
                with self._changed:
                    if self._changed.wait_for(lambda: self._ended, wait_s):
                        return False
                continue
            return True
        return False


def _begun(folder: Path) -> tuple[Path, int]:
    """A file of this process's own: it has the name that others look for once it is locked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl"
    hidden = path.with_name(f".{path.name}")
    file = os.open(hidden, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    fcntl.flock(file, fcntl.LOCK_EX)
    hidden.rename(path)
    return path, file


def _columns(rows: Sequence[Row]) -> Mapping[str, Any]:
    names = rows[0]["row"]
    columns = {name: objects(row["row"][name] for row in rows) for name in names}
    return {**columns, "event_time": objects(row["event_time"] for row in rows)}


def _waits() -> Iterator[float]:
    wait_s = AGAIN_S
    while True:
        yield wait_s
        wait_s = min(SELDOM_S, 2 * wait_s)
