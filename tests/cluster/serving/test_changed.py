"""A version whose features rest on a view that was redeclared since is told so, however far."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import Conflict
from cluster.features.derived.aggregates import Count
from cluster.features.derived.computed import Computed, computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import ModelView, model_view
from cluster.features.derived.windows import Windows, windows
from cluster.features.layer import Layer
from cluster.features.monitoring.check import check
from cluster.features.schema.column import Number, Text, Whole
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import View
from cluster.registry.versions import Manifest
from cluster.serving.live import Live
from cluster.serving.record import Recorder
from cluster.training.data import plan
from tests.knows import Input, Knows, layer_of, owners, visits
from tests.support import manifest, stored
from tests.toy import labelled_points

RELEASE = 3


def busy(days: int = 7) -> Windows:
    count = {"visits": Count(within=timedelta(days=days))}
    return windows("busy", over=visits, key=("owner_id",), columns=count)


def mood(over: View = visits, size: int = 2) -> ModelView:
    said = {"vector": Vector(size)}
    return model_view(
        "mood", "nlp.embed@production", over=over, columns=said, inputs={"text": "place"}
    )


def twice() -> Computed:
    @computed(key=("owner_id",), columns={"twice": Whole()})
    def inner(busy: pl.DataFrame, mood: pl.DataFrame) -> pl.DataFrame:
        """Visits, doubled."""
        return busy.select(twice=pl.col("visits") * 2)

    return inner


def thrice() -> Computed:
    @computed(key=("owner_id",), columns={"twice": Whole()})
    def inner(busy: pl.DataFrame, mood: pl.DataFrame) -> pl.DataFrame:
        """Visits, doubled."""
        return busy.select(twice=pl.col("visits") * 3)

    return inner


@computed(key=("owner_id",), columns={"sum": Number()})
def outer(inner: pl.DataFrame, owners: pl.DataFrame) -> pl.DataFrame:
    """What is known of an owner, in one number."""
    return pl.DataFrame({"sum": inner["twice"] + owners["rank"]})


class Rests(Knows):
    """Say what is known of a point, through functions of functions."""

    features: ClassVar[tuple[View, ...]] = ()
    live: ClassVar[tuple[View, ...]] = (outer,)


def declared(
    *,
    window: View | None = None,
    inner: View | None = None,
    model: View | None = None,
    rank: View = owners,
    events: View = visits,
) -> Sequence[View]:
    """All views that the function rests on, one of them declared otherwise."""
    lower = (window or busy(), model or mood(), inner or twice())
    return [labelled_points, events, rank, *lower, outer]


def layer(home: Path, views: Sequence[View], *, release: int = RELEASE) -> Layer:
    return replace(layer_of(home), graph=Graph(views), pins={"mood": release})


def learnt(home: Path, views: Sequence[View]) -> Manifest:
    """The manifest of a version that learnt while the views were declared so."""
    inputs = layer(home, views).inputs
    made = plan(Rests, stored(Rests, home / "rows", rows=60), memory_share=0.9, inputs=inputs)
    return manifest("tests.rests", views=made.views)


def changed(home: Path, made: Manifest, views: Sequence[View]) -> dict[str, Conflict]:
    return dict(Live(Rests(), lambda: layer(home, views, release=9), made).changed)


def wider(view: View) -> View:
    def sample(n: int, rng: np.random.Generator) -> Batch:
        return {**view.sample(n, rng), "more": objects([""] * n)}

    columns = {**view.columns, "more": Text()}
    return replace(view, columns=columns, defaults={"more": ""}, sample=sample)


OTHERWISE: dict[str, Callable[[], Sequence[View]]] = {
    "a window under two functions": lambda: declared(window=busy(days=8)),
    "the events under that": lambda: declared(
        events=wider(visits), window=replace(busy(), over=wider(visits))
    ),
    "the text of a function": lambda: declared(inner=thrice()),
    "its time-to-live": lambda: declared(inner=replace(twice(), ttl=timedelta(days=2))),
    "a model's vectors under two functions": lambda: declared(model=mood(size=3)),
    "a stored view under one": lambda: declared(rank=replace(owners, ttl=timedelta(days=31))),
    "its defaults": lambda: declared(rank=replace(owners, defaults={"rank": 0.0})),
    "its columns": lambda: declared(rank=wider(owners)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_a_version_is_told_what_its_functions_rest_on_is_declared_otherwise(
    what: str, tmp_path: Path
) -> None:
    made = learnt(tmp_path, declared())
    was, views = made.views["outer"]["version"], OTHERWISE[what]()
    now = outer.version_over(layer(tmp_path, views).inputs)
    assert str(changed(tmp_path, made, views)["outer"]) == (
        f"Version 0 of tests.rests learnt from view 'outer' as it was declared then ({was}); it or "
        f"what it is made from (inner, owners) is another now ({now}). Train it anew: "
        "python -m services train tests.rests"
    )


def test_the_same_declarations_change_nothing_though_another_release_is_in_production(
    tmp_path: Path,
) -> None:
    made = learnt(tmp_path, declared())
    assert made.views["mood"]["release"] == RELEASE
    assert changed(tmp_path, made, declared()) == {}


def test_what_lies_beside_a_function_or_above_a_stored_view_changes_neither(
    tmp_path: Path,
) -> None:
    made = learnt(tmp_path, declared())
    beside = windows("beside", over=visits, key=("owner_id",), columns={"n": Count()})
    assert changed(tmp_path, made, [*declared(), beside]) == {}
    graph = Graph(declared(inner=thrice()))
    for view in (visits, owners, busy()):
        assert view.version_over(graph.inputs) == view.version


def test_a_changed_function_counts_as_missing_where_it_is_served(tmp_path: Path) -> None:
    made = learnt(tmp_path, declared())
    for views, status in ((declared(), "present"), (declared(inner=thrice()), "missing")):
        here = layer(tmp_path / status, views)
        for view in (visits, owners, mood().at(RELEASE).rows_of):
            here.store.write(view, view.sample(3, np.random.default_rng(0)))
        here.materialize(["visits", "owners", "mood"], ask=lambda *_: [])
        live = Live(Rests(), partial(layer, tmp_path / status, views), made)
        joined = live.join([Input(x=1.0, y=2.0, owner_id="o1")])
        under = dict.fromkeys(("busy", "mood", "owners"), "present")
        assert joined.statuses == [{"outer": status, **under}]
        assert joined.degraded == (status == "missing")


def test_what_was_looked_up_of_models_and_functions_is_held_to_the_join(tmp_path: Path) -> None:
    class Both(Rests):
        live = (outer, mood())

    here = layer(tmp_path, declared())
    for view in (visits, owners, mood().at(RELEASE).rows_of):
        here.store.write(view, view.sample(3, np.random.default_rng(0)))
    here.materialize(["visits", "owners", "mood"], ask=lambda *_: [])
    made = manifest("tests.rests", views={"mood": {"release": RELEASE}})
    live = Live(Both(), lambda: here, made)
    asked = live.join([Input(x=1.0, y=2.0, owner_id="o1")])
    lines = Recorder(0, {}, live.pins, live.version).lines(asked)
    later = [{**line, "at": line["at"] + 2_000_000} for line in lines]
    report = check(here, Both.live, later)
    assert (report.compared, report.differences, report.left_out) == (2, [], {})
    report = check(layer(tmp_path, declared(inner=thrice())), Both.live, later)
    assert (report.compared, report.left_out) == (1, {"the view is declared otherwise now": 1})
