"""Look up three views of one key over HTTP, through the proxy and the door's replica."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

import lepton
from cluster.base.batch import length
from cluster.base.settings import settings
from cluster.features.intake.ingest import ingest_rows
from services.local import catalog
from tests.bench.engine import running
from tests.bench.report import Result, at_most, percentile, say, spread, told

ROUNDS, ASKED, WARM = 5, 1_000, 300
ROWS = 20_000
VIEWS = ("items", "item_activity", "user_activity")
STORED = ("items", "users", "interactions")
SAMPLED = {"items": 300, "users": 400, "interactions": ROWS}
PATH = "/v1/features/lookup"

Key = dict[str, str]


def results(home: Path) -> Iterator[Result]:
    """Milliseconds from the first byte of the question to the last of the answer.

    One caller asks over one connection, about another user and item each time: one stored view and
    two of windows, which are made from events as they are read; and, to compare, three stored ones.
    The same caller asks for `/healthz` too, which does nothing: the rest is what a look-up takes.
    """
    with running(home / "features-http"):  # no other row's interactions, of items not made here
        keys = _filled()
        for views in (VIEWS, STORED):
            _check(views, keys)
        # the standard library's own client takes the least of the time that is measured
        line = HTTPConnection(settings().host, settings().port, timeout=10)
        rounds = [_round(line, VIEWS, keys) for _ in range(ROUNDS)]
        stored = statistics.median(_round(line, STORED, keys))
        idle = statistics.median(_milliseconds(line, "GET", "/healthz") for _ in range(ASKED))
        line.close()
    medians = [statistics.median(times) for times in rounds]
    say(f"p50 of a look-up: {spread(medians)} ms.")
    every = [one for times in rounds for one in times]
    yield at_most("features-http.p50", statistics.median(medians), "ms", 2.0, 1.0)
    yield told("features-http.p99", percentile(every, 99), "ms")
    yield told("features-http.stored", stored, "ms")
    yield told("features-http.healthz", idle, "ms")


def _filled() -> list[Key]:
    """Made-up rows of a shop, online; the keys of some of its events."""
    layer = catalog.layer(settings())
    for name, rows in SAMPLED.items():
        view = layer.graph[name]
        ingest_rows(view, view.sample(rows, np.random.default_rng(0)), layer.store)
    began = time.perf_counter()
    layer.materialize(list(SAMPLED))
    say(f"{ROWS:,} events are online after {time.perf_counter() - began:.1f} s.")
    events = layer.store.snapshot("interactions").read(layer.graph["interactions"])
    chosen = np.random.default_rng(0).choice(length(events), ASKED, replace=False)
    return [{name: str(events[name][row]) for name in ("user_id", "item_id")} for row in chosen]


def _check(views: Sequence[str], keys: Sequence[Key]) -> None:
    """Every view knows every key; this warms both sides, too."""
    with lepton.Client(settings().url) as client:
        for key in keys[:WARM]:
            (found,) = client.features.lookup(views, key)
            assert [one.status for one in found.values()] == ["present"] * len(views)


def _round(line: HTTPConnection, views: Sequence[str], keys: Sequence[Key]) -> list[float]:
    bodies = [json.dumps({"views": views, "keys": [key]}).encode() for key in keys]
    return [_milliseconds(line, "POST", PATH, body) for body in bodies]


def _milliseconds(line: HTTPConnection, method: str, path: str, body: bytes = b"") -> float:
    began = time.perf_counter()
    line.request(method, path, body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    answer.read()
    took = (time.perf_counter() - began) * 1e3
    if answer.status != 200:
        raise RuntimeError(f"{method} {path} was answered {answer.status}.")
    return took
