"""Forget a user in processes whose n-th system call kills them, one call later each time.

    python -m tests.features.killed_forget HOMES CALL

Says per process, as a line of JSON, whether what is there after is as if the user had never been.
"""

import json
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cluster.base.batch import Arrays, Batch, objects, take
from cluster.features.derived.aggregates import Count, Distinct, Last, Sum
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import windows
from cluster.features.erasure import forget
from cluster.features.layer import Layer
from cluster.features.monitoring import requests
from cluster.features.monitoring.requests import RequestLog
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, Text, times
from cluster.features.schema.ragged import Vector
from cluster.features.schema.view import View
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from tests.features.offline.killed import faulted, in_a_child
from tests.toy import Side

ME, OTHERS, ITEMS = "person-to-forget", ("u0", "u1", "u2"), ("i0", "i1")
NOW = np.datetime64("2026-03-01", "us")


def drawn(n: int, rng: np.random.Generator) -> Batch:
    return {
        "user_id": objects(rng.choice([ME, *OTHERS], n).tolist()),
        "item_id": objects(rng.choice(ITEMS, n).tolist()),
        "value": rng.normal(size=n),
        "note": objects(["x"] * n),
        "event_time": NOW - rng.integers(1, 40, n).astype("m8[D]"),
    }


events = View("events", ("user_id", "item_id"), {"value": Number(), "note": Text()}, drawn)
by_user = windows(
    "by_user",
    over=events,
    key=("user_id",),
    columns={"events": Count(within=timedelta(days=9)), "items": Last("item_id", n=3)},
)
by_item = windows(
    "by_item",
    over=events,
    key=("item_id",),
    columns={
        "users": Distinct("user_id"),
        "value": Sum("value", within=timedelta(days=20)),
        "last": Last("user_id", n=2),
    },
)
vectors = model_view(
    "event_vector", "tests.toy@production", over=events, columns={"vector": Vector(3)},
    inputs={"x": "value"},
)  # fmt: skip
GRAPH = Graph([events, by_user, by_item, vectors])
LOG = "tests.toy"


def layer(home: Path, online: Online | None = None) -> Layer:
    """The views, with their rows below a folder."""
    store, online = Store(home, keep_s=0), online or Online(home / "online.db")
    return Layer(GRAPH, store, online, Models(Registry(home), lambda _: Side))


def fill(home: Path, rows: Batch, online: Online | None = None) -> Layer:
    """Pushes half of the rows, ingests and materializes the others, and logs a request of each."""
    made, half = layer(home, online), len(rows["value"]) // 2
    if half:
        made.push("events", take(rows, slice(0, half)))
    made.store.write(events, take(rows, slice(half, None)))
    made.materialize(["events"])
    kept = vectors.at(1).rows_of
    if len(rows["value"]):
        key = {name: rows[name] for name in ("user_id", "item_id", "event_time")}
        unit = np.eye(3, dtype=np.float32)[(1e6 * rows["value"]).astype(int) % 3]
        made.store.write(kept, {**key, "vector": unit})
    made.online.materialize(kept, made.store.head(kept))
    log = RequestLog(home / "requests" / LOG, share=1.0, limit_bytes=2**20)
    log.keep(lambda: [{"keys": {"user_id": user}} for user in rows["user_id"].tolist()], 1)
    log.close()
    return made


def known(made: Layer) -> list[object]:
    """All that look-ups tell of all users and items."""
    pairs = [(user, item) for user in (ME, *OTHERS) for item in ITEMS]
    keys: Arrays = {
        "user_id": objects(user for user, _ in pairs),
        "item_id": objects(item for _, item in pairs),
    }
    views = [events, by_user, by_item, vectors.at(1).rows_of]
    found = made.online.lookup(views, keys, at=NOW, inputs=made.inputs)
    return [np.asarray(column).tolist() for column in found.values()]


def traces(home: Path) -> list[str]:
    """The files below a folder, but for those of lists, that have the name of who is forgotten."""
    files = (path for path in home.rglob("*") if path.is_file())
    return [path.name for path in files if ME.encode() in path.read_bytes()]


def erase(store: Store) -> None:
    made = layer(store.root)
    forget(made, "events", {"user_id": ME}, partial(requests.erase, store.root / "requests" / LOG))
    made.online.close()


def main(homes: str, call: str) -> None:
    """Kills one call later each time, until it ends before its turn."""
    rows = drawn(60, np.random.default_rng(1))
    others = take(rows, rows["user_id"] != ME)
    in_a_child(lambda: fill(Path(homes) / "never", others).online.close())  # noqa: PLW0108
    step, met = 1, True
    while met:
        home = Path(homes) / f"{call}-{step}"
        in_a_child(lambda home=home: fill(home, rows).online.close())  # type: ignore[misc]
        met, _ = faulted(home, erase, f"{call}:signal=SIGKILL:when={step}")
        if met:
            in_a_child(lambda home=home: say(home, Path(homes) / "never"))  # type: ignore[misc]
        step += 1


def say(home: Path, never: Path) -> None:
    """One line of JSON: what is left once the same was done again."""
    erase(Store(home, keep_s=0))
    made = layer(home)
    made.store.compact(events)
    made.materialize(["events"])
    line = {"alike": known(made) == known(layer(never)), "traces": traces(home)}
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    np.asarray(pd.Series([1]))  # pyarrow imports pandas at its first array
    times([0])
    main(*sys.argv[1:])
