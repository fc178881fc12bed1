"""The feature layer at a running door: two processes, both clients, the command line."""

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest

import lepton
from cluster.base.batch import objects
from cluster.base.settings import settings
from cluster.engine.engine import Engine
from cluster.features.layer import Layer
from services.local import catalog
from tests.e2e.steps import LEPTON, MARKS, run

pytestmark = MARKS

ITEM = {"item_id": "shown", "title": "Azure plain lamp", "categories": ["lamp", "azure"]}


@pytest.fixture(scope="module")
def layer(shop: Engine) -> Layer:
    """The layer of this process; the door has another one of the same rows."""
    made = catalog.layer(settings())
    made.materialize(["items", "users", "interactions"])
    return made


@pytest.fixture(scope="module")
def client(shop: Engine, layer: Layer) -> Iterator[lepton.Client]:
    with lepton.Client(shop.url) as made:
        yield made


def test_the_door_lists_the_views_of_the_layer(client: lepton.Client, layer: Layer) -> None:
    found = {view.name: view for view in client.features.list()}
    assert found.keys() == {view.name for view in layer.graph.order}
    stored = layer.store.snapshot("items")
    assert (found["items"].rows, found["items"].online) == (stored.rows, True)
    assert found["user_activity"].needs == ["interactions"]


def test_what_one_process_pushes_the_other_looks_up(client: lepton.Client, layer: Layer) -> None:
    assert client.features.push("items", ITEM) == 1
    found = layer.lookup([layer.view("items")], {"item_id": objects(["shown"])})
    assert found["title"][0] == ITEM["title"]
    renamed = {**ITEM, "title": "New"}
    layer.push("items", {name: objects([value]) for name, value in renamed.items()})
    began = time.monotonic()
    (result,) = client.features.lookup("items", {"item_id": "shown"})
    assert result["items"].values["title"] == "New"
    assert time.monotonic() - began < 1


def test_a_pushed_event_is_in_the_windows_at_once(client: lepton.Client) -> None:
    def events() -> int:
        (result,) = client.features.lookup(["user_activity"], [{"user_id": "newcomer"}])
        count = result["user_activity"].values["events_28d"]
        return count if isinstance(count, int) else 0  # null until there is one

    before = events()
    client.features.push("interactions", {"user_id": "newcomer", "item_id": "p0001", "value": 1})
    assert events() == before + 1


def test_the_asynchronous_client_and_the_command_answer_alike(
    client: lepton.Client, shop: Engine
) -> None:
    client.features.push("items", ITEM)
    (plain,) = client.features.lookup(["items"], [{"item_id": "shown"}])

    async def ask() -> dict[str, lepton.Looked]:
        async with lepton.AsyncClient(shop.url) as asynchronous:
            (found,) = await asynchronous.features.lookup(["items"], [{"item_id": "shown"}])
            return found

    assert asyncio.run(ask()) == plain
    words = ["features", "lookup", "items", "--key", "item_id=shown", "--url", shop.url]
    done = run([*LEPTON, *words])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["values"] == plain["items"].values


def test_a_bad_push_is_told_with_the_row(client: lepton.Client) -> None:
    rows = [ITEM | {"event_time": f"2026-01-01T00:00:00{zone}"} for zone in ("Z", "")]
    with pytest.raises(lepton.InvalidInput, match="no time zone") as refused:
        client.features.push("items", rows)
    assert [fault.pointer for fault in refused.value.errors] == ["/rows/1"]
    with pytest.raises(lepton.NotFound, match="Did you mean 'items'"):
        client.features.push("itms", ITEM)


def test_the_id_of_a_request_comes_back_once(client: lepton.Client, shop: Engine) -> None:
    asked = {"views": ["items"], "keys": [{"item_id": "shown"}]}
    own = {"X-Request-ID": "mine-2"}
    answer = httpx.post(f"{shop.url}/v1/features/lookup", json=asked, headers=own, timeout=10)
    assert answer.headers.get_list("X-Request-ID") == ["mine-2"]
    assert answer.json()["request_id"] == "mine-2"
