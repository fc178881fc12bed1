"""Small real things that several tests need: versions, stored rows, a way to ask an application."""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from starlette.applications import Starlette

from cluster.base.batch import Batch, take
from cluster.base.errors import NotEnough
from cluster.base.settings import Settings
from cluster.contract.rows import Resident, Rows
from cluster.contract.run import Run
from cluster.contract.split import TEST, TRAIN, VALID
from cluster.contract.task import AnyTask
from cluster.engine import host
from cluster.features.derived.modelview import ModelView
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.registry.versions import Manifest
from cluster.training.data import Plan, plan
from cluster.training.embargo import ahead_of
from lepton.wire import PROBLEM_MEDIA_TYPE, REQUEST_ID_HEADER, Problem
from services.local import catalog
from tests.toy import Side

SMALL = {"epochs": 1, "batch_size": 32, "precision": "fp32"}
"""Knobs that make a training short and repeatable, for the capabilities that have them."""


def manifest(task: str = "toy.side", *, run: str = "r1", **changes: Any) -> Manifest:
    """What a version is, before the registry gives it a number."""
    held: dict[str, Any] = {
        "task": task,
        "version": 0,
        "created": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "run": run,
        "config": {"epochs": 3, "lr": 0.05},
        "metrics": {"accuracy": 0.875},
        "objective": "accuracy",
        "direction": "max",
        "rows": {"train": 1_200, "valid": 30, "test": 270},
        "views": {"points": {"commit": 4, "rows": 1_500}},
        "seed": 7,
        "workers": 2,
        "code": "c0de",
        "packages": {"numpy": np.__version__},
    }
    return Manifest.model_validate({**held, **changes})


def filler(made: Manifest, files: Mapping[str, bytes]) -> Callable[[Path], Manifest]:
    """Fills a version's folder with such files."""

    def fill(folder: Path) -> Manifest:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return made

    return fill


def stored(task: type[AnyTask], root: Path, *, rows: int, seed: int = 0) -> Store:
    """Made-up rows of all source views that a capability learns from, taken in as real ones are."""
    store = Store(root)
    followed = (view.over for view in ahead_of(task).views)
    for view in (task.examples, *task.features, *task.tables, *followed):
        if not view.needs:
            ingest_rows(view, view.sample(rows, np.random.default_rng(seed)), store)
    return store


def plan_in(task: type[AnyTask], store: Store, *, rows: int) -> Plan:
    """Which rows a capability learns from; so many of its model views are made up, as release 1."""

    def first(view: View) -> View:
        return view.at(1) if isinstance(view, ModelView) else view

    for view in map(first, (*task.features, *task.tables)):
        if isinstance(view, ModelView):
            store.write(view.rows_of, view.sample(rows, np.random.default_rng(0)))
    return plan(task, store, memory_share=0.9, inputs=catalog.graph().inputs, resolve=first)


class Stream(Rows):
    """Rows that come in the order of those in memory, a batch at a time, and never whole."""

    resident = False

    def __init__(self, rows: Batch) -> None:
        self.inner = Resident(rows)
        self.count = self.inner.count

    def whole(self) -> Batch:
        raise NotEnough("A stream is never whole.")

    def batches(self, size: int) -> Iterator[Batch]:
        return self.inner.batches(size)

    def shuffled(self, size: int, *, seed: int) -> Iterator[Batch]:
        return self.inner.shuffled(size, seed=seed)


def parts_of(made: Plan) -> dict[str, Rows]:
    """The rows that a capability trains on, watches and is measured on."""
    return {part: made.rows(part) for part in (TRAIN, VALID, TEST)}


def learner_of(task: type[AnyTask]) -> Any:
    """The task, with knobs that make its training short."""
    knobs = {name: value for name, value in SMALL.items() if name in task.Config.model_fields}
    return task(task.Config.parse(knobs))


def trained(task: type[AnyTask], made: Plan, folder: Path, *, seed: int = 0) -> Any:
    """The task after a short training, saved in the folder."""
    parts = parts_of(made)
    learner = learner_of(task)
    learner.fit(parts[TRAIN], parts[VALID], Run(seed=seed, tables=made.whole()))
    folder.mkdir(parents=True)
    learner.save(folder)
    return learner


def trained_side(folder: Path) -> Side:
    """The toy, trained and saved in the folder."""
    made = plan(Side, stored(Side, folder / "features", rows=200), memory_share=0.9)
    side: Side = trained(Side, made, folder / "side")
    return side


def questions(task: type[AnyTask], count: int, *, seed: int = 5) -> Batch:
    """Made-up rows as a caller sends them, options at their defaults."""
    drawn = task.inputs.sample(count, np.random.default_rng(seed))
    asked = {n: drawn[n] for n in (*task.Input.model_fields, "event_time") if n in drawn}
    return task().complete(take(asked, slice(0, count)))


def ask(
    app: Starlette,
    method: str,
    path: str,
    content: bytes | AsyncIterable[bytes] = b"",
    **headers: str,
) -> httpx.Response:
    """What an application answers to one request; `content_type=` is `Content-Type:`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lepton") as client:
            return await client.request(method, path, content=content, headers=named)

    return asyncio.run(send())


def problem(answer: httpx.Response, status: int) -> Problem:
    """The problem of an answer, once its shape is known to be RFC 9457's and its ids agree."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == PROBLEM_MEDIA_TYPE
    found = Problem.model_validate_json(answer.content)
    assert found.status == status
    assert found.detail
    assert found.title
    assert found.type.endswith(f"/{found.code}")
    assert found.request_id == answer.headers[REQUEST_ID_HEADER]
    assert found.instance == f"urn:lepton:request:{found.request_id}"
    return found


def here(home: Path, **more: object) -> Settings:
    """Settings of a home, with ports that are free."""
    ports = {"port": host.free_port(), "dashboard_port": host.free_port()}
    return Settings.model_validate({"home": home, **ports, **more})
