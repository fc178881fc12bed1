"""Bring the rows of a part to a worker: into memory where they fit, as a stream where not."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from cluster import classes
from cluster.batch import Batch, length, take, without
from cluster.errors import InvalidInput, NotEnough
from cluster.features.column import Text
from cluster.features.modelview import ModelView
from cluster.features.offline.held import among, history_of, leaves
from cluster.features.offline.history import Cached, History, Stored
from cluster.features.offline.join import join
from cluster.features.offline.snapshot import Snapshot
from cluster.features.offline.store import Store
from cluster.features.view import Inputs, View
from cluster.model import AnyTask
from cluster.rows import Resident, Rows
from cluster.split import TEST, TRAIN, VALID, Split, draw
from cluster.tables import made, newest

if TYPE_CHECKING:
    import ray.data

SHUFFLE_ROWS = 8_192
PIECE_ROWS = 1_024  # as many rows at a time a stream hands on: of pictures these are some MB


@dataclass(frozen=True)
class Plan:
    """Which rows of a snapshot are trained on, watched and measured, and how they are read.

    Args:
        view: the examples.
        snapshot: the rows that count, fixed for the whole run.
        split: decides the parts where the source does not.
        resident: whether each worker holds its rows in memory.
        features: views whose columns are joined to every row.
        histories: the stored rows that features and tables are made from, by the name of the
            stored view.
        inputs: what computed views among them are made from.
        cached: whether the rows that features are made from stay in memory once they were read.
        tables: views that are read whole beside the rows.
        live: views that are looked up when the model is asked, and joined to no row.
        lately: the stored rows that live views are made from; a run with others is the same run.
    """

    view: View
    snapshot: Snapshot
    split: Split
    resident: bool
    features: tuple[View, ...] = ()
    histories: Mapping[str, Snapshot] = field(default_factory=dict)
    inputs: Inputs | None = None
    cached: bool = True
    tables: tuple[View, ...] = ()
    live: tuple[View, ...] = ()
    lately: Mapping[str, Snapshot] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """The same text for the same rows in the same parts."""
        return f"{self.views!r} {self.split!r} {self.resident}"

    @property
    def views(self) -> dict[str, dict[str, Any]]:
        """What the manifest keeps of the data, by the name of each view that was read.

        Its rows and commit where rows of it are stored, its version, which changes with the views
        behind it, and of a model view the release of its model. So are the views that functions
        among them are made from: a replica goes on reading those, too.
        """
        inputs, held = self._inputs, {self.view.name: self.snapshot, **self.histories}
        told: dict[str, dict[str, Any]] = {
            name: {"commit": s.commit, "rows": s.rows} for name, s in held.items()
        }
        read = [self.view, *self.features, *self.tables, *self.live]
        for view in {v.name: v for v in [*leaves(read, inputs), *read]}.values():
            if isinstance(view, ModelView):
                stored = told.pop(view.rows_of.name, {})
                told[view.name] = {**stored, **told.get(view.name, {}), "release": view.release}
            told.setdefault(view.name, {})["version"] = view.version_over(inputs)
        return told

    @property
    def _inputs(self) -> Inputs:
        """What computed views are made from."""
        return self.inputs or among([*self.features, *self.tables, *self.live])

    @cached_property
    def keys(self) -> Batch:
        """Key, event time and split of every row."""
        return self.snapshot.read(self.view, [*self.view.key, "event_time", "split"])

    @cached_property
    def parts(self) -> NDArray[Any]:
        """The part of each row of the snapshot."""
        return self.split.parts(self.keys, self.view.key)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each part has."""
        return {part: int((self.parts == part).sum()) for part in (TRAIN, VALID, TEST)}

    def warnings(self, truth: Sequence[str]) -> list[str]:
        """What a score cannot tell, as parts hold too few rows of a label, or none.

        Args:
            truth: columns; those that hold labels are looked at.
        """
        labels = [name for name in truth if isinstance(self.view.columns.get(name), Text)]
        found: list[str] = []
        for name in labels:
            said = self.snapshot.read(self.view, [name])[name]
            found += classes.warnings(Counter(zip(self.parts.tolist(), said, strict=True)))
        return found

    def rows(self, part: str, *, rank: int = 0, workers: int = 1) -> Rows:
        """A worker's rows of a part; `train` may be a stream, the others are in memory.

        Args:
            part: train, valid or test.
            rank: which worker asks; it gets every `workers`-th row.
            workers: how many share the part.
        """
        mine = np.flatnonzero(self.parts == part)[rank::workers]
        if self.resident or part != TRAIN:
            return Resident(self._read(mine))
        import ray.train  # noqa: PLC0415 - resident rows need no Ray

        return Streamed(ray.train.get_dataset_shard(TRAIN), self, len(mine))

    def sample(self, part: str, count: int) -> Batch:
        """At most so many rows of a part, spread evenly over it, with their features."""
        mine = np.flatnonzero(self.parts == part)
        places = np.linspace(0, len(mine), min(count, len(mine)), endpoint=False)
        return self._read(mine[places.astype(np.int64)])

    def datasets(self) -> "dict[str, ray.data.Dataset]":
        """The training rows as a Ray Data set that reads file by file; none if resident."""
        if self.resident:
            return {}
        import ray.data  # noqa: PLC0415 - resident rows need no Ray

        names = [*self.view.key, "event_time"]
        kept = ray.put(np.sort(draw(take(self.keys, self.parts == TRAIN), names)))
        view, snapshot = self.view, self.snapshot
        files = snapshot.files
        snapshot.superseded  # noqa: B018 - looked up once, here, and sent along

        def of_part(numbers: pa.Table) -> Iterator[pa.Table]:
            for number in numbers["id"].to_pylist():
                table = snapshot.rows_of(files[number], list(view.schema))
                for start in range(0, table.num_rows, PIECE_ROWS):
                    piece = table.slice(start, PIECE_ROWS)
                    drawn = draw(view.unpack(piece.select(names)), names)
                    yield piece.filter(pa.array(np.isin(drawn, ray.get(kept))))

        # One task a file: what others took the place of is known to the snapshot, not to Parquet.
        numbered = ray.data.range(len(files), override_num_blocks=len(files))
        return {TRAIN: numbered.map_batches(of_part, batch_size=1, batch_format="pyarrow")}

    def _read(self, numbers: NDArray[np.int64]) -> Batch:
        """The rows of those numbers, decoded after the others are dropped, with their features."""
        stored = self.snapshot.table(list(self.view.schema))
        return self.joined(self.view.unpack(stored.take(pa.array(numbers))))

    def joined(self, rows: Batch) -> Batch:
        """Rows with the columns of the features beside them."""
        return join(rows, self.features, self._history, inputs=self.inputs)

    def beside(self, table: pa.Table) -> Batch:
        """The columns of the features alone, for stored examples that otherwise stay packed."""
        if not self.features:
            return {}
        read = {name for view in self.features for name in (*view.key, "event_time")}
        rows = self.view.unpack(table.select(sorted(read.intersection(self.view.schema))))
        # the names of the others tell how those of features are called
        joined = self.joined({**dict.fromkeys(self.view.schema, np.array([])), **rows})
        return without(joined, list(self.view.schema))

    def whole(self) -> dict[str, Batch]:
        """What each table tells of every key, by the view's name; without those that tell nothing.

        Of stored rows it is the newest. Windows and functions are made as of the last row that is
        trained on; of the examples they see that part alone, or they would tell of the others.
        """
        told = {view.name: self._told(view) for view in self.tables}
        return {name: rows for name, rows in told.items() if rows and length(rows)}

    def lived(self, rows: Batch) -> dict[str, Batch]:
        """What live views tell of the keys of rows as of the last row that is trained on.

        Args:
            rows: have the keys of some live views; the others are left out.

        Returns:
            By the view's name its columns and `<view>_missing`, in the order of the rows.
        """
        views = {view.name: view for view in self.live if set(view.key) <= set(rows)}
        last = np.full(length(rows), self._last)
        return {
            name: join(
                {**{part: rows[part] for part in view.key}, "event_time": last},
                [view],
                self._learnt,
                inputs=self.inputs,
            )
            for name, view in views.items()
        }

    def _told(self, view: View) -> Batch:
        if view.stored:
            snapshot = self.histories[view.rows_of.name]
            return newest(view, snapshot) if snapshot.rows else {}
        return made(view, self._learnt, self._inputs, self._last)

    @property
    def _last(self) -> np.datetime64:
        """The moment of the last row that is trained on."""
        last: np.datetime64 = self.keys["event_time"][self.parts == TRAIN].max()
        return last

    @cached_property
    def _learnt(self) -> History:
        return Cached(_Learnt(self._snapshot, self))

    def _snapshot(self, view: View) -> Snapshot:
        name = view.name
        return self.histories[name] if name in self.histories else self.lately[name]

    @cached_property
    def _history(self) -> History:
        """The rows that features are made from: read once, or those of each join for itself."""
        stored = Stored(self._snapshot)
        return Cached(stored) if self.cached else stored


@dataclass(frozen=True)
class _Learnt(Stored):
    """Stored rows, of the examples those of the training part alone.

    Args:
        plan: knows the part of each.
    """

    plan: Plan

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
        if view.name != self.plan.view.name:
            return frame
        return frame.filter(pl.Series(self.plan.parts == TRAIN))


def plan(
    task: type[AnyTask],
    store: Store,
    *,
    memory_share: float,
    tables: Sequence[View] | None = None,
    inputs: Inputs | None = None,
    resolve: Callable[[View], View | None] = lambda view: view,
) -> Plan:
    """Decide which stored rows a task learns from and how they are read.

    Args:
        task: what it learns from, and how that is split.
        store: where the rows are.
        memory_share: the share of the free memory that rows may take; 0 streams always.
        tables: the views to read whole, if not the task's.
        inputs: what computed views are made from.
        resolve: gives model views their version; None for one whose model was never trained.

    Raises:
        InvalidInput: there is nothing to learn from, or nothing to measure with.
    """
    view, snapshot = task.examples, _examples(task, store)
    spare = memory_share * psutil.virtual_memory().available
    features, whole, live = (
        tuple(filter(None, map(resolve, views)))
        for views in (task.features, task.tables if tables is None else tables, task.live)
    )
    made_from = inputs or among([*features, *whole, *live])
    # the examples are read once, at one commit
    histories = {**_heads([*features, *whole], store, made_from), view.name: snapshot}
    heads = _heads(live, store, made_from)
    lately = {name: head for name, head in heads.items() if name not in histories}
    fits = _size_bytes(leaves(features, made_from), histories) <= spare
    resident = snapshot.size_bytes <= spare
    rest = (histories, inputs, fits, whole, live, lately)
    decided = Plan(view, snapshot, task.split, resident, features, *rest)
    _check(decided)
    return decided


def _heads(views: Sequence[View], store: Store, inputs: Inputs) -> dict[str, Snapshot]:
    """The stored rows that views are made from, by the name of the stored view."""
    stored = [history_of(leaf)[0] for leaf in leaves(views, inputs)]
    return {source.name: store.head(source) for source in stored}


def _size_bytes(views: Sequence[View], histories: Mapping[str, Snapshot]) -> int:
    """The memory that the stored rows of views take which are no functions of others."""
    names = {history_of(view)[0].name for view in views}
    return sum(histories[name].size_bytes for name in names)


def _check(decided: Plan) -> None:
    for part in (TRAIN, TEST):
        if not decided.counts[part]:
            raise InvalidInput(
                f"None of the {decided.snapshot.rows} rows of {decided.view.name!r} is in the "
                f"{part} part.",
                hint=decided.split.remedy(decided.keys, part),
            )


def _examples(task: type[AnyTask], store: Store) -> Snapshot:
    """The rows to learn from, of which there are some."""
    snapshot = store.head(task.examples)
    if not snapshot.rows:
        name = task.examples.name
        raise InvalidInput(
            f"There are no {name} to train {task.name()} on.",
            hint=f"Ingest some: python -m services ingest {name} PATH",
        )
    return snapshot


class Streamed(Rows):
    """Rows that Ray Data reads, one pass at a time, while the network trains."""

    resident = False

    def __init__(self, shard: "ray.data.DataIterator", plan: Plan, count: int) -> None:
        self.count = count
        self._shard = shard
        self._plan = plan

    def whole(self) -> Batch:
        """Refuse: they are streamed because they do not fit."""
        raise NotEnough(
            f"{self.count} rows of {self._plan.view.name!r} do not fit the share of memory that "
            "training may take.",
            hint="Raise LEPTON_MEMORY_SHARE, or use a machine with more memory.",
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """One pass over the rows, `size` at a time."""
        yield from self._joined(size)

    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        """One pass through a buffer that mixes rows, in full batches."""
        mixed = {
            "local_shuffle_buffer_size": max(SHUFFLE_ROWS, size),
            "local_shuffle_seed": seed,
        }
        yield from (rows for rows in self._joined(size, **mixed) if length(rows) == size)

    def _joined(self, size: int, **how: Any) -> Iterator[Batch]:
        """Batches of a pass; features are joined to many rows at once, which takes little more."""
        together = size * max(1, SHUFFLE_ROWS // size) if self._plan.features else size
        tables: Any = self._shard.iter_batches(batch_size=together, batch_format="pyarrow", **how)
        for table in tables:
            features = self._plan.beside(table)
            for start in range(0, table.num_rows, size):  # pictures are decoded a batch at a time
                rows = self._plan.view.unpack(table.slice(start, size))
                yield {**rows, **take(features, slice(start, start + size))}
