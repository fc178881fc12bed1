"""Who is forgotten is known nowhere any more, and all others as if they had been alone."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.batch import objects, take
from cluster.base.errors import InvalidInput
from cluster.features.erasure import forget
from cluster.features.monitoring import requests
from cluster.features.online.lookup import Online
from cluster.features.online.redis_keeper import RedisKeeper
from tests.features.killed_forget import (
    LOG,
    ME,
    NOW,
    OTHERS,
    drawn,
    events,
    fill,
    known,
    layer,
    traces,
    vectors,
)
from tests.features.online.redis_server import redis_server


@settings(max_examples=15)
@given(st.integers(0, 1_500), st.integers(0, 2**16))
@pytest.mark.slow
def test_look_ups_are_as_if_the_forgotten_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int
) -> None:
    home = tmp_path_factory.mktemp("forget")
    rows = drawn(count, np.random.default_rng(seed))
    mine = rows["user_id"] == ME
    made = fill(home / "one", rows)
    done = forget(
        made, "events", {"user_id": ME}, partial(requests.erase, home / "one" / "requests" / LOG)
    )
    never = fill(home / "never", take(rows, ~mine))
    pairs = zip(rows["item_id"][mine], rows["event_time"][mine].tolist(), strict=True)
    assert done.rows["events"] == len(set(pairs))
    assert done.logged == mine.sum()
    assert known(made) == known(never)
    assert traces(home / "one") == []
    made.materialize(["events"])
    made.push("events", {**drawn(1, np.random.default_rng(0)), "user_id": objects(["u9"])})
    assert traces(home / "one") == []


def test_redis_forgets_alike(tmp_path: Path) -> None:
    rows = drawn(1_500, np.random.default_rng(3))
    with redis_server(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        online = Online(RedisKeeper(server.url, wait_s=5))
        made = fill(tmp_path / "one", rows, online)
        assert forget(made, "events", {"user_id": ME}).online > 0
        found = known(made)
        assert not any(ME.encode() in key for key in client.hkeys("lepton:3:rows:events/user_id"))
        client.flushall()
        never = fill(tmp_path / "never", take(rows, rows["user_id"] != ME), online)
        assert found == known(never)
        online.close()


def test_the_same_again_finds_nothing_more(tmp_path: Path) -> None:
    made = fill(tmp_path, drawn(60, np.random.default_rng(0)))
    logs = partial(requests.erase, tmp_path / "requests" / LOG)
    done = forget(made, "events", {"user_id": ME}, logs)
    assert list(done.rows) == ["events", "event_vector_v1"]
    assert min(done.rows.values()) > 0
    assert done.online > 0
    assert done.since is not None
    again = forget(made, "events", {"user_id": ME}, logs)
    assert (again.rows, again.online, again.logged, again.since) == (
        {"events": 0, "event_vector_v1": 0}, 0, 0, None,
    )  # fmt: skip


def test_a_window_of_the_last_events_reaches_further_back(tmp_path: Path) -> None:
    rows = {
        "user_id": objects(["u0", "u1", ME, ME]),
        "item_id": objects(["i0"] * 4),
        "value": np.ones(4),
        "note": objects(["x"] * 4),
        "event_time": NOW - np.arange(8, 4, -1).astype("m8[D]"),
    }
    made = fill(tmp_path, rows)
    asked = {"item_id": objects(["i0"])}
    assert made.lookup(["by_item"], asked)["last"].tolist() == [[ME, ME]]
    forget(made, "events", {"user_id": ME})
    assert made.lookup(["by_item"], asked)["last"].tolist() == [["u1", "u0"]]


def test_vectors_that_another_process_has_in_memory_are_not_found_any_more(tmp_path: Path) -> None:
    made = fill(tmp_path, drawn(60, np.random.default_rng(0)))
    other, view = layer(tmp_path), vectors.at(1).rows_of
    query = np.eye(3, dtype=np.float32)
    (before, *_), _ = other.neighbours.nearest(view, query, 60)
    assert any(user == ME for user, _ in before)
    forget(made, "events", {"user_id": ME})
    (after, *_), _ = other.neighbours.nearest(view, query, 60)
    assert len(after) == sum(user != ME for user, _ in before)


def test_who_comes_back_is_somebody_new(tmp_path: Path) -> None:
    made = fill(tmp_path, drawn(60, np.random.default_rng(0)))
    forget(made, "events", {"user_id": ME})
    back = {"user_id": objects([ME]), "item_id": objects(["i1"]), "note": objects(["new"])}
    made.push("events", {**back, "value": np.ones(1)})
    found = made.lookup(["by_user"], {"user_id": objects([ME])})
    assert found["items"].tolist() == [["i1"]]


def test_the_whole_key_erases_one_pair_alone(tmp_path: Path) -> None:
    rows = drawn(60, np.random.default_rng(0))
    made = fill(tmp_path, rows)
    forget(made, "events", {"user_id": ME, "item_id": "i0"})
    left = made.store.head(events).read(events)
    mine = left["item_id"][left["user_id"] == ME]
    assert set(mine.tolist()) == {"i1"}
    found = made.lookup(
        ["events"], {"user_id": objects([ME] * 2), "item_id": objects(["i0", "i1"])}
    )
    assert found["events_missing"].tolist() == [True, False]


def test_a_line_of_the_request_log_becomes_blank_while_a_replica_goes_on(tmp_path: Path) -> None:
    log = requests.RequestLog(tmp_path, share=1.0, limit_bytes=2**20)
    log.keep(lambda: [{"keys": {"user_id": user}} for user in (ME, *OTHERS)], 4)
    while len(list(requests.read(tmp_path))) < 4:
        pass
    assert requests.erase(tmp_path, {"user_id": ME}) == 1
    log.keep(lambda: [{"at": 1}], 1)
    log.close()
    lines = [line.get("keys", {}).get("user_id") for line in requests.read(tmp_path)]
    assert lines == [*OTHERS, None]


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("events", {}, "Which rows of 'events' to forget is not said. Name their key, or a part"),
        ("events", {"user": "u1"}, "'user' is no part of the key of view 'events'. Did you mean"),
        ("events", {"user_id": ""}, "'user_id' is empty"),
        ("by_user", {"user_id": "u1"}, "'by_user' is made from events, so nothing is pushed to it"),
    ],
)
def test_what_is_no_key_is_refused(
    tmp_path: Path, name: str, key: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        forget(layer(tmp_path), name, key)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fsync", "unlink", "pwrite64", "link", "ftruncate"])
def test_killed_at_any_system_call_it_is_completed_by_the_same_again(
    tmp_path: Path, call: str
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("Faults are injected by strace, which is not installed: apt install strace")
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.killed_forget", tmp_path, call],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 2:
        pytest.skip("Faults are injected by strace, which may not trace processes here.")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines
    assert all(line == {"alike": True, "traces": []} for line in lines)
