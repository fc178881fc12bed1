"""Speak Feast: its own client reads and writes our views through `online_store: {type: remote}`.

A feature is named `view:column`, a feature service is a capability, and an entity's join key is a
key column. Our keys are text, so whole numbers are taken as their digits. Times that name no zone
are UTC, as Feast's client sends them.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, Field
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, Unavailable, nearest
from cluster.base.faults import together
from cluster.features.pushed import check_size
from cluster.features.schema.column import Time
from cluster.features.schema.view import View
from services.http.features_http import BODY_BYTES, MOST_KEYS, Features, limit
from services.http.json_rows import key_columns, key_of, raw_rows
from services.http.problems import Edge, json_content, json_response, shaped
from services.local import catalog, lineage

EPOCH = "1970-01-01T00:00:00Z"  # Feast's moment for what has none
STATUSES = {"present": "PRESENT", "missing": "NOT_FOUND", "stale": "OUTSIDE_MAX_AGE"}

METRICS = ("inner_product", "cosine")

Vector = dict[str, list[Any]]
"""One feature of all rows: values, statuses, event_timestamps."""
Wanted = Sequence[tuple[View, str]]
"""Views and columns, in the order in which they are asked for."""


class Read(BaseModel):
    """The body of `/get-online-features`; what else a client sends is of no account here."""

    entities: dict[str, list[Any]]
    features: list[str] = []
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class Push(BaseModel):
    """The body of `/push`; both sides are written, whatever `to` says."""

    push_source_name: str
    df: dict[str, list[Any]]
    to: Literal["online", "offline", "online_and_offline"] = "online"


class Write(BaseModel):
    """The body of `/write-to-online-store`."""

    feature_view_name: str
    df: dict[str, list[Any]]


class Search(BaseModel):
    """The body of `/search`: the view whose vectors are searched is that of the first feature."""

    features: list[str]
    query: list[float] | None = None
    top_k: int = Field(10, ge=1, le=1_000)
    distance_metric: str | None = None
    query_string: str | None = None
    filters: Any = None


class Feast:
    """What stands at each path of Feast's feature server.

    Args:
        features: the feature layer.
    """

    def __init__(self, features: Features) -> None:
        self.features = features

    def routes(self) -> list[Route]:
        """Every path, and what answers there."""
        limited = [Middleware(Edge, limit_bytes=BODY_BYTES)]
        posts = {
            "/get-online-features": self.read,
            "/push": self.push,
            "/write-to-online-store": self.write,
            "/search": self.search,
            "/retrieve-online-documents": self.search,  # what it was called before
        }
        return [
            Route("/health", self.health),
            *(Route(path, do, methods=["POST"], middleware=limited) for path, do in posts.items()),
        ]

    async def health(self, request: Request) -> Response:
        """This process answers."""
        return json_response({"status": "ok"}, request)

    async def read(self, request: Request) -> Response:
        """The newest features of some entities, a list for each feature."""
        asked = shaped(await json_content(request), Read)
        return json_response(await asyncio.to_thread(partial(self._read, asked)), request)

    async def push(self, request: Request) -> Response:
        """Rows for the view that has the push source's name."""
        asked = shaped(await json_content(request), Push)
        await self.features.in_turn(partial(self._write, asked.push_source_name, asked.df))
        return json_response(b"null", request)

    async def write(self, request: Request) -> Response:
        """Rows for a view."""
        asked = shaped(await json_content(request), Write)
        await self.features.in_turn(partial(self._write, asked.feature_view_name, asked.df))
        return json_response(b"null", request)

    async def search(self, request: Request) -> Response:
        """The rows whose vectors are nearest to one; `distance` says how alike they are."""
        asked = shaped(await json_content(request), Search)
        return json_response(await asyncio.to_thread(partial(self._search, asked)), request)

    def _read(self, asked: Read) -> bytes:
        wanted = list(self._wanted(asked))
        answer = self._answer(wanted, asked.entities, full=asked.full_feature_names)
        if asked.include_feature_view_version_metadata:
            names = dict.fromkeys(view.name for view, _ in wanted)
            answer["metadata"]["feature_view_metadata"] = [{"name": name} for name in names]
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)

    def _search(self, asked: Search) -> bytes:
        wanted = list(self._wanted(Read(entities={}, features=asked.features)))
        view = wanted[0][0]
        if asked.query is None or asked.query_string is not None or asked.filters is not None:
            raise InvalidInput(
                "Only vectors are searched here, and all rows of a view.",
                hint="Give a query of numbers, and neither a query_string nor filters.",
            )
        if (asked.distance_metric or METRICS[0]).lower() not in METRICS:
            raise InvalidInput(
                f"There is no metric {str(asked.distance_metric)[:80]!r} here.",
                hint=f"There are: {', '.join(METRICS)}, which are one for vectors of length 1.",
                pointer="/distance_metric",
            )
        query = np.array([asked.query], dtype=np.float64)
        (keys,), (scores,) = self.features.layer.nearest(view.name, query, asked.top_k)
        # in the order of the keys, for only so does the client put values beside their own keys
        pairs = sorted(zip(keys, scores, strict=True))
        entities = {name: [key[place] for key, _ in pairs] for place, name in enumerate(view.key)}
        answer = self._answer([one for one in wanted if one[0] is view], entities)
        answer["metadata"]["feature_names"].append("distance")
        answer["results"].append(_known([score for _, score in pairs]))
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)

    def _answer(
        self, wanted: Wanted, entities: Mapping[str, list[Any]], *, full: bool = False
    ) -> dict[str, Any]:
        """A list for each key column and for each column of a view, and their names."""
        views = list({view.name: view for view, _ in wanted}.values())
        rows = _rows(entities, "/entities")
        limit(len(rows), "entities", MOST_KEYS)
        keys = key_columns(rows, key_of(views), "/entities")
        found, names = self.features.look(views, keys)
        # the keys come first: the client takes the time of the second column for that of its row
        results = [_known(values) for values in entities.values()]
        for view, column in wanted:
            values = view.columns[column].to_json(found[names[view.name][column]])
            results.append(_vector(view, column, values, found))
        labels = [f"{view.name}__{column}" if full else column for view, column in wanted]
        return {"metadata": {"feature_names": [*entities, *labels]}, "results": results}

    def _wanted(self, asked: Read) -> Iterator[tuple[View, str]]:
        """Each view and column that is asked for, in order."""
        if asked.feature_service is not None:
            for view in lineage.reads(catalog.find(asked.feature_service)):
                resolved = self.features.layer.resolved(view)
                yield from ((resolved, column) for column in view.columns)
            return
        if not asked.features:
            raise InvalidInput("No features are asked for.", hint="Name some as view:column.")
        views: dict[str, View] = {}
        for place, reference in enumerate(asked.features):
            name, _, column = reference.partition(":")
            if name not in views:
                views[name] = self.features.layer.view(name)
            view = views[name]
            if column not in view.columns:
                raise InvalidInput(
                    f"View {name!r} has no column {column[:80]!r}.",
                    hint=nearest(column[:80], view.columns),
                    pointer=f"/features/{place}",
                )
            yield view, column

    def _write(self, name: str, df: Mapping[str, Sequence[Any]]) -> None:
        view = self.features.layer.pushable(name)
        named = {("event_time" if c == "event_timestamp" else c): v for c, v in df.items()}
        named.pop("created", None)  # it is when we take the row in
        if "event_time" in named:
            named["event_time"] = _moments(named["event_time"])
        rows = _rows(named, "/df")
        check_size(name, len(rows))
        self.features.layer.push_to(view, raw_rows(view, rows, "/df"), root="/df")


def _known(values: list[Any]) -> Vector:
    """A column of which every value is there."""
    count = len(values)
    return {
        "values": values,
        "statuses": ["PRESENT"] * count,
        "event_timestamps": [EPOCH] * count,
    }


def _vector(view: View, column: str, values: list[Any], found: Mapping[str, Any]) -> Vector:
    """One feature of all rows.

    An empty list is null: the client cannot infer its type.
    """
    words, moments = found[f"{view.name}_status"].tolist(), found[f"{view.name}_time"]
    if "degraded" in words:
        raise Unavailable(f"View {view.name!r} cannot be read now.", retry_after_s=1.0)
    times = Time().to_json(moments)
    statuses = [STATUSES[word] for word in words]
    for row, word in enumerate(words):
        if word != "present" and column not in view.defaults:
            values[row] = None
        elif isinstance(values[row], list) and not values[row]:
            values[row], statuses[row] = None, "NULL_VALUE"
        if word == "missing":
            times[row] = EPOCH
    return {"values": values, "statuses": statuses, "event_timestamps": times}


def _rows(columns: Mapping[str, Sequence[Any]], root: str) -> list[dict[str, Any]]:
    """Columns as rows.

    Raises:
        InvalidInput: they differ in length, or there are none.
    """
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) != 1:
        sizes = ", ".join(f"{name[:80]} {count}" for name, count in counts.items())
        raise InvalidInput(
            f"The columns have {sizes or 'no'} values.", hint="Give each as many.", pointer=root
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _moments(values: Sequence[Any]) -> list[Any]:
    """Times with their zone; those that name none are in UTC."""
    moments, bad = Time("UTC").admit(objects(values))
    if bad:
        raise together(
            [
                InvalidInput(f"event_timestamp {reason}.", pointer=f"/df/event_timestamp/{row}")
                for row, reason in bad.items()
            ]
        )
    return [moment.replace(tzinfo=UTC) for moment in moments.tolist()]
