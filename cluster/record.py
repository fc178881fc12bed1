"""Spell out for the request log what was asked and looked up, without what callers wrote."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.batch import Batch
from cluster.features.drift import Statistics, measured
from cluster.features.view import View
from cluster.live import Joined

LONG = 200  # characters or elements; of what is longer a digest is kept


class Recorder:
    """Makes the lines of one version.

    A line holds the moment, the version, the keys, of every view that was looked up its version,
    status, event time and values, and of every column what is measured of it. Texts and pictures
    that callers send are not kept: of them the line has the length or the brightness.

    Args:
        version: which one.
        statistics: of its training rows: what is measured.
        pins: the release of each model view.
    """

    def __init__(self, version: int, statistics: Statistics, pins: Mapping[str, int]) -> None:
        self.version = version
        self.statistics = statistics
        self.pins = pins
        self._versions: dict[str, str] = {}

    def lines(self, joined: Joined, served_us: int) -> list[dict[str, Any]]:
        """One line for each row, also for those that were refused.

        Args:
            joined: what was asked.
            served_us: when, in microseconds since 1970.
        """
        measures = measured(self.statistics, joined.batch)
        made, answered = [], 0
        for number, statuses in enumerate(joined.statuses):
            line: dict[str, Any] = {"at": served_us, "version": self.version}
            views = [view for view in joined.views if view.name in statuses]
            if views:
                line["keys"] = {
                    name: joined.looked[name][number] for view in views for name in view.key
                }
                line["views"] = {
                    view.name: self._seen(view, joined.looked, number) for view in views
                }
                line["degraded"] = joined.degraded
            if number not in joined.refused:
                line["measures"] = {name: of[answered] for name, of in measures.items()}
                answered += 1
            made.append(line)
        return made

    def _seen(self, view: View, looked: Batch, number: int) -> dict[str, Any]:
        if view.name not in self._versions:  # reading a function's text takes a while
            self._versions[view.name] = view.version
        status = str(looked[f"{view.name}_status"][number])
        seen: dict[str, Any] = {"version": self._versions[view.name], "status": status}
        if view.name in self.pins:
            seen["release"] = self.pins[view.name]
        if status == "present":
            time = looked[f"{view.name}_time"][number]
            seen["time"] = int(np.datetime64(time, "us").astype(np.int64))
            seen["values"] = {name: spelled(looked[name][number]) for name in view.columns}
        return seen


def spelled(value: Any) -> Any:
    """A value as JSON: itself, or a digest where it is long. Equal values give equal JSON."""
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        return _digest(f"{content.dtype}{content.shape}".encode() + content.tobytes())
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str | list | tuple) and len(value) > LONG:
        return _digest(repr(value).encode(errors="surrogatepass"))
    return value


def _digest(content: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(content).hexdigest()[:32]}
