"""What is pushed is there at once on both sides, and so is what is made from it."""

from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cluster.base.batch import Arrays, Batch, objects
from cluster.base.errors import InvalidInput, LeptonError, NotFound
from cluster.features.derived.aggregates import Count, Last
from cluster.features.derived.computed import computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import windows
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, Text, Whole, times
from cluster.features.views.interactions import interactions
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from tests.support import filler, manifest
from tests.toy import Side, labelled_points

points = labelled_points.only("x", "y")
history = windows(
    "history", over=interactions, key=("user_id",), columns={"last": Last("item_id", n=3)}
)


@computed(key=("user_id",), columns={"count": Whole()})
def echo(history: pl.DataFrame) -> pl.DataFrame:
    """How many of a user's last things are known."""
    return history.select(count=pl.col("last").list.len())


activity = windows(
    "activity",
    over=interactions,
    key=("user_id",),
    columns={"events": Count(within=timedelta(days=1))},
)
side = model_view(
    "side",
    "tests.toy@production",
    over=labelled_points,
    columns={"label": Text(), "probability": Number()},
    inputs={"x": "x", "y": "y"},
)


@pytest.fixture
def registry(side: Side, tmp_path: Path) -> Registry:
    """One version of the toy capability, in production."""
    assert side._graphs
    files = {path.name: path.read_bytes() for path in side._graphs.folder.iterdir()}
    made = Registry(tmp_path)
    made.write("tests.toy", filler(manifest("tests.toy"), files))
    made.point("production", "tests.toy", 1)
    return made


@pytest.fixture
def layer(registry: Registry, tmp_path: Path) -> Layer:
    graph = Graph([labelled_points, side, interactions, history, activity, echo])
    online = Online(tmp_path / "features" / "online.db")
    return Layer(graph, Store(tmp_path / "features"), online, Models(registry, lambda _: Side))


def point(name: str, x: float, y: float) -> Arrays:
    return {
        "point_id": objects([name]),
        "x": np.array([x]),
        "y": np.array([y]),
        "label": objects(["?"]),
    }


def event(user: str, item: str, **more: object) -> Batch:
    extra = {name: objects([value]) for name, value in more.items()}
    return {"user_id": objects([user]), "item_id": objects([item]), "value": np.ones(1), **extra}


def found(layer: Layer, view: str, **key: str) -> Batch:
    return layer.lookup([layer.view(view)], {name: objects([v]) for name, v in key.items()})


def test_an_event_is_on_both_sides_when_the_push_returns(layer: Layer) -> None:
    assert layer.push("interactions", event("u1", "p1")) == 1
    assert layer.store.snapshot("interactions").rows == 1
    assert found(layer, "history", user_id="u1")["last"].tolist() == [["p1"]]
    layer.push("interactions", event("u1", "p2"))
    assert found(layer, "history", user_id="u1")["last"].tolist() == [["p2", "p1"]]
    assert found(layer, "activity", user_id="u1")["events"].tolist() == [2]


def test_a_join_as_of_now_is_what_a_look_up_gives(layer: Layer) -> None:
    layer.push("interactions", event("u1", "p1"))
    layer.push("points", point("a", 0.9, -0.9))
    views = [layer.view(name) for name in ("history", "activity", "side")]
    keys = {"user_id": objects(["u1", "u2"]), "point_id": objects(["a", "b"])}
    now = datetime.now(UTC)
    looked_up = layer.lookup(views, keys, at=now)
    joined = layer.join({**keys, "event_time": objects([now, now])}, views)
    for name in joined.keys() - {"event_time"}:
        assert joined[name].tolist() == looked_up[name].tolist(), name


def test_views_are_asked_for_by_name_too(layer: Layer) -> None:
    layer.push("interactions", event("u1", "p1"))
    layer.push("points", point("a", 0.9, -0.9))
    keys = {"user_id": objects(["u1"]), "point_id": objects(["a"])}
    assert layer.lookup(["history", side], keys)["label"].tolist() == ["above"]
    moment = objects([datetime.now(UTC)])
    joined = layer.join({**keys, "event_time": moment}, [layer.view("history"), "side"])
    assert (joined["last"].tolist(), joined["label"].tolist()) == ([["p1"]], ["above"])
    with pytest.raises(NotFound, match="Did you mean 'history'"):
        layer.lookup(["histroy"], keys)


def test_a_model_view_of_one_version_is_one_object(layer: Layer) -> None:
    assert layer.view("side") is layer.view("side")
    narrow = side.only("label")
    assert layer.resolved(narrow).columns.keys() == {"label"}
    assert layer.resolved(narrow) is not layer.view("side")
    pinned = replace(layer, pins={"side": 1})
    assert pinned.view("side") is not layer.view("side")
    sent = copy(layer)  # by way of what a worker gets
    assert not vars(sent).keys() & {"_resolved", "neighbours"}
    assert sent.view("side").version == layer.view("side").version


def test_an_old_event_counts_where_it_belongs(layer: Layer) -> None:
    layer.push("interactions", event("u1", "new"))
    old = datetime.now(UTC) - timedelta(days=3)
    layer.push("interactions", event("u1", "old", event_time=old.isoformat()))
    assert found(layer, "history", user_id="u1")["last"].tolist() == [["new", "old"]]
    assert found(layer, "activity", user_id="u1")["events"].tolist() == [1]


def test_what_a_model_says_of_a_pushed_row_is_pushed_with_it(layer: Layer) -> None:
    layer.push("points", point("a", 0.9, -0.9))
    layer.push("points", point("b", -0.9, 0.9))
    labels = [found(layer, "side", point_id=name)["label"][0] for name in "ab"]
    assert labels == ["above", "below"]
    assert layer.store.snapshot("side_v1").rows == 2


def test_rows_of_one_key_without_a_time_are_all_kept_in_their_order(layer: Layer) -> None:
    twice = {name: np.repeat(column, 2) for name, column in event("u1", "p1").items()}
    assert layer.push("interactions", {**twice, "value": np.array([1.0, 2.0])}) == 2
    kept = layer.store.snapshot("interactions").read(interactions)
    assert kept["value"].tolist() == [1.0, 2.0]
    assert np.diff(kept["event_time"]).tolist() == [timedelta(microseconds=1)]
    assert found(layer, "history", user_id="u1")["last"].tolist() == [["p1", "p1"]]


def test_where_a_model_fails_nothing_of_a_push_is_written(layer: Layer, registry: Registry) -> None:
    (registry.folder("tests.toy", 1) / "weights.safetensors").unlink()
    with pytest.raises(LeptonError):
        layer.push("points", point("a", 0.9, -0.9))
    assert layer.store.views() == []


def test_a_backfill_asks_about_what_is_new_alone(layer: Layer) -> None:
    layer.store.write(labelled_points, labelled_points.sample(50, np.random.default_rng(0)))
    assert layer.backfill(side) == 50
    assert layer.backfill(side) == 0
    layer.store.write(labelled_points, {**point("new", 0.5, 0.1), "event_time": times([7])})
    assert layer.backfill(side) == 1
    assert layer.materialize(["side"]) == {"side": 51}
    assert found(layer, "side", point_id="new")["label"].tolist() == ["above"]


def test_a_row_that_was_replaced_is_asked_about_again(layer: Layer) -> None:
    for x, label in ((0.9, "above"), (-0.9, "below")):
        layer.store.write(labelled_points, point("a", x, 0.0))
        assert [layer.backfill(side), layer.backfill(side)] == [1, 0]
        layer.materialize(["side"])
        assert found(layer, "side", point_id="a")["label"].tolist() == [label]


def test_a_view_is_read_at_the_version_that_is_pinned(layer: Layer, registry: Registry) -> None:
    folder = registry.folder("tests.toy", 1)
    files = {p.name: p.read_bytes() for p in folder.iterdir() if "manifest" not in p.name}
    registry.write("tests.toy", filler(manifest("tests.toy", run="r2"), files))
    registry.point("production", "tests.toy", 2)
    pinned = Layer(layer.graph, layer.store, layer.online, layer.models, {"side": 1})
    assert layer.view("side").version != pinned.view("side").version
    assert layer.graph.stored(layer.view("side")).name == "side_v2"
    assert layer.graph.stored(pinned.view("side")).name == "side_v1"


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("points", {**point("a", float("nan"), 0.0)}, "Nothing was written to 'points': row 0: x"),
        ("points", {"point_id": objects(["a"])}, "need a column 'x'"),
        ("points", {}, "a push takes 1 to 10,000"),
        (
            "interactions",
            event("u1", "p1", valu=3),
            r"There is no column 'valu'\. Did you mean 'value'\?",
        ),
        (
            "points",
            {**point("a", 0, 0), "where": objects(["x"])},
            "There is no column 'where'. There",
        ),
        (
            "points",
            {**point("a", 0, 0), "created": objects(["2026-01-01T00:00:00Z"])},
            "There is no column 'created'. There are: event_time, label, point_id, split, x, y.",
        ),
        ("echo", {}, r"'echo' is made from history, so .* Push to 'interactions'\."),
        ("side", {}, "'side' is made from points, so nothing is pushed to it. Push to 'points'."),
        (
            "interactions",
            event("u1", "p1", event_time="2026-01-01 10:00"),
            "event_time .* zone",
        ),
        (
            "interactions",
            event("u1", "p1", event_time="2099-01-01T00:00:00Z"),
            "row 0: event_time lies in the future: 2099-01-01T00:00:00Z",
        ),
        ("interactions", event("u1", "p1", event_time=datetime(2026, 1, 1)), "event_time .* zone"),
    ],
)
def test_a_push_that_cannot_be_writes_nothing(
    layer: Layer, name: str, rows: Batch, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        layer.push(name, rows)
    assert layer.store.views() == []


def test_a_push_to_no_view_offers_the_nearest(layer: Layer) -> None:
    with pytest.raises(NotFound, match="Did you mean 'points'"):
        layer.push("point", point("a", 0.0, 1.0))
