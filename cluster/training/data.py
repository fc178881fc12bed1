"""Bring the rows of a part to a worker: into memory where they fit, as a stream where not."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, take, without
from cluster.base.errors import InvalidInput
from cluster.contract import classes
from cluster.contract.rows import Resident, Rows
from cluster.contract.split import TEST, TRAIN, VALID, Split, draw, shards
from cluster.contract.task import AnyTask
from cluster.features.derived.modelview import ModelView
from cluster.features.joins.held import among, history_of, leaves
from cluster.features.joins.history import Cached, History, Stored
from cluster.features.joins.join import join
from cluster.features.offline.snapshot import Snapshot
from cluster.features.offline.store import Store
from cluster.features.quality.copies import Copies, across, content_of, copies_of
from cluster.features.schema.column import Text
from cluster.features.schema.view import Inputs, View
from cluster.training.embargo import Ahead, Parted, ahead_of
from cluster.training.stream import Streamed, streamed
from cluster.training.tables import Part, made, newest

if TYPE_CHECKING:
    import ray.data


@dataclass(frozen=True)
class Plan:
    """Which rows of a snapshot are trained on, watched and measured, and how they are read.

    Args:
        view: the examples.
        snapshot: the rows that count, fixed for the whole run.
        split: decides the parts where the source does not.
        resident: whether each worker holds its rows in memory.
        features: views whose columns are joined to every row.
        histories: the stored rows that features, outcomes and tables are made from, by the name of
            the stored view; the examples too, so that they are read at one commit.
        inputs: what computed views among them are made from.
        cached: whether the rows that features are made from stay in memory once they were read.
        tables: views that are read whole beside the rows.
        live: views that are looked up when the model is asked, and joined to no row.
        lately: the stored rows that live views are made from; a run with others is the same run.
        content: the columns by which rows are copies of each other; none where no column does.
        series: the columns that say which rows belong together: one worker has all of those.
        ahead: what came after each row.
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
    content: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    ahead: Ahead = field(default_factory=Ahead)

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
        inputs, stored = self._inputs, {self.view.name: self.snapshot, **self.histories}
        record: dict[str, dict[str, Any]] = {
            name: {"commit": s.commit, "rows": s.rows} for name, s in stored.items()
        }
        read = [self.view, *self.beside_rows, *self.tables, *self.live]
        for view in {v.name: v for v in [*leaves(read, inputs), *read]}.values():
            if isinstance(view, ModelView):
                own = record.pop(view.rows_of.name, {})
                record[view.name] = {**own, **record.get(view.name, {}), "release": view.release}
            record.setdefault(view.name, {})["version"] = view.version_over(inputs)
        return record

    @property
    def beside_rows(self) -> tuple[View, ...]:
        """The views that are joined to rows."""
        return (*self.features, *self.ahead.views)

    @property
    def _inputs(self) -> Inputs:
        """What computed views are made from."""
        return self.inputs or among([*self.features, *self.tables, *self.live])

    @cached_property
    def keys(self) -> Batch:
        """Key, event time and split of every row, and what the split and the shards go by."""
        names = [*self.view.key, "event_time", "split", *self.split.columns, *self.series]
        return self.snapshot.read(self.view, list(dict.fromkeys([*names, *self.ahead.key])))

    @cached_property
    def copies(self) -> Copies:
        """Which rows hold the same."""
        return copies_of(self.snapshot, self.view, self.content)

    @property
    def parts(self) -> NDArray[Any]:
        """The part of each row of the snapshot; empty of one that is left out."""
        return self._parted.parts

    @property
    def left_out(self) -> list[str]:
        """How many rows have no part, and why; nothing where all have one."""
        return self.ahead.warnings(self._parted)

    @cached_property
    def _parted(self) -> Parted:
        rows = (self.keys, self.view.key, self.copies.alike)
        return self.ahead.parted(self.split, *rows, self._history)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each part has."""
        return {part: int((self.parts == part).sum()) for part in (TRAIN, VALID, TEST)}

    def warnings(self, truth: Sequence[str]) -> list[str]:
        """Why scores may mislead: rows left out, parts with few rows of a label or none, copies.

        Args:
            truth: columns; those that hold labels are looked at.
        """
        labels = [name for name in truth if isinstance(self.view.columns.get(name), Text)]
        found = self.left_out
        for name in labels:
            said = self.snapshot.read(self.view, [name])[name]
            found += classes.warnings(Counter(zip(self.parts.tolist(), said, strict=True)))
        if copied := len(across(self.copies.alike, self.parts, TEST, TRAIN)):
            split = type(self.split).__name__
            why = (
                "their source" if self.split.by_content else f"{split}, which looks at no content,"
            )
            found.append(
                f"{copied:,} of the {self.counts[TEST]:,} test rows are copies of training rows "
                f"(equal, or but for case, spaces or encoding): {why} puts them there. Scores are "
                "better by what the model only had to remember."
            )
        return found

    def mine(self, part: str, *, rank: int = 0, workers: int = 1) -> NDArray[np.int64]:
        """The numbers of a worker's rows of a part: about every `workers`-th, or whole series."""
        rows = np.flatnonzero(self.parts == part)
        if workers == 1 or not self.series:
            return rows[rank::workers]
        owners = shards(take(self.keys, rows), self.series, workers)
        return rows[np.flatnonzero(owners == rank)]

    def rows(self, part: str, *, rank: int = 0, workers: int = 1) -> Rows:
        """A worker's rows of a part; `train` may be a stream, the others are in memory.

        Args:
            part: train, valid or test.
            rank: which worker asks.
            workers: how many share the part.

        Raises:
            InvalidInput: there are fewer series than workers.
        """
        mine = self.mine(part, rank=rank, workers=workers)
        if self.resident or part != TRAIN:
            return Resident(self.read(mine))
        import ray.train  # noqa: PLC0415 - resident rows need no Ray

        name = f"{TRAIN}-{rank}" if self.series and workers > 1 else TRAIN
        return Streamed(ray.train.get_dataset_shard(name), self, len(mine))

    def sample(self, part: str, count: int) -> Batch:
        """At most so many rows of a part, spread evenly over it, with their features."""
        mine = np.flatnonzero(self.parts == part)
        places = np.linspace(0, len(mine), min(count, len(mine)), endpoint=False)
        return self.read(mine[places.astype(np.int64)])

    def datasets(self, workers: int = 1) -> "dict[str, ray.data.Dataset]":
        """The training rows as Ray Data sets that read file by file; none if resident.

        It is one, which Ray shares out, or where there are series one of each worker.
        """
        if self.resident:
            return {}
        if workers == 1 or not self.series:
            return {TRAIN: self._dataset(self.mine(TRAIN))}
        ranks = range(workers)
        mine = (self.mine(TRAIN, rank=rank, workers=workers) for rank in ranks)
        return {
            f"{TRAIN}-{rank}": self._dataset(rows) for rank, rows in zip(ranks, mine, strict=True)
        }

    def _dataset(self, numbers: NDArray[np.int64]) -> "ray.data.Dataset":
        import ray.data  # noqa: PLC0415 - resident rows need no Ray

        kept = ray.put(self.drawn(numbers))
        view, snapshot = self.view, self.snapshot
        files = snapshot.files
        snapshot.superseded  # noqa: B018 - looked up once, here, and sent along

        def of_part(numbers: pa.Table) -> Iterator[pa.Table]:
            for number in numbers["id"].to_pylist():
                table = snapshot.rows_of(files[number], list(view.schema))
                yield from streamed(view, table, ray.get(kept))

        # One task a file: what others took the place of is known to the snapshot, not to Parquet.
        numbered = ray.data.range(len(files), override_num_blocks=len(files))
        return numbered.map_batches(of_part, batch_size=1, batch_format="pyarrow")

    def drawn(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """What stands for some rows in `streamed`."""
        return np.sort(draw(take(self.keys, numbers), [*self.view.key, "event_time"]))

    def read(self, numbers: NDArray[np.int64]) -> Batch:
        """The rows of those numbers, decoded after the others are dropped, with their features."""
        stored = self.snapshot.table(list(self.view.schema))
        return self.joined(self.view.unpack(stored.take(pa.array(numbers))))

    def joined(self, rows: Batch) -> Batch:
        """Rows with the columns of the features beside them, and their truth from outcomes."""
        joined = join(rows, self.beside_rows, self._history, inputs=self.inputs)
        return without(joined, self.ahead.unused)

    def beside(self, table: pa.Table) -> Batch:
        """The joined columns alone, for stored examples that otherwise stay packed."""
        if not self.beside_rows:
            return {}
        read = {name for view in self.beside_rows for name in (*view.key, "event_time")}
        rows = self.view.unpack(table.select(sorted(read.intersection(self.view.schema))))
        # join renames feature columns by the names of the others
        joined = self.joined({**dict.fromkeys(self.view.schema, np.array([])), **rows})
        return without(joined, list(self.view.schema))

    def whole(self) -> dict[str, Batch]:
        """The whole of each table, a row per key, by the view's name; empty ones are left out.

        Of a stored view it is the newest row of each key. Windows and functions are evaluated as of
        the last training row; of the examples they see the training part alone, or they would leak
        the others.
        """
        tables = {view.name: self._table(view) for view in self.tables}
        return {name: rows for name, rows in tables.items() if rows and length(rows)}

    def lived(self, rows: Batch) -> dict[str, Batch]:
        """Live views joined to rows by key, as of the last training row.

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

    def _table(self, view: View) -> Batch:
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
        return Cached(Part(self._snapshot, self.view.name, self.parts == TRAIN))

    def _snapshot(self, view: View) -> Snapshot:
        name = view.name
        return self.histories[name] if name in self.histories else self.lately[name]

    @cached_property
    def _history(self) -> History:
        """The rows that features are made from: read once, or those of each join for itself."""
        stored = Stored(self._snapshot)
        return Cached(stored) if self.cached else stored


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
    joined = (*features, *(ahead := ahead_of(task)).views)
    made_from = inputs or among([*features, *whole, *live])
    histories = {**_heads([*joined, *whole], store, made_from), view.name: snapshot}
    heads = _heads(live, store, made_from).items()
    lately = {name: head for name, head in heads if name not in histories}
    cached = _size_bytes(leaves(joined, made_from), histories) <= spare
    rest = (histories, inputs, cached, whole, live, lately)
    alike = (content_of(task.inputs, view), task.series, ahead)
    resident = snapshot.size_bytes <= spare
    decided = Plan(view, snapshot, task.split, resident, features, *rest, *alike)
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
    left_out = decided.left_out
    for part in (TRAIN, TEST):
        if not decided.counts[part]:
            raise InvalidInput(
                f"None of the {decided.snapshot.rows} rows of {decided.view.name!r} is in the "
                f"{part} part.",
                hint=" ".join(left_out) or decided.split.remedy(decided.keys, part),
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
