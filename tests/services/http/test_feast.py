"""Feast's protocol at the door: its shapes, its words for what is not known, its naive times."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cluster.base.batch import Batch
from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, Text
from cluster.features.schema.ragged import Texts, Vector
from cluster.features.schema.view import View
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.http.door import build
from services.local import catalog
from tests.support import ask, problem

Post = Callable[[str, Any], httpx.Response]
EPOCH = "1970-01-01T00:00:00Z"
AT = "2026-05-01T10:00:00"


def none(n: int, rng: np.random.Generator) -> Batch:
    """No view here is sampled."""
    raise AssertionError


goods = View("goods", ("item_id",), {"title": Text(), "words": Texts()}, none)
rates = View(
    "rates", ("user_id", "item_id"), {"rate": Number()}, none, ttl=timedelta(days=1),
    defaults={"rate": 2.5},
)  # fmt: skip

spots = View("spots", ("item_id",), {"at": Vector(2), "name": Text()}, none)


@pytest.fixture
def post(tmp_path: Path) -> Post:
    """Sends JSON to a door before three views that are online."""
    store = Store(tmp_path / "features")
    models = Models(Registry(tmp_path), catalog.find)
    online = Online(tmp_path / "features" / "online.db")
    layer = Layer(Graph([goods, rates, spots]), store, online, models)
    layer.materialize(["goods", "rates", "spots"])
    door = build(tmp_path, dict, lambda: layer)

    def send(path: str, content: Any) -> httpx.Response:
        body = json.dumps(content).encode()
        return ask(door, "POST", path, body, content_type="application/json")

    return send


def fill(post: Post) -> None:
    """One of the goods with words, one without, and a rate that is too old."""
    df: dict[str, Any] = {"item_id": ["a", 7], "title": ["A", "Seven"], "words": [["x"], []]}
    df |= {"event_timestamp": [AT, AT], "created": [None, None]}
    done = post("/push", {"push_source_name": "goods", "df": df, "to": "online"})
    assert done.status_code == 200, done.text
    df = {"user_id": ["u"], "item_id": ["a"], "rate": [4.0], "event_timestamp": [AT]}
    body = {"feature_view_name": "rates", "df": df, "allow_registry_cache": False}
    done = post("/write-to-online-store", body)
    assert (done.status_code, done.json()) == (200, None)


def test_health_answers_with_success(tmp_path: Path) -> None:
    assert ask(build(tmp_path, dict), "GET", "/health").status_code == 200


def test_features_come_in_columns_after_the_keys(post: Post) -> None:
    fill(post)
    asked = {"features": ["goods:words", "goods:title"], "entities": {"item_id": ["a", 7, "b"]}}
    answer = post("/get-online-features", asked).json()
    assert answer["metadata"] == {"feature_names": ["item_id", "words", "title"]}
    key, words, title = answer["results"]
    assert key == {
        "values": ["a", 7, "b"],
        "statuses": ["PRESENT"] * 3,
        "event_timestamps": [EPOCH] * 3,
    }
    # the client cannot tell what an empty list would hold, and fails; null it knows
    assert words["values"] == [["x"], None, None]
    assert words["statuses"] == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
    assert title["values"] == ["A", "Seven", None]
    assert title["statuses"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
    assert title["event_timestamps"] == [f"{AT}.000000Z", f"{AT}.000000Z", EPOCH]


def test_views_of_several_keys_full_names_and_what_is_too_old(post: Post) -> None:
    fill(post)
    asked = {
        "features": ["goods:title", "rates:rate"],
        "entities": {"item_id": ["a", "a"], "user_id": ["u", "v"]},
        "full_feature_names": True,
        "include_feature_view_version_metadata": True,
    }
    answer = post("/get-online-features", asked).json()
    names = ["item_id", "user_id", "goods__title", "rates__rate"]
    assert answer["metadata"]["feature_names"] == names
    views = answer["metadata"]["feature_view_metadata"]
    assert [view["name"] for view in views] == ["goods", "rates"]
    rate = answer["results"][3]
    assert rate["statuses"] == ["OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert rate["values"] == [2.5, 2.5]  # the view's default
    assert rate["event_timestamps"] == [f"{AT}.000000Z", EPOCH]


@pytest.mark.parametrize("path", ["/search", "/retrieve-online-documents"])
def test_the_nearest_come_with_their_keys_first_and_the_distance_last(
    post: Post, path: str
) -> None:
    df = {"item_id": ["a", "b"], "at": [[1.0, 0.0], [0.0, 1.0]], "name": ["A", "B"]}
    stamped = {**df, "event_timestamp": [AT, AT]}
    assert post("/push", {"push_source_name": "spots", "df": stamped}).is_success
    asked = {"features": ["spots:at", "spots:name"], "query": [0.5, 1.0], "top_k": 5}
    answer = post(path, {**asked, "distance_metric": "COSINE", "api_version": 2}).json()
    assert answer["metadata"]["feature_names"] == ["item_id", "at", "name", "distance"]
    values = [result["values"] for result in answer["results"]]
    # by key: the client sorts the keys, and leaves the values as they came
    assert values == [["a", "b"], [[1.0, 0.0], [0.0, 1.0]], ["A", "B"], [0.5, 1.0]]
    assert answer["results"][1]["event_timestamps"] == [f"{AT}.000000Z"] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"query": None}, "Only vectors are searched"),
        ({"query_string": "boots"}, "Only vectors are searched"),
        ({"distance_metric": "L2"}, "no metric 'L2'"),
        ({"features": ["goods:title"]}, "no column of vectors"),
        ({"features": []}, "Name some as view:column"),
        ({"top_k": 0}, "top_k is 0"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_a_sentence(
    post: Post, change: Any, said: str
) -> None:
    answer = post("/search", {"features": ["spots:at"], "query": [1, 0], **change})
    assert said in problem(answer, 422).detail


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"features": ["good:title"]}, 404, "Did you mean 'goods'?"),
        ({"features": ["goods:titel"]}, 422, "Did you mean 'title'?"),
        ({"features": ["goods"]}, 422, "has no column ''"),
        ({"features": []}, 422, "Name some as view:column"),
        ({"feature_service": "vision.classif"}, 404, "Did you mean 'vision.classify'?"),
        ({"features": ["rates:rate"]}, 422, "user_id is missing"),
        ({"features": ["goods:title"], "entities": {"item": ["a"]}}, 422, "'item_id'?"),
        ({"features": ["goods:title"], "entities": {"item_id": [[1]]}}, 422, "is a list"),
        (
            {"features": ["rates:rate"], "entities": {"item_id": ["a"], "user_id": []}},
            422,
            "as many",
        ),
        ({"features": ["goods:title"], "entities": {"item_id": ["a"] * 10_001}}, 413, "10,000"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(
    post: Post, asked: Any, status: int, said: str
) -> None:
    answer = post("/get-online-features", {"entities": {"item_id": ["a"]}, **asked})
    found = problem(answer, status)
    assert said in found.detail + " ".join(fault.message for fault in found.errors)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": [None]}, "title is empty"),
        ({"event_timestamp": ["soon"]}, "event_timestamp 'soon' is no time"),
        ({"titel": ["A"]}, "Did you mean 'title'?"),
        ({"title": ["A", "B"]}, "Give each as many"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_sentence(
    post: Post, change: Any, said: str
) -> None:
    df = {"item_id": ["a"], "title": ["A"], "words": [["x"]], "event_timestamp": [AT], **change}
    found = problem(post("/push", {"push_source_name": "goods", "df": df}), 422)
    assert said in found.detail + " ".join(fault.message for fault in found.errors)


def test_a_push_source_has_the_name_of_its_view(post: Post) -> None:
    found = problem(post("/push", {"push_source_name": "good", "df": {"item_id": ["a"]}}), 404)
    assert found.detail.endswith("Did you mean 'goods'?")
    wrong = {"push_source_name": "goods", "df": {"item_id": ["a"]}, "to": "nowhere"}
    assert problem(post("/push", wrong), 422).errors[0].pointer == "/to"
