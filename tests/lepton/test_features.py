"""The feature layer through both clients and the command: what is sent, and what is made of it."""

import asyncio
import base64
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from lepton import AsyncClient, BadType, BadValue, Client, InvalidInput, Looked, NotFound
from lepton.cli import Shell, main
from lepton.errors import UnexpectedAnswer
from lepton.wire import ViewInfo
from tests.lepton.toy import problem

VIEW = {
    "name": "items",
    "kind": "source",
    "key": ["item_id"],
    "columns": {"title": "string"},
    "version": "0a1b2c3d",
    "rows": 3,
    "newest": "2026-01-02T03:04:05Z",
    "online": True,
    "a_newer_server": "adds this",
}


@dataclass
class Layer:
    """Answers with what it was asked.

    Attributes:
        answers: given to the next requests, before it begins to echo.
        asked: every request, in order.
    """

    answers: list[httpx.Response] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        sent = json.loads(request.content) if request.content else {}
        return httpx.Response(200, json=self._answer(request.url.path, sent))

    def client(self) -> Client:
        """A client of this server."""
        return Client("http://toy", transport=httpx.MockTransport(self), retries=0)

    def bodies(self) -> list[Any]:
        """What was sent."""
        return [json.loads(request.content) for request in self.asked if request.content]

    def _answer(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        match path.rpartition("/")[2]:
            case "features":
                return {"views": [VIEW]}
            case "lookup":
                return {"results": [_held(sent["views"], key) for key in sent["keys"]]}
            case "push":
                return {"rows": len(sent["rows"])}
            case "items":
                return FORGOTTEN
        score = {"key": {"item_id": "7"}, "score": 0.5}
        return {"neighbours": [score] * sent["k"]}


def _held(views: list[str], key: dict[str, Any]) -> dict[str, Any]:
    held = {"values": key, "status": "present", "event_time": "2026-01-02T03:04:05Z"}
    return dict.fromkeys(views, held)


def test_a_lookup_asks_for_all_views_of_all_keys_at_once() -> None:
    layer = Layer()
    with layer.client() as client:
        found = client.features.lookup(["items", "users"], [{"item_id": "1"}, {"item_id": 2}])
    assert [request.url.path for request in layer.asked] == ["/v1/features/lookup"]
    assert layer.bodies() == [
        {"views": ["items", "users"], "keys": [{"item_id": "1"}, {"item_id": 2}]}
    ]
    assert [result["items"].values for result in found] == [{"item_id": "1"}, {"item_id": 2}]
    assert isinstance(found[0]["users"], Looked)
    assert found[0]["users"].event_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


FORGOTTEN = {
    "view": "items", "key": {"item_id": "1"}, "rows": {"items": 2}, "online": 1, "logged": 3,
    "versions": [{"task": "nlp.classify", "version": 4, "aliases": ["production"]}],
}  # fmt: skip


def test_a_key_is_forgotten_by_its_columns() -> None:
    layer = Layer(answers=[httpx.Response(200, json=FORGOTTEN)])
    done = layer.client().features.forget("items", {"item_id": 1, "shop": "a&b"})
    (request,) = layer.asked
    assert (request.method, request.url.path) == ("DELETE", "/v1/features/items")
    assert dict(request.url.params) == {"item_id": "1", "shop": "a&b"}
    assert (done.rows, done.versions[0].task) == ({"items": 2}, "nlp.classify")


def test_one_view_and_one_key_need_no_lists() -> None:
    layer = Layer()
    assert len(layer.client().features.lookup("items", {"item_id": np.int64(1)})) == 1
    assert layer.bodies() == [{"views": ["items"], "keys": [{"item_id": 1}]}]


def test_many_keys_go_in_several_requests_and_come_back_in_order() -> None:
    layer = Layer()
    keys = [{"item_id": str(row)} for row in range(2_500)]
    found = layer.client().features.lookup("items", keys)
    assert [result["items"].values for result in found] == keys
    assert sorted(len(body["keys"]) for body in layer.bodies()) == [500, 1_000, 1_000]
    assert len({request.headers["X-Request-ID"] for request in layer.asked}) == 1


def test_a_fault_counts_the_keys_as_they_were_given() -> None:
    fault = {"pointer": "/keys/3/item_id", "message": "item_id is empty."}
    layer = Layer(answers=[httpx.Response(200, json={"results": [{}] * 1_000})])
    layer.answers.append(problem(422, errors=[fault]))
    client = Client("http://toy", transport=httpx.MockTransport(layer), retries=0, concurrency=1)
    with pytest.raises(InvalidInput) as refused:
        client.features.lookup("items", [{"item_id": "1"}] * 1_500)
    assert refused.value.errors[0].pointer == "/keys/1003/item_id"


def test_results_that_are_too_few_are_a_fault_of_the_server() -> None:
    layer = Layer(answers=[httpx.Response(200, json={"results": []})])
    with pytest.raises(UnexpectedAnswer, match="0 results came for 1 keys"):
        layer.client().features.lookup("items", {"item_id": "1"})


def test_a_push_says_when_so_that_the_same_again_is_the_same() -> None:
    layer = Layer(answers=[httpx.Response(503)])
    client = Client("http://toy", transport=httpx.MockTransport(layer))
    assert client.features.push("items", [{"item_id": "1"}, {"item_id": "1"}]) == 2
    first, again = layer.bodies()
    assert first == again
    moment, next_one = (datetime.fromisoformat(row["event_time"]) for row in first["rows"])
    assert abs(moment - datetime.now(UTC)) < timedelta(minutes=1)
    assert next_one - moment == timedelta(microseconds=1)  # else they would be one row


def test_rows_of_which_one_says_when_go_as_they_are() -> None:
    layer = Layer()
    own = {"item_id": "2", "event_time": datetime(2026, 1, 2, tzinfo=UTC)}
    layer.client().features.push("items", [own, {"item_id": "1"}])
    kept, bare = layer.bodies()[0]["rows"]
    assert kept["event_time"] == "2026-01-02T00:00:00+00:00"
    assert bare == {"item_id": "1"}


def test_a_pushed_picture_becomes_base64_and_a_vector_a_list() -> None:
    layer = Layer()
    row = {"item_id": "1", "image": b"abc", "vector": np.array([0.5, 1.0], dtype=np.float32)}
    assert layer.client().features.push("items", row) == 1
    sent = layer.bodies()[0]["rows"][0]
    assert sent["image"] == base64.b64encode(b"abc").decode()
    assert sent["vector"] == [0.5, 1.0]


def test_the_nearest_are_asked_for_by_vector_or_by_key() -> None:
    layer = Layer()
    client = layer.client()
    found = client.features.nearest("places", np.array([1.0, 0.0]), k=2)
    assert [one.key for one in found] == [{"item_id": "7"}] * 2
    client.features.nearest("places", key={"item_id": 42})
    assert layer.bodies() == [
        {"vector": [1.0, 0.0], "k": 2},
        {"key": {"item_id": 42}, "k": 10},
    ]
    assert {request.url.path for request in layer.asked} == {"/v1/features/places/nearest"}


def test_what_makes_no_sense_is_refused_before_it_is_sent() -> None:
    layer = Layer()
    features = layer.client().features
    with pytest.raises(BadValue, match="either a vector or a key"):
        features.nearest("places")
    with pytest.raises(BadValue, match="price is nan, not a finite number"):
        features.push("items", {"item_id": "1", "price": float("nan")})
    with pytest.raises(BadType, match="keys is of type int"):
        features.lookup("items", 3)  # type: ignore[arg-type]
    with pytest.raises(BadType, match="An input is of type str"):
        features.push("items", ["1"])  # type: ignore[list-item]
    with pytest.raises(BadValue, match="name of the view is empty"):
        features.push("", {"item_id": "1"})
    assert layer.asked == []


def test_a_name_with_a_slash_stays_one_part_of_the_path() -> None:
    layer = Layer(answers=[problem(404, "There is no view 'a/b'.")])
    with pytest.raises(NotFound, match="There is no view"):
        layer.client().features.push("a/b", {"item_id": "1"})
    assert layer.asked[0].url.raw_path == b"/v1/features/a%2Fb/push"


def test_views_are_listed_whatever_a_newer_server_adds() -> None:
    (view,) = Layer().client().features.list()
    assert isinstance(view, ViewInfo)
    assert (view.name, view.rows, view.online) == ("items", 3, True)


def test_a_domain_of_any_other_name_is_a_domain_still() -> None:
    client = Layer().client()
    assert repr(client.vision) == "<domain 'vision' of a Lepton client>"
    assert "features" not in repr(client.nlp)


def test_the_asynchronous_client_asks_the_same() -> None:
    layer, other = Layer(), Layer()

    async def ask() -> list[Any]:
        async with AsyncClient("http://toy", transport=httpx.MockTransport(layer)) as client:
            return [
                await client.features.list(),
                await client.features.lookup("items", {"item_id": "1"}),
                await client.features.push("items", {"item_id": "1", "event_time": 5}),
                await client.features.nearest("items", [1.0]),
            ]

    found = asyncio.run(ask())
    features = other.client().features
    assert found == [
        features.list(),
        features.lookup("items", {"item_id": "1"}),
        features.push("items", {"item_id": "1", "event_time": 5}),
        features.nearest("items", [1.0]),
    ]
    assert layer.bodies() == other.bodies()


def shell(*argv: str) -> tuple[int, list[dict[str, Any]], Layer]:
    """The exit code of a command, what it printed to a pipe, and what it asked."""
    layer, out = Layer(), io.StringIO()

    def connect(url: str | None = None, *, timeout_s: float = 30.0) -> Client:
        return layer.client()

    code = main(argv, Shell(connect, Console(file=out)))
    return code, [json.loads(line) for line in out.getvalue().splitlines()], layer


def test_a_shell_lists_looks_up_pushes_and_finds_the_nearest() -> None:
    code, (view,), _ = shell("features", "list")
    assert (code, view["name"]) == (0, "items")
    code, lines, layer = shell("features", "lookup", "items", "users", "--key", "item_id=4=2")
    assert [line["view"] for line in lines] == ["items", "users"]
    assert layer.bodies() == [{"views": ["items", "users"], "keys": [{"item_id": "4=2"}]}]
    row = '{"item_id": "1", "event_time": 5}'
    code, lines, layer = shell("features", "push", "items", "--json", row)
    assert (lines, layer.bodies()) == (
        [{"view": "items", "rows": 1}],
        [{"rows": [json.loads(row)]}],
    )
    _, lines, layer = shell("features", "nearest", "places", "--vector", "[1, 2]", "--k", "1")
    assert lines == [{"item_id": "7", "score": 0.5}]
    _, _, layer = shell("features", "nearest", "places", "--key", "item_id=42")
    assert layer.bodies() == [{"key": {"item_id": "42"}, "k": 10}]


def test_a_shell_forgets_a_key() -> None:
    _, (line,), layer = shell("features", "forget", "items", "--key", "item_id=1")
    assert str(layer.asked[0].url).endswith("/v1/features/items?item_id=1")
    assert line == {**FORGOTTEN}


def test_a_shell_reads_keys_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "keys.jsonl"
    path.write_text('{"item_id": "1"}\n\n{"item_id": "2"}\n')
    _, lines, layer = shell("features", "lookup", "items", "--file", str(path))
    assert [line["key"] for line in lines] == [{"item_id": "1"}, {"item_id": "2"}]
    assert len(layer.asked) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("lookup", "items"),
        ("lookup", "items", "--key", "item_id"),
        ("push", "items"),
        ("push", "items", "--json", "{"),
        ("forget", "items"),
        ("nearest", "places"),
        ("nearest", "places", "--vector", "[1"),
        ("nearest", "places", "--vector", "1"),
    ],
)
def test_a_shell_refuses_what_it_does_not_understand(words: tuple[str, ...]) -> None:
    code, lines, layer = shell("features", *words)
    assert (code, lines, layer.asked) == (2, [], [])
