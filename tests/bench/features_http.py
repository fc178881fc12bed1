"""Look up three views of one key over HTTP, through the proxy and the door's replica."""

import json
import statistics
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import lepton
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
        pairs = zip(rng.choice(users, ASKED), rng.choice(items, ASKED), strict=True)
        keys = [{"user_id": str(user), "item_id": str(item)} for user, item in pairs]
        bodies = [json.dumps({"views": VIEWS, "keys": [key]}).encode() for key in keys]
        with lepton.Client(settings().url) as client:
            for key in keys[:WARM]:
                (found,) = client.features.lookup(VIEWS, key)
                assert [one.status for one in found.values()] == ["present"] * len(VIEWS)
        # the standard library's own client takes the least of the time that is measured
        line = HTTPConnection(settings().host, settings().port, timeout=10)
        rounds = [_round(line, bodies) for _ in range(ROUNDS)]
        idle = statistics.median(_milliseconds(line, "GET", "/healthz") for _ in range(ASKED))
        line.close()
    medians = [statistics.median(times) for times in rounds]
    say(f"p50 of a look-up: {spread(medians)} ms; of /healthz: {idle:.3f} ms.")
    every = [one for times in rounds for one in times]
    yield at_most("features-http.p50", statistics.median(medians), "ms", 2.0, 1.0)
    yield told("features-http.p99", percentile(every, 99), "ms")
    yield told("features-http.healthz", idle, "ms")


def _filled() -> tuple[NDArray[np.str_], NDArray[np.str_]]:
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


def _round(line: HTTPConnection, bodies: list[bytes]) -> list[float]:
    return [_milliseconds(line, "POST", "/v1/features/lookup", body) for body in bodies]


def _milliseconds(line: HTTPConnection, method: str, path: str, body: bytes = b"") -> float:
    began = time.perf_counter()
    line.request(method, path, body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    answer.read()
    took = (time.perf_counter() - began) * 1e3
    if answer.status != 200:
        raise RuntimeError(f"{method} {path} was answered {answer.status}.")
    return took
