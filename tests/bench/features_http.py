"""Look up three views of one key over HTTP, through the proxy and the door's replica."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np

from cluster.batch import length
from cluster.features.ingest import ingest_rows
from cluster.settings import settings
from services import catalog
from tests.bench.engine import running
from tests.bench.report import Result, at_most, percentile, say, spread, told

ROUNDS, ASKED, WARM = 5, 1_000, 300
ROWS = 20_000
VIEWS = ("items", "item_activity", "user_activity")
SAMPLED = {"items": 300, "interactions": ROWS}


def results(home: Path) -> Iterator[Result]:
    """Milliseconds from the first byte of the question to the last of the answer.

    One caller asks over one connection, about another user and item each time. The same caller asks
    for `/healthz` too, which does nothing: the difference is what the look-up itself takes.
    """
    with running(home):
        users, items = _filled()
        rng = np.random.default_rng(0)
        with httpx.Client(base_url=settings().url, trust_env=False) as client:
            bodies = [
                {"views": VIEWS, "keys": [{"user_id": str(user), "item_id": str(item)}]}
                for user, item in zip(
                    rng.choice(users, ASKED), rng.choice(items, ASKED), strict=True
                )
            ]
            for body in bodies[:WARM]:
                found = client.post("/v1/features/lookup", json=body).raise_for_status().json()
                assert [one["status"] for one in found["results"][0].values()] == ["present"] * 3
            rounds = [_round(client, bodies) for _ in range(ROUNDS)]
            idle = statistics.median(_milliseconds(client, "GET", "/healthz") for _ in range(ASKED))
    medians = [statistics.median(times) for times in rounds]
    say(f"p50 of a look-up: {spread(medians)} ms; of /healthz: {idle:.3f} ms.")
    every = [one for times in rounds for one in times]
    yield at_most("features-http.p50", statistics.median(medians), "ms", 2.0, 1.0)
    yield told("features-http.p99", percentile(every, 99), "ms")
    yield told("features-http.healthz", idle, "ms")


def _filled() -> tuple[np.ndarray, np.ndarray]:
    """Made-up rows of a shop, online; the users and the items that there are."""
    layer = catalog.layer(settings())
    for name, rows in SAMPLED.items():
        view = layer.graph[name]
        ingest_rows(view, view.sample(rows, np.random.default_rng(0)), layer.store)
    began = time.perf_counter()
    layer.materialize(list(SAMPLED))
    say(f"{ROWS:,} events are online after {time.perf_counter() - began:.1f} s.")
    events = layer.store.snapshot("interactions").read(layer.graph["interactions"])
    assert length(events)
    return np.unique(events["user_id"].astype(str)), np.unique(events["item_id"].astype(str))


def _round(client: httpx.Client, bodies: Sequence[Mapping[str, object]]) -> list[float]:
    return [_milliseconds(client, "POST", "/v1/features/lookup", json=body) for body in bodies]


def _milliseconds(client: httpx.Client, method: str, path: str, **content: object) -> float:
    request = client.build_request(method, path, **content)  # type: ignore[arg-type]
    began = time.perf_counter()
    client.send(request).raise_for_status()
    return (time.perf_counter() - began) * 1e3
