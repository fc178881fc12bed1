"""The same holds in Redis; while it is away answers come in time, and afterwards they are right."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from cluster.base.batch import objects
from cluster.base.errors import Conflict, NotFound, Unavailable
from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.breaker import Breaker
from cluster.features.online.lookup import Online
from cluster.features.online.redis_keeper import RedisKeeper
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.local import catalog
from tests.features.offline.shelf import batch, shelf
from tests.features.online.crowd_laws import CrowdLaws
from tests.features.online.online_laws import LATE, always, graph, visit, visits
from tests.features.online.redis_server import Server, redis_server

ASKED = {"id": objects(["a", "b"])}
PATIENT_S = 2.0  # the tests share two cores with others


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestRedis(CrowdLaws):
    server: Server

    @pytest.fixture(autouse=True)
    def _served(self, server: Server) -> None:
        type(self).server = server

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Online]:
        with redis.Redis.from_url(self.server.url) as client:
            client.flushall()
        found = Online(RedisKeeper(self.server.url, wait_s=PATIENT_S))
        yield found
        found.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A Redis that may be killed."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def found(own: Server) -> Iterator[Online]:
    with closing(Online(RedisKeeper(own.url))) as found:
        yield found


def stored(folder: Path) -> Store:
    store = Store(folder / "store")
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    return store


@pytest.mark.slow
def test_a_frozen_redis_is_not_waited_for(own: Server, found: Online, tmp_path: Path) -> None:
    store = stored(tmp_path)
    found.materialize(shelf, store.head(shelf))
    own.freeze()
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"Redis does not answer: .*LEPTON_REDIS_URL"):
            found.lookup([shelf], ASKED)
    assert time.monotonic() - began < 1
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(Unavailable, match=r"failed 3 times in a row and is left alone") as told:
            found.lookup([shelf], ASKED)
    assert time.monotonic() - began < 0.5
    assert 0 < (told.value.retry_after_s or 0) <= 1
    degraded = found.lookup_anyway([shelf], ASKED)
    assert degraded["shelf_status"].tolist() == ["degraded", "degraded"]
    assert degraded["shelf_missing"].tolist() == [True, True]
    assert degraded["word"].tolist() == ["", ""]
    own.thaw()
    assert answered(found) == ["x", ""]


def answered(found: Online, within_s: float = 5.0) -> list[str]:
    """The words, as soon as Redis is asked again."""
    until = time.monotonic() + within_s
    while True:
        try:
            return list(found.lookup([shelf], ASKED)["word"])
        except Unavailable:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_what_was_brought_to_a_frozen_redis_is_not_waited_for(own: Server) -> None:
    with closing(RedisKeeper(own.url)) as keeper:
        keeper.declare("s", "one")
        own.freeze()
        began = time.monotonic()
        for said in ("does not answer",) * 3 + ("left alone",) * 20:
            with pytest.raises(Unavailable, match=said):
                keeper.files_now(["s"])
        assert time.monotonic() - began < 1
        own.thaw()


def test_what_was_pushed_while_redis_was_away_is_caught_up(
    own: Server, found: Online, tmp_path: Path
) -> None:
    store = stored(tmp_path)
    found.materialize(shelf, store.head(shelf), graph)

    def push(key: str, day: int, word: str) -> None:
        rows = batch({(key, day): (word, 1.0)})
        created = store.append(shelf, rows).created
        found.keep_up(shelf, {**rows, "created": created}, lambda: store.head(shelf), graph)

    own.freeze()
    push("a", 2, "missed")
    assert found.behind == {"shelf"}
    own.thaw()
    answered(found)
    push("b", 3, "next")
    assert found.behind == set()
    assert answered(found) == ["missed", "next"]


@pytest.mark.slow
def test_what_was_missed_is_marked_and_comes_without_another_push(
    own: Server, tmp_path: Path
) -> None:
    models = Models(Registry(tmp_path), catalog.find)
    layer = Layer(Graph([shelf]), Store(tmp_path / "store"), Online(RedisKeeper(own.url)), models)

    def push(word: str) -> None:
        row = {"id": objects(["a"]), "word": objects([word]), "number": np.ones(1)}
        layer.push("shelf", row)

    push("first")
    assert not layer.missed("shelf")
    own.freeze()
    push("missed")
    assert layer.missed("shelf")
    own.thaw()
    until = time.monotonic() + 10
    while True:
        behind = layer.behind(["shelf"])
        try:
            word = layer.lookup(["shelf"], {"id": objects(["a"])})["word"][0]
        except Unavailable:
            word = ""
        if word == "missed":
            break
        assert not word or behind, "an old value, and nothing says so"
        assert time.monotonic() < until
        time.sleep(0.05)
    while layer.missed("shelf"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert layer.behind(["shelf"]) == {}


def test_a_redis_that_comes_back_empty_is_filled_by_materialize(
    own: Server, found: Online, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.write(visit, visits([("a", "x", day, 1.0, "", 1) for day in range(3)]))
    asked = {"who": objects(["a"]), "where": objects(["x"])}
    found.materialize(visit, store.head(visit), graph)
    before = found.lookup([visit, always], asked, at=LATE)
    own.kill()
    with pytest.raises(Unavailable, match="Redis does not answer"):
        found.lookup([visit], asked)
    own.start()
    with pytest.raises(NotFound, match=r"'visit' is not online.*materialize visit"):
        found.lookup([visit], asked)
    assert found.materialize(visit, store.head(visit), graph) == 3
    after = found.lookup([visit, always], asked, at=LATE)
    assert {name: column.tolist() for name, column in after.items()} == {
        name: column.tolist() for name, column in before.items()
    }


def test_a_redis_that_would_drop_rows_is_refused_until_it_does_not(
    own: Server, found: Online, tmp_path: Path
) -> None:
    store = stored(tmp_path)
    with redis.Redis.from_url(own.url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        for refused in (found.lookup, found.lookup_anyway):
            with pytest.raises(Conflict, match=r"drop rows when it is full: .* 'allkeys-lru'"):
                refused([shelf], ASKED)
        with pytest.raises(Conflict, match=r"Set that to noeviction\."):
            found.materialize(shelf, store.head(shelf))
        client.config_set("maxmemory-policy", "noeviction")
    found.materialize(shelf, store.head(shelf))
    assert answered(found) == ["x", ""]


@pytest.mark.parametrize(
    ("memory", "policy"), [("0", "allkeys-lru"), ("100mb", "volatile-lru"), ("100mb", "noeviction")]
)
def test_a_redis_that_drops_none_of_our_rows_is_taken(
    own: Server, found: Online, tmp_path: Path, memory: str, policy: str
) -> None:
    with redis.Redis.from_url(own.url) as client:
        client.config_set("maxmemory", memory)
        client.config_set("maxmemory-policy", policy)
    found.materialize(shelf, stored(tmp_path).head(shelf))
    assert answered(found) == ["x", ""]


def test_a_redis_that_may_not_be_asked_how_it_is_set_is_taken(own: Server, tmp_path: Path) -> None:
    with redis.Redis.from_url(own.url) as client:
        client.acl_setuser(
            "guest", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"]
        )
    place = own.url.replace("//", "//guest:any@")
    with closing(Online(RedisKeeper(place))) as found:
        found.materialize(shelf, stored(tmp_path).head(shelf))
        assert answered(found) == ["x", ""]


def test_redis_that_was_never_there_is_told(tmp_path: Path) -> None:
    found = Online(RedisKeeper("redis://127.0.0.1:9/0"))
    with pytest.raises(Unavailable, match=r"Redis does not answer: .*LEPTON_REDIS_URL"):
        found.lookup([shelf], ASKED)
    with pytest.raises(Unavailable, match="Redis does not answer"):
        found.materialize(shelf, stored(tmp_path).head(shelf))


def test_a_breaker_opens_after_failures_and_lets_one_call_through_after_a_rest() -> None:
    now = [0.0]
    breaker = Breaker("It", failures=2, rest_s=1.0, clock=lambda: now[0])

    def fail() -> None:
        with breaker.call():
            raise Unavailable("It is away.")

    for _ in range(2):
        with pytest.raises(Unavailable, match="away"):
            fail()
    assert breaker.open
    with pytest.raises(Unavailable, match="left alone"):
        fail()
    now[0] = 1.5
    with pytest.raises(Unavailable, match="away"):
        fail()
    with pytest.raises(Unavailable, match="left alone"), breaker.call():
        pass
    now[0] = 3.0
    with breaker.call():
        pass
    assert not breaker.open
