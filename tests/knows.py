"""A toy that is told points by key, and what is known of their owners: served without Ray."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cluster.contract import Batch, Number, Objective, Rows, Run, Serving, Task, Text, View, objects
from cluster.features.derived.aggregates import Count, Last
from cluster.features.derived.graph import Graph
from cluster.features.derived.windows import windows
from cluster.features.layer import Layer
from cluster.features.monitoring.requests import RequestLog
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.registry.model import Model
from cluster.registry.pool import Models
from cluster.registry.versions import Manifest, Registry
from cluster.serving.answering import Answer, Answered, Answering, answered
from cluster.serving.batching import Batcher
from tests.support import manifest
from tests.toy import Config, labelled_points


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    x: float = Field(le=1_000)
    y: float
    owner_id: str = ""
    margin: float = 0.0


class Output(BaseModel):
    x: float
    rank: float
    rank_missing: bool
    visits: int
    last: list[str]


def no_rows(n: int, rng: np.random.Generator) -> Batch:
    del rng
    return {
        "owner_id": objects(f"o{i}" for i in range(n)),
        "rank": np.arange(n, dtype=float),
        "event_time": np.zeros(n, dtype="datetime64[us]"),
    }


def drawn_visits(n: int, rng: np.random.Generator) -> Batch:
    del rng
    return {
        "owner_id": objects(f"o{i}" for i in range(n)),
        "place": objects(f"q{i}" for i in range(n)),
        "event_time": np.zeros(n, dtype="datetime64[us]"),
    }


owners = View(
    name="owners",
    key=("owner_id",),
    columns={"rank": Number()},
    sample=no_rows,
    ttl=timedelta(days=30),
    defaults={"rank": -1.0},
)
visits = View(name="visits", key=("owner_id",), columns={"place": Text()}, sample=drawn_visits)
lately = windows(
    "lately",
    over=visits,
    key=("owner_id",),
    columns={"visits": Count(within=timedelta(days=7)), "last": Last("place", n=3)},
)
GRAPH = Graph([labelled_points, owners, visits, lately])


class Knows(Task[Config, Input, Output]):
    """Say what is known of a point."""

    inputs = labelled_points.only("x", "y")
    examples = labelled_points
    truth: ClassVar[tuple[str, ...]] = ("label",)
    features: ClassVar[tuple[View, ...]] = (owners,)
    live: ClassVar[tuple[View, ...]] = (lately,)
    objective = Objective("max", "accuracy")
    serving: ClassVar[Serving] = Serving(max_batch=16)

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """There is nothing to learn."""

    def predict(self, batch: Batch) -> list[Output]:
        names = ("x", "rank", "owners_missing", "visits", "last")
        columns = (batch[name].tolist() for name in names)
        return [
            Output(x=x, rank=rank, rank_missing=gone, visits=count, last=last)
            for x, rank, gone, count, last in zip(*columns, strict=True)
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        return {"accuracy": 1.0}


def layer_of(home: Path) -> Layer:
    """The toy's views, with their rows under a folder."""

    def none(name: str) -> Any:
        raise AssertionError(f"{name} is asked for, but the toy has no model views.")

    store, online = Store(home / "features"), Online(home / "features" / "online.db")
    return Layer(GRAPH, store, online, Models(Registry(home), none))


class Service:
    """The toy as a replica serves it, less Ray and HTTP."""

    def __init__(self, home: Path, *, made: Manifest | None = None, layer: Any = None) -> None:
        self.layer = layer or layer_of(home)
        self.requests = RequestLog(home / "requests" / "knows", share=1.0, limit_bytes=2**26)
        model = Model(Knows(), made or manifest("tests.knows"))
        self.answering = Answering(model, lambda: self.layer, self.requests)

    @property
    def answer(self) -> Answer:
        """What the application calls."""

        async def answer(inputs: Sequence[BaseModel]) -> Answered:
            batcher = Batcher(self.answering, max_batch=16, max_waiting=64)
            return answered(3, await batcher.answer(inputs))

        return answer

    def together(self, *requests: Sequence[BaseModel]) -> list[Any]:
        """Several requests that share batches: what each of them gets, errors included."""

        async def ask() -> list[Any]:
            batcher = Batcher(self.answering, max_batch=16, max_waiting=64)

            async def one(rows: Sequence[BaseModel]) -> Answered:
                return answered(3, await batcher.answer(rows))

            return list(await asyncio.gather(*map(one, requests), return_exceptions=True))

        return asyncio.run(ask())
