"""Spell out for the request log what was asked and looked up, without what callers wrote."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from cluster.features.monitoring.drift import Statistics, measured
from cluster.features.monitoring.spelling import spelled
from cluster.features.schema.view import View
from cluster.serving.live import Joined, Looked

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Recorder:
    """Makes the lines of one version.

    A line holds the moment, the version, the keys, of every view that was looked up its version,
    status, event time and values (of pictures, vectors and long texts a digest), and of every
    column what is measured of it. Nothing that callers send is kept but keys: of a text they send
    the line has the length, of a picture the brightness, of a sound the loudness.

    Args:
        version: which one.
        statistics: of its training rows: what is measured.
        pins: the release of each model view.
        version_of: gives the version of a view that was looked up, and of those behind it.
    """

    def __init__(
        self,
        version: int,
        statistics: Statistics,
        pins: Mapping[str, int],
        version_of: Callable[[View], str],
    ) -> None:
        self.version = version
        self.statistics = statistics
        self.pins = pins
        self._version_of = version_of
        self._versions: dict[str, str] = {}

    def lines(self, joined: Joined) -> list[dict[str, Any]]:
        """One line for each row of a batch, also for those that were refused."""
        at_us = (joined.at - EPOCH) // MICROSECOND
        measures = measured(self.statistics, joined.batch)
        made, answered = [], 0
        for number, statuses in enumerate(joined.statuses):
            line: dict[str, Any] = {"at": at_us, "version": self.version}
            views = [v for v in joined.views if v.name in statuses and _has_key(v, joined, number)]
            if views:
                names = {name for view in views for name in view.key}
                line["keys"] = {name: joined.keys[name][number] for name in sorted(names)}
                line["views"] = {
                    view.name: self._seen(view, joined.looked[view.name], number) for view in views
                }
                line["degraded"] = joined.degraded
            if number not in joined.refused:
                line["measures"] = {name: of[answered] for name, of in measures.items()}
                answered += 1
            made.append(line)
        return made

    def _seen(self, view: View, looked: Looked, number: int) -> dict[str, Any]:
        if view.name not in self._versions:  # reading a function's text takes a while
            self._versions[view.name] = self._version_of(view)
        status = str(looked.status[number])
        seen: dict[str, Any] = {"version": self._versions[view.name], "status": status}
        if view.name in self.pins:
            seen["release"] = self.pins[view.name]
        if status == "present":
            seen["time"] = int(looked.times[number].astype("datetime64[us]").astype(np.int64))
            seen["values"] = {name: spelled(of[number]) for name, of in looked.columns.items()}
        return seen


def _has_key(view: View, joined: Joined, number: int) -> bool:
    return all(joined.keys[name][number] for name in view.key)
