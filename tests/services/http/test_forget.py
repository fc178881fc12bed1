"""A row is erased over HTTP, and the models that had learnt from it are named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cluster.features.layer import Layer
from cluster.registry.versions import Registry
from lepton.wire import Forgotten
from services.http import door
from services.local.forgetting import forget
from tests.services.goods import Post, good, looked_up
from tests.support import ask, filler, manifest, problem


@pytest.fixture
def delete(layer: Layer, tmp_path: Path) -> "Post":
    """Sends a DELETE to the door."""
    app = door.build(tmp_path, dict, lambda: layer)

    def send(path: str) -> httpx.Response:
        return ask(app, "DELETE", path)

    return send


def test_a_row_is_gone_after_a_delete(post: Post, delete: Post) -> None:
    post("/v1/features/goods/push", {"rows": [good(), good("43")]})
    answer = delete("/v1/features/goods?item_id=42")
    assert answer.status_code == 200
    done = Forgotten.model_validate_json(answer.content)
    assert (done.view, done.key, done.rows) == ("goods", {"item_id": "42"}, {"goods": 1})
    assert (done.online, done.logged, done.versions) == (1, 0, [])
    assert done.request_id == answer.headers["X-Request-ID"]
    found = looked_up(post, ["goods"], {"item_id": "42"}, {"item_id": "43"}).results
    assert [row["goods"].status for row in found] == ["missing", "present"]
    again = Forgotten.model_validate_json(delete("/v1/features/goods?item_id=42").content)
    assert (again.rows, again.online) == ({"goods": 0}, 0)


def test_a_key_of_any_letters_is_named_in_the_query(post: Post, delete: Post) -> None:
    post("/v1/features/goods/push", {"rows": [good("a&b=c ü")]})
    answer = delete("/v1/features/goods?item_id=a%26b%3Dc%20%C3%BC")
    assert Forgotten.model_validate_json(answer.content).rows == {"goods": 1}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/features/goods", 422, "Which rows of 'goods' to forget is not said."),
        ("/v1/features/goods?item=1", 422, "'item' is no part of the key of view 'goods'"),
        ("/v1/features/goods?item_id=1&item_id=2", 422, "The key names a column twice."),
        ("/v1/features/goodz?item_id=1", 404, "There is no view 'goodz'"),
        ("/v1/features/doubled?item_id=1", 422, "'doubled' is made from goods"),
    ],
)
def test_what_cannot_be_erased_is_told(delete: Post, path: str, status: int, words: str) -> None:
    assert words in problem(delete(path), status).detail


def test_versions_that_learnt_after_the_row_came_are_listed(
    layer: Layer, post: Post, tmp_path: Path
) -> None:
    registry, now = Registry(tmp_path), datetime.now(UTC)
    post("/v1/features/goods/push", {"rows": [good()]})
    read = {"goods": {"commit": 1, "rows": 1}}
    for number, (when, views) in enumerate(
        [(now - timedelta(days=1), read), (now + timedelta(days=1), read), (now, {"places": {}})]
    ):
        made = manifest("vision.classify", run=f"r{number}", created=when, views=views)
        registry.write("vision.classify", filler(made, {"weights": b"w"}))
    registry.point("production", "vision.classify", 2)
    done = forget(layer, tmp_path, "goods", {"item_id": "42"})
    (one,) = done.versions
    assert (one.task, one.version, one.aliases) == ("vision.classify", 2, ["production"])
