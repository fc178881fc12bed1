"""Read a view whole: the newest row of every key, whether or not an example mentions it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cluster.base.batch import Batch, objects, take, without
from cluster.features.joins.held import history_of, leaves
from cluster.features.joins.history import History, Stored
from cluster.features.joins.join import join
from cluster.features.offline.snapshot import Snapshot
from cluster.features.schema.view import Inputs, View


def newest(view: View, snapshot: Snapshot) -> Batch:
    """Of every key of stored rows the one with the latest event time, then the one that came last.

    Args:
        view: which columns.
        snapshot: the rows; there are some.
    """
    rows = snapshot.read(view, [*view.key, *view.columns, "event_time", "created"])
    order = np.lexsort((rows["created"], rows["event_time"]))
    keys = zip(*(rows[name][order].tolist() for name in view.key), strict=True)
    last = dict(zip(keys, order.tolist(), strict=True))  # the last of a key stays
    return take(without(rows, ["created"]), np.sort(np.array(list(last.values()), np.int64)))


def made(view: View, history: History, inputs: Inputs, moment: np.datetime64) -> Batch:
    """Windows or a function of views for every key as of a moment, keys without a value left out.

    Args:
        view: whose columns.
        history: the stored rows that it is made from.
        inputs: what computed views are made from.
        moment: in UTC.
    """
    sources = (history_of(leaf)[0] for leaf in leaves([view], inputs))
    keys = [
        history.frame(source, [*source.key, "event_time"]).select(view.key)
        for source in {source.name: source for source in sources}.values()
        if set(view.key) <= set(source.key)
    ]
    if not keys:
        return {}
    each = pl.concat(keys).unique().sort(view.key)
    asked = {name: objects(each[name].to_list()) for name in view.key}
    rows = join({**asked, "event_time": np.full(len(each), moment)}, [view], history, inputs=inputs)
    missing = f"{view.name}_missing"
    return take(without(rows, [missing]), ~rows[missing])


@dataclass(frozen=True)
class Part(Stored):
    """Stored rows, of one view some of them alone: those that are learnt from.

    Args:
        view: the name of that view.
        kept: which of its rows.
    """

    view: str
    kept: NDArray[np.bool_]

    def frame(
        self,
        view: View,
        columns: Sequence[str],
        keys: Batch | None = None,
        more: Sequence[str] = (),
    ) -> pl.DataFrame:
        """The rows in the order in which they are stored, of all keys."""
        del keys
        frame = super().frame(view, columns, more=more)
        return frame.filter(pl.Series(self.kept)) if view.name == self.view else frame
