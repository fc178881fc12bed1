"""The feature layer over HTTP: look up, push, find the nearest, and sentences for the rest."""

import asyncio
import base64
import gzip
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from cluster.base.batch import objects
from cluster.base.errors import Unavailable
from cluster.features.layer import Layer
from cluster.features.online.keeper import Got, Want
from cluster.features.online.lag import GRACE_S
from cluster.features.online.lookup import Online
from cluster.features.online.sqlite_keeper import SqliteKeeper
from cluster.media.pixels import decode, encode
from lepton.wire import Lookup, Neighbours, ViewList
from services.http.door import build
from services.http.features_http import Features
from tests.services.goods import PICTURE, Post, good, goods, looked_up, places
from tests.support import ask, problem

JSON = "application/json"


def test_what_was_pushed_is_looked_up(post: Post) -> None:
    answer = post("/v1/features/goods/push", {"rows": [good(event_time="2026-05-01T12:00:00Z")]})
    assert answer.json()["rows"] == 1
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    found = looked_up(post, ["goods"], {"item_id": "42"}, {"item_id": "43"}, {"item_id": 42})
    first, unknown, again = (result["goods"] for result in found.results)
    assert first == again
    assert first.status == "present"
    assert str(first.event_time) == "2026-05-01 12:00:00+00:00"
    assert first.values == {
        "title": "Boots",
        "price": 2.5,
        "stock": 3,
        "words": ["red", "warm"],
        "seen": "2026-01-02T02:04:05.000000Z",
    }
    assert (unknown.status, unknown.event_time) == ("missing", None)
    assert unknown.values == {
        "title": None,
        "price": 9.5,
        "stock": None,
        "words": None,
        "seen": None,
    }


def test_views_of_several_keys_and_of_one_column_s_name_come_in_one_answer(post: Post) -> None:
    post("/v1/features/goods/push", {"rows": [good()]})
    row = {"user_id": "u", "item_id": "42", "title": "Seen"}
    post("/v1/features/visits/push", {"rows": [row]})
    found = looked_up(post, ["goods", "visits"], {"item_id": "42", "user_id": "u"})
    assert found.results[0]["goods"].values["title"] == "Boots"
    assert found.results[0]["visits"].values == {"title": "Seen"}


def test_what_is_too_old_is_stale(post: Post) -> None:
    old = {"user_id": "u", "item_id": "42", "title": "Seen", "event_time": "2024-01-01T00:00:00Z"}
    post("/v1/features/visits/push", {"rows": [old]})
    (result,) = looked_up(post, ["visits"], {"item_id": "42", "user_id": "u"}).results
    assert (result["visits"].status, result["visits"].values) == ("stale", {"title": None})
    assert str(result["visits"].event_time) == "2024-01-01 00:00:00+00:00"


def test_a_picture_travels_as_base64(post: Post) -> None:
    sent = base64.b64encode(encode(PICTURE)).decode()
    assert post("/v1/features/shots/push", {"rows": [{"item_id": "1", "shot": sent}]}).is_success
    result, gone = looked_up(post, ["shots"], {"item_id": "1"}, {"item_id": "gone"}).results
    shot = result["shots"].values["shot"]
    assert (gone["shots"].status, gone["shots"].values) == ("missing", {"shot": None})
    assert isinstance(shot, str)
    assert decode(base64.b64decode(shot)).tolist() == PICTURE.tolist()


def test_a_vector_travels_as_a_list_and_the_nearest_are_found(post: Post) -> None:
    corners = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0]}
    rows = [{"item_id": name, "vector": vector} for name, vector in corners.items()]
    assert post("/v1/features/places/push", {"rows": rows}).json()["rows"] == 3
    (result,) = looked_up(post, ["places"], {"item_id": "b"}).results
    assert result["places"].values["vector"] == [0.8, 0.6]

    def nearest(**asked: Any) -> list[str]:
        answer = post("/v1/features/places/nearest", asked)
        assert answer.status_code == 200, answer.text
        found = Neighbours.model_validate_json(answer.content).neighbours
        return [one.key["item_id"] for one in found]

    assert nearest(vector=[1, 0]) == ["a", "b", "c"]
    assert nearest(vector=[0.1, 1], k=1) == ["c"]
    assert nearest(key={"item_id": "a"}, k=2) == ["b", "c"]
    moved = {"item_id": "a", "vector": [0.0, -1.0]}
    post("/v1/features/places/push", {"rows": [moved]})
    assert nearest(vector=[1, 0], k=2) == ["b", "a"]  # c and a are alike, and a comes first


def test_the_thousand_nearest_to_a_row_are_found(layer: Layer, post: Post) -> None:
    vectors = np.column_stack([np.ones(1_100), np.arange(1_100) / 1e4])
    ids = objects(f"{number:04}" for number in range(1_100))
    layer.push("places", {"item_id": ids, "vector": vectors})
    answer = post("/v1/features/places/nearest", {"key": {"item_id": "0500"}, "k": 1_000})
    assert answer.status_code == 200, answer.text
    found = [one["key"]["item_id"] for one in answer.json()["neighbours"]]
    assert found == [f"{number:04}" for number in range(1_099, 98, -1) if number != 500]


def test_a_value_that_reads_like_a_status_is_none(post: Post) -> None:
    row = good(title='"status":"degraded"', event_time="2026-05-01T12:00:00Z")
    post("/v1/features/goods/push", {"rows": [row]})
    asked = {"views": ["goods"], "keys": [{"item_id": "42"}]}
    assert "X-Lepton-Degraded" not in post("/v1/features/lookup", asked).headers


def test_the_layer_is_made_once_and_never_by_the_event_loop(layer: Layer) -> None:
    threads: list[threading.Thread] = []

    def make() -> Layer:
        threads.append(threading.current_thread())
        time.sleep(0.05)
        return layer

    app = Starlette(routes=Features(make, Path()).routes())
    body = json.dumps({"views": ["goods"], "keys": [{"item_id": "42"}]})

    async def ask_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://here", headers={"Content-Type": JSON}
        ) as client:
            asked = (client.post("/v1/features/lookup", content=body) for _ in range(4))
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask_at_once())
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


def test_every_view_is_listed_with_what_it_holds(layer: Layer, tmp_path: Path, post: Post) -> None:
    post("/v1/features/goods/push", {"rows": [good(event_time="2026-05-01T12:00:00Z")]})
    answer = ask(build(tmp_path, dict, lambda: layer), "GET", "/v1/features")
    views = {view.name: view for view in ViewList.model_validate_json(answer.content).views}
    assert views.keys() == {"goods", "shots", "places", "visits", "doubled"}
    listed = views["goods"]
    assert (listed.kind, listed.key, listed.rows, listed.online) == ("source", ["item_id"], 1, True)
    assert listed.columns["price"] == "double"
    assert (listed.owner, listed.tags) == ("shop", ["catalogue"])
    assert str(listed.newest) == "2026-05-01 12:00:00+00:00"
    assert listed.version == goods.version
    assert views["visits"].ttl_s == 86_400
    assert (views["doubled"].kind, views["doubled"].needs) == ("computed", ["goods"])
    assert views["doubled"].rows is None


@pytest.mark.parametrize(
    ("asked", "pointer", "said"),
    [
        ({"keys": [{"item_id": "1"}]}, "/views", "views is missing"),
        ({"views": [], "keys": [{"item_id": "1"}]}, "/views", "views is empty"),
        ({"views": ["goods"], "keys": []}, "/keys", "keys is empty"),
        ({"views": ["goods"], "keys": [{}]}, "/keys/0", "item_id is missing"),
        ({"views": ["goods"], "keys": [{"item_id": ""}]}, "/keys/0/item_id", "is empty"),
        (
            {"views": ["goods"], "keys": [{"item_id": "i" * 257}]},
            "/keys/0/item_id",
            "item_id has 257 characters; the limit is 256.",
        ),
        ({"views": ["goods"], "keys": [{"item_id": [1]}]}, "/keys/0/item_id", "is a list"),
        ({"views": ["goods"], "keys": [{"item_id": None}]}, "/keys/0", "item_id is missing"),
        (
            {"views": ["goods"], "keys": [{"item_id": "1"}, {"item_id": "1", "itm": "1"}]},
            "/keys/1",
            "Did you mean 'item_id'?",
        ),
        ({"views": ["goods"], "keys": [{"item_id": "1"}], "k": 1}, "/k", "no field 'k'"),
        ({"views": ["visits"], "keys": [{"item_id": "1"}]}, "/keys/0", "user_id is missing"),
    ],
)
def test_a_key_that_does_not_fit_is_told_where(
    post: Post, asked: Any, pointer: str, said: str
) -> None:
    found = problem(post("/v1/features/lookup", asked), 422)
    assert pointer in [fault.pointer for fault in found.errors]
    assert said in " ".join(fault.message for fault in found.errors)


def test_a_million_keys_are_refused_with_the_limit(post: Post) -> None:
    body = b'{"views":["goods"],"keys":[' + b'{"item_id":1},' * 999_999 + b'{"item_id":1}]}'
    found = problem(post("/v1/features/lookup", body), 413)
    assert (found.errors[0].limit, found.errors[0].actual) == (10_000, 1_000_000)
    assert found.errors[0].pointer == "/keys"


def test_an_unknown_view_offers_the_nearest(post: Post) -> None:
    for path, asked in (
        ("/v1/features/lookup", {"views": ["good"], "keys": [{"item_id": "1"}]}),
        ("/v1/features/good/push", {"rows": [good()]}),
        ("/v1/features/good/nearest", {"vector": [1, 2]}),
    ):
        assert problem(post(path, asked), 404).detail.endswith("Did you mean 'goods'?")


@pytest.mark.parametrize(
    ("view", "asked", "status", "said"),
    [
        ("goods", {"vector": [1, 2]}, 422, "no column of vectors"),
        ("places", {"vector": [1, 2]}, 404, "holds no vectors yet"),
        ("places", {}, 422, "neither a vector nor a key"),
        ("places", {"vector": [1, 2], "key": {"item_id": "1"}}, 422, "both a vector and a key"),
        ("places", {"key": {"item_id": "1"}}, 422, "holds no vector of item_id='1'."),
        ("places", {"vector": [1, "x"]}, 422, "must be a number"),
        ("places", {"vector": [1, 2], "k": 0}, 422, "k is 0"),
        ("places", {"vector": [1, 2], "k": 1_001}, 422, "k is 1001"),
    ],
)
def test_neighbours_of_nothing_are_refused(
    post: Post, view: str, asked: Any, status: int, said: str
) -> None:
    assert said in problem(post(f"/v1/features/{view}/nearest", asked), status).detail


def test_a_vector_of_another_size_is_refused(post: Post) -> None:
    post("/v1/features/places/push", {"rows": [{"item_id": "a", "vector": [1, 0]}]})
    found = problem(post("/v1/features/places/nearest", {"vector": [1, 2, 3]}), 422)
    assert "1 x 2" in found.detail or "n x 2" in found.detail


class Gone(SqliteKeeper):
    """An online store that answers nobody."""

    def read(self, wants: Sequence[Want]) -> list[Got]:
        """Nothing comes back."""
        raise Unavailable("It is away.")


def test_what_cannot_be_read_now_is_marked_and_not_guessed(layer: Layer, tmp_path: Path) -> None:
    away = replace(layer, online=Online(Gone(tmp_path / "gone.db")))
    door = build(tmp_path, dict, lambda: away)
    asked = json.dumps({"views": ["goods"], "keys": [{"item_id": "42"}]}).encode()
    answer = ask(door, "POST", "/v1/features/lookup", asked)
    assert answer.headers["X-Lepton-Degraded"] == "features"
    (result,) = Lookup.model_validate_json(answer.content).results
    assert (result["goods"].status, result["goods"].event_time) == ("degraded", None)
    assert result["goods"].values["title"] is None
    feast = json.dumps({"features": ["goods:title"], "entities": {"item_id": ["42"]}}).encode()
    told = problem(ask(door, "POST", "/get-online-features", feast), 503)
    assert told.retry_after_s


@pytest.mark.slow
def test_a_view_whose_online_side_is_behind_is_marked(
    layer: Layer, tmp_path: Path, post: Post
) -> None:
    more = 10_001  # fewer are brought by who finds them missing
    ids, vectors = objects(f"{number}" for number in range(more)), np.ones((more, 2))
    layer.push("places", {"item_id": objects(["a"]), "vector": vectors[:1]})
    layer.store.write(places, {"item_id": ids, "vector": vectors})
    time.sleep(GRACE_S + 0.05)
    fresh = replace(layer, pins={})  # which has looked at nothing yet
    door = build(tmp_path, dict, lambda: fresh)
    asked = json.dumps({"views": ["places", "goods"], "keys": [{"item_id": "7"}]}).encode()
    answer = ask(door, "POST", "/v1/features/lookup", asked)
    assert answer.headers["X-Lepton-Behind"] == "places"
    (result,) = Lookup.model_validate_json(answer.content).results
    assert (result["places"].status, result["places"].behind) == ("missing", True)
    assert not result["goods"].behind
    views = ViewList.model_validate_json(ask(door, "GET", "/v1/features").content).views
    assert {view.name: view.behind for view in views if view.behind} == {"places": more}


def test_a_push_that_the_online_store_missed_is_marked(layer: Layer, tmp_path: Path) -> None:
    away = replace(layer, online=Online(Gone(tmp_path / "gone.db")))
    body = json.dumps({"rows": [good()]}).encode()
    answer = ask(build(tmp_path, dict, lambda: away), "POST", "/v1/features/goods/push", body)
    assert (answer.status_code, answer.json()["rows"], answer.json()["degraded"]) == (200, 1, True)


def test_a_body_over_the_limit_is_refused(post: Post) -> None:
    found = problem(post("/v1/features/goods/push", b" " * (16 * 2**20 + 1)), 413)
    assert found.errors[0].limit == 16 * 2**20


def test_another_content_type_is_refused(layer: Layer, tmp_path: Path) -> None:
    door = build(tmp_path, dict, lambda: layer)
    answer = ask(door, "POST", "/v1/features/lookup", b"{}", content_type="text/csv")
    assert "Send application/json" in problem(answer, 415).detail
    packed = ask(door, "POST", "/v1/features/lookup", b"{}", content_encoding="br")
    assert "'br' is not read here" in problem(packed, 415).detail


def test_a_body_may_be_gzip(layer: Layer, tmp_path: Path) -> None:
    door = build(tmp_path, dict, lambda: layer)
    body = gzip.compress(json.dumps({"rows": [good()]}).encode())
    answer = ask(door, "POST", "/v1/features/goods/push", body, content_encoding="gzip")
    assert (answer.status_code, answer.json()["rows"]) == (200, 1)
