"""The shared feature layer: join offline, look up online, push to both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from numpy.typing import NDArray

from cluster.base.batch import Batch, length, take
from cluster.base.errors import Conflict, InvalidInput
from cluster.features.backfill import PART_S, Ask, Backfill, here, keep
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import Models, ModelView
from cluster.features.joins.held import history_of, leaves
from cluster.features.joins.history import Stored
from cluster.features.joins.join import join
from cluster.features.offline.store import Store
from cluster.features.online.lag import Lag, LagMonitor
from cluster.features.online.lookup import Online
from cluster.features.pushed import admitted, check_columns, check_size
from cluster.features.schema.view import View
from cluster.features.vectors.neighbours import Nearest, Neighbours


@dataclass(frozen=True)
class Layer:
    """All views, where their rows are, and the models that make some of them.

    Args:
        graph: which views there are.
        store: the offline rows.
        online: the newest rows, by key.
        models: opens the models of model views.
        pins: which version of its model a model view is read at, by the view's name; without one,
            the version that the view's reference names now.
    """

    graph: Graph
    store: Store
    online: Online
    models: Models
    pins: Mapping[str, int] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to workers without what it has looked up or resolved."""
        return type(self), (self.graph, self.store, self.online, self.models, self.pins)

    @cached_property
    def _resolved(self) -> dict[tuple[object, ...], tuple[ModelView, ModelView]]:
        """Model views as they were given, and at a version: one object however often it is read."""
        return {}

    @cached_property
    def neighbours(self) -> Neighbours:
        """The vectors of views, once they were asked about."""
        return Neighbours(self.store)

    def view(self, name: str) -> View:
        """The view of that name; a model view at the version that counts.

        Raises:
            NotFound: there is no such view, or no such version of its model.
        """
        return self.resolved(self.graph[name])

    def resolved(self, view: View) -> View:
        """A model view at its version; any other view as it is.

        Raises:
            NotFound: there is no such version.
        """
        if not isinstance(view, ModelView):
            return view
        release = self.pins.get(view.name) or self.models.release(view)
        place = (view.name, tuple(view.columns), release)
        declared, made = self._resolved.get(place, (None, None))
        if made is None or declared is not view:
            made = view.at(release)
            self._resolved[place] = view, made
        return made

    def join(self, examples: Batch, views: Sequence[View | str]) -> Batch:
        """Examples with the columns of views beside them, each as of its row's own moment.

        As `cluster.features.joins.join.join` does it, over all rows that are stored now.

        Args:
            examples: the keys of the views, and `event_time`.
            views: the views, or their names.

        Raises:
            NotFound: there is no such view, or no such version of its model.
        """
        return join(examples, self._named(views), Stored(self.store.head), inputs=self.inputs)

    def lookup(
        self, views: Sequence[View | str], keys: Batch, *, at: datetime | None = None
    ) -> Batch:
        """The newest values of some views or names of views, as `Online.lookup` gives them.

        Raises:
            NotFound: there is no such view, or no such version of its model.
            Conflict: a view is online, or stored, with other columns.
        """
        named = self._named(views)
        try:
            return self.online.lookup(named, keys, at=at, inputs=self.inputs)
        except Conflict:
            self._agree(named)
            raise

    def lookup_anyway(self, views: Sequence[View], keys: Batch) -> Batch:
        """The same, but where nothing can be read now the status is `degraded`.

        Raises:
            LeptonError: as `lookup`, less Unavailable.
        """
        try:
            return self.online.lookup_anyway(views, keys, inputs=self.inputs)
        except Conflict:
            self._agree(views)
            raise

    def lag(self, view: View) -> Lag | None:
        """Which stored rows of a source view, or of a model's version, are not online now.

        Returns:
            What is missing; None where the view is not online.

        Raises:
            LeptonError: one side cannot be read now.
        """
        return self.online.lag(view, partial(self.store.head, view), self.graph)

    def behind(self, views: Sequence[View | str]) -> dict[str, Lag]:
        """Which of some views do not see all stored rows online, as of about a second ago.

        To be asked before a look-up that it is to be said of. Few rows that are missing are brought
        meanwhile; many wait for `materialize`.

        Args:
            views: of any kind, or their names.

        Returns:
            By the view's name what is missing of it, or of what it is made from.
        """
        found: dict[str, Lag] = {}
        for view, leaf, rows in self._made_of(views):
            lag = self._watch.lag(rows)
            if lag is None and rows.name in self.online.behind:
                self._watch.renew(rows)
                lag = Lag(rows.name)
            if lag is not None:
                bring = leaf.name if isinstance(leaf, ModelView) else lag.view
                found.setdefault(view.name, replace(lag, view=bring))
        return found

    def knows_behind(self, views: Sequence[View | str]) -> bool:
        """Whether `behind` answers from memory, as it does unless nobody asked for a while."""
        return all(self._watch.knows(rows) for *_, rows in self._made_of(views))

    def _made_of(self, views: Sequence[View | str]) -> Iterator[tuple[View, View, View]]:
        for view in self._named(views):
            for leaf in leaves([view], self.inputs):
                yield view, leaf, self.graph.stored(history_of(leaf)[0])

    def missed(self, name: str) -> bool:
        """Whether rows that were pushed to a view, or made of them, are kept from coming online."""
        made = {reader.name for reader in self.graph.readers(self.graph[name])}
        waiting = list(self.online.behind)
        return name in waiting or any(one.rpartition("_v")[0] in made for one in waiting)

    @cached_property
    def _watch(self) -> LagMonitor:
        return LagMonitor(self.lag, self._caught_up)

    def _caught_up(self, view: View) -> Lag | None:
        return self.online.catch_up(view, partial(self.store.head, view), self.graph)

    def _agree(self, views: Sequence[View]) -> None:
        """Says what is wrong offline where a look-up finds other columns: the way out lies there.

        To materialize, as the online side advises, would be refused for the same reason.
        """
        for view in leaves(views, self.inputs):
            self.store.head(history_of(view)[0])

    def inputs(self, view: View) -> list[View]:
        """The views that a computed view is made from, model views at the version that counts."""
        return [self.resolved(other) for other in self.graph.inputs(view)]

    def nearest(self, name: str, vectors: NDArray[Any], k: int) -> Nearest:
        """For each vector `[m, size]` the keys of the `k` nearest rows of a view, and the scores.

        What was pushed is found at once, whichever process did it.

        Raises:
            NotFound: there is no such view, or it has no rows.
            InvalidInput: it has no vectors, or those that are asked about are of another size.
        """
        return self.neighbours.nearest(self.graph.stored(self.view(name)), vectors, k)

    def push(self, name: str, raw: Batch) -> int:
        """Write events to both sides; they are looked up as soon as this returns.

        Args:
            name: a source view.
            raw: its key and columns; `event_time` with a zone, or none for now: then each row is
                a microsecond after the one before it, so that all of one key are kept.

        Returns:
            How many rows were written.

        Raises:
            NotFound: there is no such view.
            TooLarge: there are more than `MOST_PUSHED` rows.
            InvalidInput: a column is unknown, or the view is made from others.
            LeptonError: as `push_to`.
        """
        view = self.pushable(name)
        check_size(name, length(raw))
        check_columns(view, raw)
        return self.push_to(view, raw)

    def push_to(self, view: View, raw: Batch, *, root: str = "") -> int:
        """Push rows whose number and columns were checked where they came in.

        Model views over the view are made anew for these rows. Offline comes first: what was
        acknowledged is never lost, and `materialize` brings what a crash kept from coming online.

        Args:
            view: as `pushable` gives it.
            raw: as in `push`, of columns of the view alone.
            root: where the rows stand, as a JSON pointer: errors then point into it.

        Raises:
            InvalidInput: a row is bad, and so nothing was written.
            Conflict: a model that is asked about the rows does not give what its view declares;
                nothing was written.
        """
        rows = admitted(view, raw, root=root)
        made = list(self._made_from(view, rows))  # a model that fails must leave nothing written
        self._write(view, rows)
        for other, columns in made:
            self._write(other, columns)
        return length(rows)

    def backfill(self, view: ModelView, ask: Ask = here, *, part_s: float = PART_S) -> int:
        """Ask the model about every row that its view lacks, or that was replaced since.

        The same again asks nothing, and goes on where it was if it was killed.

        Args:
            view: which view.
            ask: gives what the model says, here or on a cluster.
            part_s: after so many seconds what was made is stored for good.

        Returns:
            How many rows were made.

        Raises:
            NotFound: the model has no such version.
        """
        resolved = self.resolved(view)
        assert isinstance(resolved, ModelView)  # noqa: S101 - a model view stays one
        over = self.graph.stored(self.resolved(self.graph[view.over.name]))
        target = resolved.rows_of
        # Begun first: what is replaced from now on was created later, and is asked about next time.
        with self.store.stage(target) as stage:
            begun = stage.created
        done = self.store.head(target)
        work = Backfill(resolved, over, self.store.head(over), done if done.files else None)
        made = ask(work, self.models)
        return keep(self.store, target, made, created=begun, part_s=part_s)

    def materialize(self, names: Sequence[str] = (), ask: Ask = here) -> dict[str, int]:
        """Bring stored rows online, and make those of model views first.

        Args:
            names: of views; none stands for all that have rows.
            ask: gives what models say, here or on a cluster.

        Returns:
            How many rows of each view were read.

        Raises:
            NotFound: there is no such view.
            Conflict: the stored columns are not the view's; what is online stays.
        """
        views = [self.view(name) for name in names] if names else self._all()
        counts = {}
        for view in views:
            if isinstance(view, ModelView):
                self.backfill(view, ask)
            rows = self.graph.stored(view)
            self.store.head(rows)  # what is refused here must not empty what is online
            counts[view.name] = self.online.materialize(
                rows, partial(self.store.head, rows), self.graph
            )
        return counts

    def _named(self, views: Sequence[View | str]) -> list[View]:
        return [self.view(one) if isinstance(one, str) else self.resolved(one) for one in views]

    def _all(self) -> Iterator[View]:
        have = {head.view for head in self.store.views()}
        for view in self.graph.order:
            if isinstance(view, ModelView):
                if self.models.trained(view):
                    yield self.resolved(view)
            elif view.name in have:
                yield view

    def pushable(self, name: str) -> View:
        """The source view of that name.

        Raises:
            NotFound: there is no such view.
            InvalidInput: it is made from others; the hint names the source views.
        """
        view = self.graph[name]
        if view.needs:
            raise InvalidInput(
                f"{name!r} is made from {', '.join(view.needs)}, so nothing is pushed to it.",
                hint=f"Push to {' or '.join(map(repr, self._sources(view)))}.",
            )
        return view

    def _sources(self, view: View) -> list[str]:
        """The source views that a view goes back to."""
        if not view.needs:
            return [view.name]
        found = (name for other in self.graph.inputs(view) for name in self._sources(other))
        return list(dict.fromkeys(found))

    def _write(self, view: View, rows: Batch) -> None:
        done = self.store.append(view, rows)
        stored, files = {**rows, "created": done.created}, [file.name for file in done.files]
        head = partial(self.store.head, view)
        self.online.keep_up(view, stored, head, self.graph, files=files)
        if view.name not in self.online.behind:
            self._watch.lag(view)  # brings what others left offline

    def _made_from(self, view: View, rows: Batch) -> Iterator[tuple[View, Batch]]:
        """What models say of pushed rows, for every version that somebody reads."""
        readers = [one for one in self.graph.readers(view) if isinstance(one, ModelView)]
        # A backfill asks about stored rows: pushed ones must look the same, pictures decoded.
        seen = view.unpack(view.pack(rows)) if readers else {}
        for reader in readers:
            for release in self.models.releases(reader):
                made = reader.at(release)
                kept, columns = self.models.answer(made, seen)
                if kept:
                    keys = {name: rows[name] for name in (*view.key, "event_time")}
                    yield made.rows_of, {**take(keys, kept), **columns}
