"""Hold what was looked up online to what an offline join says of the same moment."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from cluster.base.batch import Batch
from cluster.base.errors import LeptonError
from cluster.features.derived.modelview import ModelView
from cluster.features.joins.held import Asked, AsOf, held, history_of, leaves
from cluster.features.joins.history import Stored
from cluster.features.joins.join import all_held
from cluster.features.layer import Layer
from cluster.features.monitoring.spelling import spelled
from cluster.features.offline.shape import ARRIVED
from cluster.features.online.lag import Lag
from cluster.features.schema.view import View

SETTLE_US = 500_000
"""A row that was committed so shortly before or after a look-up was on its way while it was looked
up, as a push takes no longer: that it was seen or not seen proves nothing."""
STATUS = "(status)"
AT_ONCE = 20_000


@dataclass(frozen=True)
class Difference:
    """One value that was not the same on both sides.

    Attributes:
        view: its name.
        key: the key, by column.
        at: the moment of the look-up, in microseconds since 1970, UTC.
        column: of the view; `(status)` where one side knew something and the other did not.
        online: what the replica was told.
        offline: what the stored rows say that had come in by then.
    """

    view: str
    key: Mapping[str, str]
    at: int
    column: str
    online: Any
    offline: Any


@dataclass
class Report:
    """What came of holding logged look-ups to the offline join.

    Attributes:
        compared: how many look-ups of one view for one key.
        differences: every value that differed.
        in_flight: look-ups that differ by rows that were committed within half a second of them,
            and are online now.
        rewritten: look-ups of rows that were replaced since, so that nothing tells what they held.
        left_out: look-ups that cannot be compared, by the reason.
        lags: what is stored and not online now, of each view that came to differ.
    """

    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    in_flight: int = 0
    rewritten: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    lags: dict[str, Lag] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What one side knows of a view for one key at one moment: values only where present."""

    status: str
    time: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Logged:
    """One look-up as the log has it."""

    key: Mapping[str, str]
    at: int
    state: Observed


def check(
    layer: Layer,
    views: Sequence[View],
    lines: Iterable[Mapping[str, Any]],
    *,
    at_once: int = AT_ONCE,
) -> Report:
    """Compare every logged look-up with the join as of its moment.

    The join sees the rows that had been committed by that moment, and no others. Values must be
    equal to the last bit, and so must event times and statuses.

    Args:
        layer: where the offline rows are.
        views: those that the capability looks up, as it declares them.
        lines: of its request log.
        at_once: how many look-ups of a view are compared together: the rows of their keys lie in
            memory, and each data file is read once for them.
    """
    report = Report()
    grouped = _grouped(layer, {view.name: view for view in views}, lines, report)
    for (view, release), asked in grouped:
        for part in _parts(asked, at_once):
            _compare(_Offline(layer, view, release, part), part, report)
    return report


Groups = Iterable[tuple[tuple[View, int], Sequence[Logged]]]
"""Of a view, and of the release of its model, the look-ups that can be compared."""


def _grouped(
    layer: Layer, declared: Mapping[str, View], lines: Iterable[Mapping[str, Any]], report: Report
) -> Groups:
    """Look-ups by view and release; the report is told of those that cannot be compared."""

    @cache  # reading a function's text takes a while
    def version(name: str, release: int) -> str:
        view = declared[name]
        now = view.at(release) if isinstance(view, ModelView) else view
        return now.version_over(layer.inputs)

    grouped: dict[tuple[str, int], list[Logged]] = {}
    for line in lines:
        for name, seen in line.get("views", {}).items():
            release = seen.get("release", 0)
            if reason := _incomparable(name, seen, line, declared, version):
                report.left_out[reason] = report.left_out.get(reason, 0) + 1
                continue
            key = {part: line["keys"][part] for part in declared[name].key}
            state = Observed(seen["status"], seen.get("time", 0), seen.get("values", {}))
            grouped.setdefault((name, release), []).append(Logged(key, line["at"], state))
    return [((declared[name], release), asked) for (name, release), asked in grouped.items()]


def _parts(asked: Sequence[Logged], size: int) -> Iterator[Sequence[Logged]]:
    """So many look-ups at a time, those of one key beside each other."""
    if len(asked) > size:
        asked = sorted(asked, key=lambda one: tuple(one.key.values()))
    for start in range(0, len(asked), size):
        yield asked[start : start + size]


def _incomparable(
    name: str,
    seen: Mapping[str, Any],
    line: Mapping[str, Any],
    declared: Container[str],
    version: Callable[[str, int], str],
) -> str:
    """Why a logged look-up cannot be compared; nothing where it can."""
    if line.get("degraded") and seen["status"] == "missing":
        return "the store could not be asked"
    if name not in declared:
        return "the view is no longer looked up"
    same = version(name, seen.get("release", 0)) == seen["version"]
    return "" if same else "the view is declared otherwise now"


def _compare(offline: "_Offline", asked: Sequence[Logged], report: Report) -> None:
    report.compared += len(asked)
    by_then = offline.states(range(len(asked)), 0)
    odd = [n for n, one in enumerate(asked) if one.state != by_then[n]]
    before = dict(zip(odd, offline.states(odd, -SETTLE_US), strict=True))
    after = dict(zip(odd, offline.states(odd, SETTLE_US), strict=True))
    by_now = dict(zip(odd, offline.states(odd, None), strict=True))
    for n in odd:
        one, state = asked[n], by_then[n]
        if one.state in (before[n], after[n]) and not offline.never_came(n):
            report.in_flight += 1
        elif state.time != one.state.time == by_now[n].time:
            report.rewritten += 1
        else:
            report.differences += _differences(offline.view, one, state)
            report.lags |= {lag.view: lag for lag in offline.lags}


def _differences(view: View, one: Logged, offline: Observed) -> list[Difference]:
    if one.state.status != offline.status:
        words = (one.state.status, offline.status)
        return [Difference(view.name, one.key, one.at, STATUS, *words)]
    found = [
        Difference(view.name, one.key, one.at, name, value, offline.values.get(name))
        for name, value in one.state.values.items()
        if value != offline.values.get(name)
    ]
    if one.state.time != offline.time:
        times = (one.state.time, offline.time)
        found.append(Difference(view.name, one.key, one.at, "event_time", *times))
    return found


class _Offline:
    """The join of one view, at one release, for some logged look-ups.

    Args:
        layer: where the rows are.
        view: as the capability declares it.
        release: of its model, if it is a model view.
        asked: the look-ups.
    """

    def __init__(self, layer: Layer, view: View, release: int, asked: Sequence[Logged]) -> None:
        pinned = replace(layer, pins={**layer.pins, view.name: release} if release else layer.pins)
        self.view = pinned.resolved(view)
        self.inputs = pinned.inputs
        self.keys = pl.DataFrame(
            {name: [one.key[name] for one in asked] for name in view.key},
            schema=dict.fromkeys(view.key, pl.String),
        )
        self.at = np.array([one.at for one in asked], dtype=np.int64)
        history = Stored(layer.store.head)
        found = leaves([self.view], self.inputs)
        self.rows = {
            leaf.name: history.frame(*history_of(leaf), self._keys_of(leaf), [ARRIVED])
            for leaf in found
        }
        self.lags = list(_lags(layer, found))

    def never_came(self, number: int) -> bool:
        """Whether rows that were committed just before a look-up are not online even now."""
        came = [file.arrived // 1_000 for lag in self.lags for file in lag.files]
        return any(0 <= self.at[number] - at <= SETTLE_US for at in came)

    def _keys_of(self, leaf: View) -> Batch:
        """The keys that were asked about: of events, a part of theirs."""
        return {name: self.keys[name].to_numpy() for name in leaf.key}

    def states(self, numbers: Sequence[int], shift_us: int | None) -> list[Observed]:
        """What held for some look-ups, seen through the rows that had come in by their moments.

        Args:
            numbers: which look-ups.
            shift_us: how much later than its moment a row may have been committed; None for any
                time.
        """
        made: dict[int, Observed] = {}
        arrivals = [_arrived(rows) for rows in self.rows.values() if ARRIVED in rows.columns]
        known = np.unique(np.concatenate(arrivals)) if arrivals else np.zeros(0, np.int64)
        mine = np.asarray(numbers, dtype=np.int64)
        if shift_us is None:
            ranks = np.full(len(mine), len(known))
        else:
            ranks = np.searchsorted(known, self.at[mine] + shift_us, side="right")
        for rank in np.unique(ranks).tolist():  # look-ups between the same arrivals see the same
            group = mine[ranks == rank]
            latest = int(known[rank - 1]) if rank else -1
            made |= dict(zip(group.tolist(), self._held(group, latest), strict=True))
        return [made[number] for number in numbers]

    def _held(self, numbers: Any, latest: int) -> list[Observed]:
        asked = Asked(self.keys[numbers], self.at[numbers])

        def leaf(view: View) -> AsOf:
            rows = self.rows[view.name]
            if ARRIVED in rows.columns:
                rows = rows.filter(pl.Series(_arrived(rows) <= latest)).drop(ARRIVED)
            return held(view, asked, rows)

        own = all_held([self.view], asked, leaf, self.inputs)[self.view.name]
        rows = own.rows.select(pl.all().gather(pl.Series(own.found[own.known]))).to_arrow()
        columns = {name: column.unpack(rows[name]) for name, column in self.view.columns.items()}
        place = np.cumsum(own.known) - 1
        return [
            Observed(
                "present", int(time), {n: spelled(of[place[row]]) for n, of in columns.items()}
            )
            if own.known[row]
            else Observed("stale" if time else "missing", 0, {})
            for row, time in enumerate(own.times.tolist())
        ]


def _arrived(rows: pl.DataFrame) -> Any:
    """When rows were committed, in microseconds, which may be long after they were created."""
    return rows[ARRIVED].to_numpy() // 1_000


def _lags(layer: Layer, found: Iterable[View]) -> Iterator[Lag]:
    """What is stored and not online now; nothing of what cannot be asked now."""
    for leaf in found:
        with suppress(LeptonError):
            lag = layer.lag(layer.graph.stored(history_of(leaf)[0]))
            if lag is not None and lag.files:
                yield replace(lag, view=leaf.name) if isinstance(leaf, ModelView) else lag
