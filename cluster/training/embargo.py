"""Leave out rows whose outcomes are not known, or reach into the time of rows that measure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, take
from cluster.base.errors import InvalidInput
from cluster.contract.split import TEST, TRAIN, VALID, Split
from cluster.contract.task import AnyTask
from cluster.features.derived.outcomes import Outcomes
from cluster.features.joins.held import Asked, held, history_of
from cluster.features.joins.history import History

LEFT_OUT = ""
"""The part of a row that is used neither for training nor for evaluation."""


@dataclass(frozen=True)
class Parted:
    """The parts of some rows.

    Args:
        parts: `[n]`, the part of each row.
        unknown: how many rows are left out since what came after them is not known yet.
        reaching: how many since it came in the time of rows that are kept to measure.
    """

    parts: NDArray[np.str_]
    unknown: int = 0
    reaching: int = 0


@dataclass(frozen=True)
class Ahead:
    """The outcomes of examples: views that look forward from each row.

    Args:
        views: the outcomes.
        unused: columns of them that no truth names, and the masks, which are false in all rows.
    """

    views: tuple[Outcomes, ...] = ()
    unused: frozenset[str] = frozenset()

    @property
    def key(self) -> list[str]:
        """The columns that outcomes are joined by, beside the event time."""
        return [name for view in self.views for name in view.key]

    def parted(
        self,
        split: Split,
        rows: Batch,
        key: Sequence[str],
        alike: NDArray[np.int64],
        history: History,
    ) -> Parted:
        """The part of each row, of those whose outcomes are known.

        A row whose outcome is not known is not there for the split either: by time the newest rows
        are those that measure, and their outcomes are known last. Where the split goes by time, a
        row is left out, too, whose outcome looks at the time of a later part: it would be learnt
        what happens there.

        Args:
            split: decides the parts.
            rows: what it needs for that, and the keys of the views.
            key: of the examples.
            alike: the copies of each row: see `Copies`.
            history: the stored rows that outcomes are made from.

        Raises:
            InvalidInput: no row's outcome is known.
        """
        if not self.views:
            return Parted(split.parts(rows, key, alike))
        known, until = self.known(rows, history)
        kept = np.flatnonzero(known)
        if not len(kept):
            raise self._none_known(length(rows))
        _, first, copy = np.unique(alike[kept], return_index=True, return_inverse=True)
        parts = np.full(length(rows), LEFT_OUT, dtype="<U5")
        parts[kept] = split.parts(take(rows, kept), key, first[copy])
        reaching = reaches(parts, micros(rows), until) if split.by_time else np.array([], int)
        parts[reaching] = LEFT_OUT
        return Parted(parts, length(rows) - len(kept), len(reaching))

    def known(self, rows: Batch, history: History) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Of each row whether all its outcomes are known, and the last moment that they look at."""
        moments = micros(rows)
        known, until = np.ones(len(moments), dtype=bool), np.array(moments)
        for view in self.views:
            keys = {name: rows[name] for name in view.key}
            asked = Asked(pl.DataFrame({n: c.tolist() for n, c in keys.items()}), moments)
            stored, columns = history_of(view)
            events = history.frame(stored, columns, keys)
            found = held(view, asked, events, history.newest(stored))
            known &= found.known
            until = np.maximum(until, found.times)
        return known, until

    def warnings(self, parted: Parted) -> list[str]:
        """How many rows were left out, and why."""
        names, why = " and ".join(repr(view.name) for view in self.views), []
        if parted.unknown:
            why.append(f"what {names} tells of {parted.unknown:,} is not known yet")
        if parted.reaching:
            why.append(f"of {parted.reaching:,} it lies in the time of rows kept to measure")
        total = f"{parted.unknown + parted.reaching:,} of {len(parted.parts):,} rows"
        return [f"{total} are left out: {', '.join(why)}."] if why else []

    def _none_known(self, rows: int) -> InvalidInput:
        sources = ", ".join(dict.fromkeys(view.over.name for view in self.views))
        return InvalidInput(
            f"Of none of the {rows:,} rows it is known what came after: "
            f"{', '.join(view.name for view in self.views)} looks further than the events go.",
            hint=f"Ingest later rows of {sources}, or look less far.",
        )


def ahead_of(task: type[AnyTask]) -> Ahead:
    """The outcomes that a capability names.

    Raises:
        InvalidInput: one looks back, truth names none of its columns, or one that looks forward
            stands where views are served.
    """
    for view in (*task.features, *task.live, *task.tables):
        if isinstance(view, Outcomes):
            raise InvalidInput(
                f"{task.name()} names {view.name!r} where it is served, but it tells what comes "
                "later.",
                hint=f"Name {view.name!r} in outcomes, and its columns in truth.",
            )
    views, names = [], task.feature_names()
    for view in task.outcomes:
        if not isinstance(view, Outcomes):
            raise InvalidInput(
                f"{task.name()} names {view.name!r} as an outcome, but it does not look forward.",
                hint="Declare it with outcomes(name, over=..., key=..., columns=...).",
            )
        views.append(view)
        if not set(names[view.name].values()) & set(task.truth):
            raise InvalidInput(
                f"{task.name()} names {view.name!r} as an outcome, but none of its columns in "
                "truth.",
                hint=f"Add {' or '.join(map(repr, names[view.name].values()))} to truth.",
            )
    columns = {name for view in views for name in names[view.name].values()}
    columns |= {f"{view.name}_missing" for view in views}
    return Ahead(tuple(views), frozenset(columns.difference(task.truth)))


def reaches(
    parts: NDArray[np.str_], times: NDArray[np.int64], until: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The numbers of rows to purge: their outcomes look into the time of a later part.

    Args:
        parts: `[n]`, the part of each row.
        times: `[n]`, when it was.
        until: `[n]`, the last moment that its outcomes look at.
    """
    found = np.zeros(len(parts), dtype=bool)
    for later, earlier in ((TEST, (TRAIN, VALID)), (VALID, (TRAIN,))):
        measured = times[parts == later]
        if len(measured):
            within = (until >= measured.min()) & (times <= measured.max())
            found |= np.isin(parts, earlier) & within
    return np.flatnonzero(found)


def micros(rows: Batch) -> NDArray[np.int64]:
    """The event times of rows in microseconds."""
    times: NDArray[np.int64] = rows["event_time"].astype("datetime64[us]").astype(np.int64)
    return times
