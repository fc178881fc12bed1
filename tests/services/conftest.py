"""The HTTP applications that are asked: with nothing but `Heard` behind them, or a small shop."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.http import door
from services.http.app import build
from services.local import catalog
from tests.services.asking import Heard, Narrow, Reads
from tests.services.goods import Post, doubled, goods, places, shots, visits
from tests.support import ask


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def toy(heard: Heard) -> Starlette:
    return build(Narrow, heard)


@pytest.fixture
def reads(heard: Heard) -> Starlette:
    return build(Reads, heard)


@pytest.fixture
def sees(heard: Heard) -> Starlette:
    return build(catalog.find("vision.classify"), heard)


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """Four views, one of them of another key, and one that is made from another."""
    store = Store(tmp_path / "features")
    models = Models(Registry(tmp_path), catalog.find)
    graph = Graph([goods, shots, places, visits, doubled])
    made = Layer(graph, store, Online(tmp_path / "features" / "online.db"), models)
    made.materialize(["goods", "shots", "places", "visits"])
    return made


@pytest.fixture
def post(layer: Layer, tmp_path: Path) -> Post:
    """Sends JSON to the door."""
    app = door.build(tmp_path, dict, lambda: layer)

    def send(path: str, content: Any) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return ask(app, "POST", path, body, content_type="application/json")

    return send
