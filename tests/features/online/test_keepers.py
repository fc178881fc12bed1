"""Whatever keeps the rows: who declares a shelf second, or was overtaken, spoils nothing of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import redis

from cluster.base.batch import objects
from cluster.base.errors import Conflict
from cluster.features.offline.snapshot import Snapshot
from cluster.features.offline.store import Store
from cluster.features.online.keeper import (
    COUNT_BYTES,
    NAME_BYTES,
    Keeper,
    Merge,
    Put,
    Value,
    Want,
    part_key,
)
from cluster.features.online.lookup import Online
from cluster.features.online.redis_keeper import RedisKeeper
from cluster.features.online.sqlite_keeper import SqliteKeeper
from tests.features.offline.shelf import batch, shelf
from tests.features.online.redis_server import Server, redis_server

ROW = b"\0" * 16 + b"row"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    if request.param == "sqlite":
        with closing(SqliteKeeper(tmp_path / "online.db")) as kept:
            yield kept
        return
    url = request.getfixturevalue("server").url
    with redis.Redis.from_url(url) as client:
        client.flushall()
    with closing(RedisKeeper(url, wait_s=2.0)) as held:
        yield held


def test_the_same_declaration_again_wipes_nothing(keeper: Keeper) -> None:
    keeper.declare("s", "one")
    keeper.change([Put("s", "one", ["k"], [ROW], ["file"])])
    keeper.declare("s", "one")
    assert keeper.read([Want("s", ["k"])])[0].values == [ROW]
    assert keeper.files("s") == {"file"}
    keeper.declare("s", "two")
    assert keeper.declared(["s"]) == ["two"]
    assert keeper.read([Want("s", ["k"])])[0].values == [None]
    assert keeper.files("s") == set()


def test_what_was_brought_to_some_shelves_is_read_at_once(keeper: Keeper) -> None:
    assert keeper.files_now(["s", "t"]) == [set(), set()]
    for name in ("s", "t"):
        keeper.declare(name, "one")
        keeper.change([Put(name, "one", [], [], [f"file of {name}"])])
    found = [{"file of t"}, {"file of s"}, set()]
    assert keeper.files_now(["t", "s", "none"]) == found


def test_who_was_overtaken_notes_no_file(keeper: Keeper) -> None:
    keeper.declare("s", "two")
    with pytest.raises(Conflict, match="declared anew"):
        keeper.change([Put("s", "one", [], [], ["file"])])
    assert keeper.files("s") == set()


def test_more_files_than_a_script_takes_are_noted(keeper: Keeper) -> None:
    names = {f"file {number}" for number in range(9_000)}
    keeper.declare("s", "one")
    keeper.change([Put("s", "one", [], [], sorted(names))])
    assert keeper.files("s") == names


def test_what_is_forgotten_is_noted_no_more_and_its_rows_stay(keeper: Keeper) -> None:
    keeper.declare("s", "one")
    names = [f"file {number}" for number in range(5_000)]
    keeper.change([Put("s", "one", ["k"], [ROW], names)])
    keeper.forget("s", names[1:])
    keeper.forget("none", names)
    assert keeper.files("s") == {"file 0"}
    assert keeper.read([Want("s", ["k"])])[0].values == [ROW]


class InTwo:
    """Writes each value as the name of one part, and the key in that part."""

    def touched(self, keys: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
        """None of those that are there."""
        return []

    def merged(
        self, keys: Sequence[str], values: Sequence[bytes | None], parts: Mapping[bytes, bytes]
    ) -> list[Value]:
        """All of it anew."""
        name = b"\1" * NAME_BYTES
        whole = (1).to_bytes(COUNT_BYTES, "little") + name
        return [Value(whole, {part_key(key, name): key.encode()}) for key in keys]


def test_more_keys_than_a_script_takes_are_read_with_their_parts(keeper: Keeper) -> None:
    keeper.declare("s", "one")
    keys = [f"key {number}" for number in range(4_500)]
    keeper.change([Merge("s", "one", keys[1:], InTwo())])
    parted, other = keeper.read([Want("s", keys, parted=True), Want("s", keys)])
    assert parted.values == other.values
    assert [place for place, value in enumerate(parted.values) if value is None] == [0]
    assert parted.parts == {n: [key.encode()] for n, key in enumerate(keys) if n}


def test_a_row_that_comes_while_a_view_is_first_brought_is_not_lost(
    keeper: Keeper, tmp_path: Path
) -> None:
    store, online = Store(tmp_path / "store"), Online(keeper)
    store.append(shelf, batch({("a", 1): ("x", 1.0)}))

    def head() -> Snapshot:
        store.append(shelf, batch({("b", 2): ("late", 2.0)}))  # stored, and not yet brought
        online.write(shelf, batch({("c", 3): ("pushed", 3.0)}))  # the view is declared by now
        return store.head(shelf)

    online.materialize(shelf, head)
    found = online.lookup([shelf], {"id": objects(["a", "b", "c"])})
    assert found["word"].tolist() == ["x", "late", "pushed"]
