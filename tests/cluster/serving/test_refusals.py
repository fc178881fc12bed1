"""A row that a model refuses, or breaks on, costs nobody else an answer."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, length, objects, without
from cluster.base.errors import InvalidInput
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.layer import Layer
from cluster.features.monitoring.requests import RequestLog
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Text, times
from cluster.registry.card import write_card
from cluster.registry.model import Model
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from cluster.serving.answering import Answered, Answering, answered
from cluster.serving.batching import Batcher
from services.http.app import build
from tests.picky import BREAKS_AT, REFUSED_AT, Input, Picky
from tests.services.asking import send
from tests.support import filler, manifest, problem
from tests.toy import labelled_points

FAR = "x is -0.9, which is far to the left."


@pytest.fixture
def model() -> Model:
    return Model(Picky(), manifest("tests.picky"))


def points(*x: float) -> Batch:
    """Examples at these places, all of them truly below."""
    return {
        "point_id": objects(f"p{number}" for number in range(len(x))),
        "x": np.array(x),
        "y": np.ones(len(x)),
        "label": objects(["below"] * len(x)),
        "event_time": times([7] * len(x)),
    }


def together(model: Model, folder: Path, *requests: Sequence[Input]) -> list[Any]:
    """Requests that come together: what each caller gets, errors included."""

    def no_layer() -> Layer:
        raise AssertionError("Nothing is looked up here.")

    answering = Answering(model, no_layer, RequestLog(folder, share=1.0, limit_bytes=2**26))

    async def ask() -> list[Any]:
        batcher = Batcher(answering, max_batch=64, max_waiting=64)

        async def one(rows: Sequence[Input]) -> Answered:
            return answered(1, await batcher.answer(rows))

        return list(await asyncio.gather(*map(one, requests), return_exceptions=True))

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("bad", "error"),
    [(-0.9, InvalidInput), (REFUSED_AT, InvalidInput), (BREAKS_AT, ZeroDivisionError)],
)
def test_31_callers_are_answered_beside_one_whose_row_is_bad(
    model: Model, tmp_path: Path, bad: float, error: type[Exception]
) -> None:
    asked = [[Input(x=bad if n == 13 else n / 100, y=1.0)] for n in range(32)]
    found = together(model, tmp_path, *asked)
    assert isinstance(found.pop(13), error)
    assert [one.outputs[0].label for one in found] == ["below"] * 31


def test_a_caller_of_several_rows_is_told_which_of_them_is_refused(
    model: Model, tmp_path: Path
) -> None:
    async def answer(inputs: Sequence[Any]) -> Answered:
        found = await asyncio.to_thread(together, model, tmp_path, inputs)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]  # type: ignore[no-any-return]

    rows = [{"x": x, "y": 1.0} for x in (0.1, -0.9, 0.2, REFUSED_AT)]
    found = problem(send(build(Picky, answer), {"inputs": rows}), 422)
    assert found.detail == f"/inputs/1/x: {FAR} Go right. (and 1 more fault)"
    assert [fault.pointer for fault in found.errors] == ["/inputs/1/x", "/inputs/3/x"]


def test_a_notebook_is_told_which_row_is_refused(model: Model) -> None:
    assert len(model.predict([{"x": 0.5, "y": 0.0}] * 3)) == 3
    with pytest.raises(InvalidInput, match=f"^Row 1: {FAR} Go right.$") as refused:
        model.predict([{"x": 0.5, "y": 0.0}, {"x": -0.9, "y": 0.0}])
    assert refused.value.pointer == "/inputs/1/x"
    with pytest.raises(ZeroDivisionError):
        model.predict([{"x": BREAKS_AT, "y": 0.0}])


def test_an_evaluation_scores_what_was_answered_and_counts_what_was_refused(
    model: Model, tmp_path: Path
) -> None:
    found = model.task.evaluate(points(0.1, -0.9, 2.0, REFUSED_AT, 0.3))
    assert found.metrics == {"accuracy": pytest.approx(2 / 3)}
    assert (found.rows, found.refused) == (5, 2)
    write_card(tmp_path, model.manifest, found, [], summary="It says.")
    assert (
        "On 5 questions, by the files that are served. 2 of them were refused and not scored."
        in (tmp_path / "card.md").read_text()
    )
    with pytest.raises(InvalidInput, match=f"All 2 test rows were refused: {FAR}"):
        model.task.evaluate(points(-0.9, -0.8))
    with pytest.raises(ZeroDivisionError):
        model.task.evaluate(points(0.1, BREAKS_AT))


def find(name: str) -> type[Picky]:
    assert name == "tests.picky"
    return Picky


picky = model_view(
    "picky",
    "tests.picky@production",
    over=labelled_points,
    columns={"label": Text()},
    inputs={"x": "x", "y": "y"},
)


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """Points, and what the one version of the capability says of them."""
    return layer_in(tmp_path, b"{}")


def layer_in(tmp_path: Path, config: bytes) -> Layer:
    registry = Registry(tmp_path)
    registry.write("tests.picky", filler(manifest("tests.picky"), {"config.json": config}))
    registry.point("production", "tests.picky", 1)
    store, online = Store(tmp_path / "features"), Online(tmp_path / "features" / "online.db")
    return Layer(Graph([labelled_points, picky]), store, online, Models(registry, find))


def told(layer: Layer, *keys: str) -> list[str]:
    """What came of looking up what the model says of these points."""
    found = layer.lookup(["picky"], {"point_id": objects(keys)})
    return [str(status) for status in found["picky_status"]]


def test_a_bad_row_does_not_stop_a_backfill(layer: Layer, caplog: pytest.LogCaptureFixture) -> None:
    layer.store.write(labelled_points, points(0.1, -0.9, 0.2, BREAKS_AT, 0.3))
    with caplog.at_level(logging.WARNING):
        assert layer.materialize(["picky"]) == {"picky": 3}
    assert told(layer, "p0", "p1", "p2", "p3", "p4") == [
        "present", "missing", "present", "missing", "present",
    ]  # fmt: skip
    (logged,) = caplog.messages
    assert logged == (
        "tests.picky@production answers 3 of 5 rows; view picky will have nothing of the others: "
        f"{FAR} Go right."
    )
    layer.store.write(labelled_points, points(-0.9))
    assert layer.backfill(picky) == 0


def test_a_pushed_row_that_a_model_refuses_is_kept_and_the_model_says_nothing_of_it(
    layer: Layer,
) -> None:
    layer.materialize([])
    raw = without(points(0.1, -0.9), ["event_time"])
    assert layer.push("points", raw) == 2
    assert length(layer.store.head(labelled_points).read(labelled_points)) == 2
    assert told(layer, "p0", "p1") == ["present", "missing"]
    assert layer.push("points", without(points(-0.9), ["event_time"])) == 1


def test_a_push_beside_a_model_that_is_broken_leaves_nothing_written(tmp_path: Path) -> None:
    layer = layer_in(tmp_path, b'{"broken": true}')
    with pytest.raises(ZeroDivisionError):
        layer.push("points", without(points(0.1), ["event_time"]))
    assert layer.store.views() == []


def test_a_push_of_a_row_that_a_model_breaks_on_is_kept(layer: Layer) -> None:
    assert layer.push("points", without(points(BREAKS_AT), ["event_time"])) == 1
