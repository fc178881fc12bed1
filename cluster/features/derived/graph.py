"""Know which views are made from which, and refuse what does not fit when they are loaded."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cluster.base.batch import Batch, length, objects, take
from cluster.base.errors import Conflict, InvalidInput, NotFound, nearest
from cluster.features.derived.computed import Computed, frame
from cluster.features.derived.modelview import ModelView
from cluster.features.derived.outcomes import Outcomes
from cluster.features.schema.column import times
from cluster.features.schema.view import View

TRIED_ROWS = 3  # made-up rows on which every function is tried when it is loaded


class Graph:
    """All views by name, each after those that it is made from.

    Where a view is given several times, through more or fewer of its columns, the one with most of
    them counts.

    Args:
        views: the views, in any order.

    Raises:
        Conflict: two different views have one name.
        NotFound: a view is made from one that is not there; the sentence offers the nearest.
        InvalidInput: views are made from each other in a circle, keys do not fit, or a function
            asks for columns that are not there or returns others than were declared.
    """

    def __init__(self, views: Iterable[View]) -> None:
        self._views = _widest(views)
        self.order: Sequence[View] = self._sorted()
        """Every view, after those that it is made from."""
        for view in self.order:
            self._check(view)

    def __getitem__(self, name: str) -> View:
        """The view of that name.

        Raises:
            NotFound: there is none; the sentence offers the nearest.
        """
        if name not in self._views:
            raise NotFound(f"There is no view {name!r}.", hint=nearest(name, self._views))
        return self._views[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a view of that name."""
        return name in self._views

    def inputs(self, view: View) -> list[View]:
        """The views that it is made from, whole, in their order."""
        return [self[name] for name in view.needs]

    def readers(self, view: View) -> list[View]:
        """The views that are made from it, directly."""
        return [other for other in self.order if view.name in other.needs]

    def stored(self, view: View) -> View:
        """The source view whose rows are on the disk: its own, or those of its model's version.

        Raises:
            InvalidInput: nothing of it is stored, or the version of its model is not known.
        """
        if isinstance(view, ModelView):
            return view.rows_of
        if not view.stored:
            raise InvalidInput(f"Nothing of {view.name!r} is stored: it is made when it is read.")
        return self._views.get(view.name, view)

    def sample(self, view: View, n: int, rng: np.random.Generator) -> Batch:
        """Made-up rows of any view, also of one that is a function of others."""
        if not isinstance(view, Computed):
            return view.sample(n, rng)
        inputs = self.inputs(view)
        drawn = {other.name: self.sample(other, n, rng) for other in inputs}
        rows = min(map(length, drawn.values()), default=0)
        first = {name: take(batch, slice(0, rows)) for name, batch in drawn.items()}
        made = view.compute({other.name: frame(other, first[other.name]) for other in inputs})
        known = {name: column for batch in first.values() for name, column in batch.items()}
        key = {name: known.get(name, objects([""] * rows)) for name in view.key}
        newest = np.max([batch["event_time"] for batch in first.values()], axis=0)
        return {**key, **view.unpack(made), "event_time": times(newest)}

    def _sorted(self) -> list[View]:
        done: dict[str, View] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in done:
                return
            if name in path:
                circle = " from ".join([*path[path.index(name) :], name])
                raise InvalidInput(
                    f"Views are made from each other in a circle: {circle}.",
                    hint="Let one of them be made from something else.",
                )
            view = self._views[name]
            for other in view.needs:
                if other not in self._views:
                    raise NotFound(
                        f"View {name!r} is made from {other!r}, which is no view.",
                        hint=nearest(other, [known for known in self._views if known != name]),
                    )
                visit(other, (*path, name))
            done[name] = view

        for name in sorted(self._views):
            visit(name, ())
        return list(done.values())

    def _check(self, view: View) -> None:
        for name in view.defaults:
            if name not in view.columns:
                raise InvalidInput(
                    f"View {view.name!r} has a default for {name!r}, which is no column of it.",
                    hint=nearest(name, view.columns),
                )
        if isinstance(view, Computed):
            self._check_function(view)
            return
        for other in self.inputs(view):
            if not other.stored:
                raise InvalidInput(
                    f"View {view.name!r} is made from the rows of {other.name!r}, which are not "
                    "stored: they are made when they are read.",
                    hint=f"Make it from what {other.name!r} is made from.",
                )
            if isinstance(other, ModelView):
                raise InvalidInput(
                    f"View {view.name!r} is made from the rows of {other.name!r}, which a model "
                    f"makes: {type(view).__name__} must be over a source view.",
                    hint=f"Make it from {other.over.name!r}, or be it a function of "
                    f"{other.name!r}.",
                )

    def _check_function(self, view: Computed) -> None:
        if not view.needs:
            raise InvalidInput(
                f"View {view.name!r} is a function of nothing.",
                hint="Its parameters are the names of the views that it depends on.",
            )
        for other in self.inputs(view):
            if isinstance(other, Outcomes):
                raise InvalidInput(
                    f"View {view.name!r} is made from {other.name!r}, which tells what comes "
                    "later: it would be served, and nobody knows that then.",
                    hint=f"Name {other.name!r} in a capability's outcomes.",
                )
            for part in other.key:
                if part not in view.key:
                    raise InvalidInput(
                        f"View {view.name!r} is made from {other.name!r}, whose key has {part!r}: "
                        f"its own key is {', '.join(view.key)}.",
                        hint=f"Add {part!r} to its key, or make it from windows over that view.",
                    )
        self.sample(view, TRIED_ROWS, np.random.default_rng(0))


def _widest(views: Iterable[View]) -> Mapping[str, View]:
    found: dict[str, View] = {}
    for view in views:
        other = found.setdefault(view.name, view)
        wide, narrow = sorted((view, other), key=lambda one: -len(one.columns))
        if type(wide) is not type(narrow) or wide.key != narrow.key:
            raise Conflict(
                f"Two views are named {view.name!r}: one a {type(wide).__name__} about "
                f"{', '.join(wide.key)}, one a {type(narrow).__name__} about "
                f"{', '.join(narrow.key)}.",
                hint="Give one of them another name.",
            )
        for name, column in narrow.columns.items():
            if wide.columns.get(name) != column:
                raise Conflict(
                    f"Column {name!r} of view {view.name!r} is declared as {column} and as "
                    f"{wide.columns.get(name, 'nothing')}.",
                    hint="Declare a view once, and narrow it with `only`.",
                )
        found[view.name] = wide
    return found
