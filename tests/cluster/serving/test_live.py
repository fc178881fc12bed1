"""Keys in place of columns, and features beside every row, as a replica answers them."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, Unavailable
from cluster.contract.keys import keys_of
from cluster.features.derived.computed import computed
from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.online.lag import EVERY_S, GRACE_S
from cluster.features.schema.column import Number
from cluster.features.schema.view import View
from cluster.serving.live import Live
from lepton.wire import Prediction
from services.http.app import build
from tests.knows import GRAPH, Input, Knows, Service, lately, layer_of, owners, visits
from tests.services.asking import send
from tests.support import manifest, problem

Keys: Any = keys_of(Knows)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """The toy, with one point, one owner and one visit that are online."""
    made = Service(tmp_path)
    push_point(made.layer, "p1", 3.0)
    made.layer.push("owners", {"owner_id": objects(["o1"]), "rank": np.array([5.0])})
    made.layer.push("visits", {"owner_id": objects(["o1"]), "place": objects(["home"])})
    return made


def push_point(layer: Layer, key: str, x: float) -> None:
    row: dict[str, list[object]] = {"point_id": [key], "x": [x], "y": [1.0], "label": ["above"]}
    layer.push("points", {name: objects(values) for name, values in row.items()})


def asked(service: Service, *rows: dict[str, Any]) -> dict[str, Any]:
    answer = send(build(Knows, service.answer), {"inputs": list(rows)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_row_that_is_named_by_key_is_answered_as_the_same_row_sent(service: Service) -> None:
    by_key = asked(service, {"point_id": "p1", "margin": 0.5})
    sent = asked(service, {"x": 3.0, "y": 1.0, "margin": 0.5})
    assert by_key["outputs"] == sent["outputs"]
    assert by_key["features"][0]["points"] == "present"
    assert "points" not in sent["features"][0]


def test_features_stand_beside_every_row_and_a_push_changes_the_next_answer(
    service: Service,
) -> None:
    found = asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"}, {"x": 1.0, "y": 2.0})
    known, unknown = found["outputs"]
    assert (known["rank"], known["visits"], known["last"]) == (5.0, 1, ["home"])
    assert (unknown["rank"], unknown["rank_missing"], unknown["last"]) == (-1.0, True, [])
    assert found["features"] == [
        {"owners": "present", "lately": "present"},
        {"owners": "missing", "lately": "missing"},
    ]
    service.layer.push("visits", {"owner_id": objects(["o1"]), "place": objects(["shop"])})
    again = asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"})
    assert again["outputs"][0]["last"] == ["shop", "home"]


def test_keys_and_columns_may_stand_in_one_request(service: Service) -> None:
    found = asked(service, {"x": 9.0, "y": 1.0}, {"point_id": "p1"}, {"x": 8.0, "y": 1.0})
    assert [output["x"] for output in found["outputs"]] == [9.0, 3.0, 8.0]


def test_a_row_that_has_both_is_told_which_to_leave_out(service: Service) -> None:
    rows = [{"x": 1.0, "y": 2.0}, {"point_id": "p1", "y": 2.0}, {"point_id": ""}]
    found = problem(send(build(Knows, service.answer), {"inputs": rows}), 422)
    assert found.detail == (
        "/inputs/1: The input has point_id, which names a stored row of points, and y, which that "
        "row holds. Leave out y to ask about the stored row, or point_id to ask about what you "
        "send. (and 1 more fault)"
    )
    assert [fault.pointer for fault in found.errors] == ["/inputs/1", "/inputs/2/point_id"]


def test_of_what_nothing_is_known_the_view_the_key_and_the_way_out_are_named(
    service: Service,
) -> None:
    rows = [{"x": 1.0, "y": 2.0}, {"point_id": "p9"}, {"point_id": "p1"}, {"point_id": "p8"}]
    found = problem(send(build(Knows, service.answer), {"inputs": rows}), 422)
    assert found.detail == (
        "/inputs/1: View 'points' knows nothing of point_id 'p9'. Push it there, or send x, y. "
        "(and 1 more fault)"
    )
    assert [fault.pointer for fault in found.errors] == ["/inputs/1", "/inputs/3"]


def test_an_unknown_key_fails_its_own_request_and_no_other_of_the_batch(service: Service) -> None:
    good, bad, also_good = service.together(
        [Input(x=1.0, y=2.0)], [Keys(point_id="p9"), Keys(point_id="p1")], [Keys(point_id="p1")]
    )
    assert isinstance(bad, InvalidInput)
    assert (good.outputs[0].x, also_good.outputs[0].x) == (1.0, 3.0)


def test_a_value_that_is_too_old_is_told_as_stale_and_not_used(service: Service) -> None:
    then = datetime.now(UTC) - timedelta(days=40)
    service.layer.push(
        "owners",
        {"owner_id": objects(["old"]), "rank": np.array([7.0]), "event_time": objects([then])},
    )
    found = asked(service, {"x": 1.0, "y": 2.0, "owner_id": "old"})
    assert found["features"] == [{"owners": "stale", "lately": "missing"}]
    assert found["outputs"][0]["rank"] == -1.0


def test_a_stored_row_that_is_no_input_is_refused(tmp_path: Path) -> None:
    service = Service(tmp_path)
    push_point(service.layer, "p1", 1e9)
    found = problem(send(build(Knows, service.answer), {"inputs": [{"point_id": "p1"}]}), 422)
    assert found.detail == (
        "/inputs/0: What view 'points' holds of point_id 'p1' is no input: x is 1000000000.0; it "
        "must be less than or equal to 1000. Push another row, or send x, y."
    )


class Dead:
    """A feature layer that cannot be asked."""

    def behind(self, *_: object) -> dict[str, Any]:
        return {}

    def lookup(self, *_: object, **__: object) -> Any:
        raise Unavailable("The store does not answer.", hint="Look at it.")


@computed(key=("owner_id",), columns={"worth": Number()})
def worth(owners: pl.DataFrame, lately: pl.DataFrame) -> pl.DataFrame:
    """The rank of an owner, more with each visit."""
    return pl.DataFrame({"worth": owners["rank"] + lately["visits"]})


class Worth(Knows):
    """The toy, which is told a function of two views."""

    features: ClassVar[tuple[View, ...]] = ()
    live: ClassVar[tuple[View, ...]] = (worth,)


def test_a_function_tells_which_of_its_inputs_are_missing(service: Service) -> None:
    layer = replace(service.layer, graph=Graph([*GRAPH.order, worth]))
    layer.push("visits", {"owner_id": objects(["o2"]), "place": objects(["home"])})
    live = Live(Worth(), lambda: layer, manifest("tests.worth"))
    joined = live.join([Input(x=1.0, y=2.0, owner_id=owner) for owner in ("o1", "o2", "")])
    assert joined.statuses == [
        {"worth": "present", "owners": "present", "lately": "present"},
        {"worth": "present", "owners": "missing", "lately": "present"},
        {"worth": "missing", "owners": "missing", "lately": "missing"},
    ]
    assert [view.name for view in joined.views] == ["worth"]


@pytest.mark.slow
def test_an_answer_from_views_that_are_behind_says_so(service: Service) -> None:
    many = 10_001  # fewer are brought by who finds them missing
    rows = {"owner_id": objects(f"n{n}" for n in range(many)), "place": objects(["x"] * many)}
    service.layer.store.write(visits, {**rows, "event_time": np.full(many, np.datetime64(1, "us"))})
    time.sleep(GRACE_S + 0.05)
    live = service.answering.live
    live._open_layer = lambda: replace(service.layer)  # which has looked at nothing yet
    found = asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"})
    assert found["behind"] == ["lately"]
    assert found["features"] == [{"owners": "present", "lately": "present"}]
    sent = Prediction.model_validate(found)
    assert sent.behind == ["lately"]
    service.layer.materialize(["visits"])
    time.sleep(EVERY_S + 0.05)
    asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"})  # asked anew, in a thread
    time.sleep(0.5)
    assert "behind" not in asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"})


def test_a_store_that_is_dead_fails_no_request_and_the_answer_says_degraded(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path)
    service.answering.live._layer = Dead()  # type: ignore[assignment]
    found = asked(service, {"x": 1.0, "y": 2.0, "owner_id": "o1"})
    assert found["degraded"] is True
    assert found["features"] == [{"owners": "missing", "lately": "missing"}]
    answer = send(build(Knows, service.answer), {"inputs": [{"point_id": "p1"}]})
    assert problem(answer, 503).detail == "The store does not answer. Look at it."


def test_a_view_that_was_never_online_counts_as_missing_and_the_others_are_told(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path)
    push_point(service.layer, "p1", 3.0)
    found = asked(service, {"point_id": "p1", "owner_id": "o1"})
    assert found["degraded"] is True
    assert found["features"] == [{"points": "present", "owners": "missing", "lately": "missing"}]
    other = Service(tmp_path / "empty")
    answer = send(build(Knows, other.answer), {"inputs": [{"point_id": "p1"}]})
    assert problem(answer, 422).detail == (
        "/inputs/0: View 'points' is not online. Bring it there: python -m services materialize "
        "points, or send x, y."
    )


def test_a_replica_that_looks_nothing_up_opens_no_layer(tmp_path: Path) -> None:
    service = Service(tmp_path)
    live = service.answering.live
    found = live.join([Input(x=1.0, y=2.0)])
    assert live._layer is None
    assert found.statuses == [{"owners": "missing", "lately": "missing"}]


def test_the_release_of_a_model_view_is_that_of_the_manifest(tmp_path: Path) -> None:
    made = manifest("tests.knows", views={"item_vector": {"version": "ab", "release": 3}})
    assert Service(tmp_path, made=made).answering.live.pins == {"item_vector": 3}
    assert layer_of(tmp_path).pins == {}


def test_a_view_that_is_declared_otherwise_than_it_was_learnt_from_counts_as_missing(
    service: Service, tmp_path: Path
) -> None:
    known = {view.name: {"version": view.version} for view in (owners, lately)}
    row = {"x": 1.0, "y": 2.0, "owner_id": "o1"}
    same = Service(tmp_path, made=manifest("tests.knows", views=known))
    assert asked(same, row)["features"] == [{"owners": "present", "lately": "present"}]
    made = manifest("tests.knows", views={**known, "owners": {"version": "0ld0ld0l"}})
    other = Service(tmp_path, made=made)
    found = asked(other, row)
    assert found["features"] == [{"owners": "missing", "lately": "present"}]
    assert found["degraded"] is True
    assert str(other.answering.live.changed["owners"]) == (
        "Version 0 of tests.knows learnt from view 'owners' as it was declared then (0ld0ld0l); it "
        f"is another now ({owners.version}). Train it anew: python -m services train tests.knows"
    )


def test_in_a_notebook_features_are_missing(tmp_path: Path) -> None:
    from cluster.registry.model import Model

    (output,) = Model(Knows(), manifest()).predict([{"x": 1.0, "y": 2.0, "owner_id": "o1"}])
    assert (output.rank, output.rank_missing, output.last) == (-1.0, True, [])  # type: ignore[attr-defined]
