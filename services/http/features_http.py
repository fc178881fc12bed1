"""Answer HTTP for the feature layer: which views there are, look up, push, find the nearest."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, LeptonError, TooLarge, Unavailable
from cluster.features.layer import Layer
from cluster.features.online.lookup import DEGRADED
from cluster.features.online.sqlite_keeper import SqliteKeeper
from cluster.features.pushed import MOST_PUSHED
from cluster.features.schema.view import View, columns_of
from cluster.features.vectors.neighbours import vector_column
from lepton.wire import LookupRequest, NearestRequest, PushRequest, ViewInfo, ViewList
from services.http.json_rows import json_rows, key_columns, key_of, raw_rows
from services.http.problems import Edge, json_content, json_response, request_id, shaped
from services.local.features import Listed, listed
from services.local.forgetting import forget

MOST_KEYS = 10_000  # in one request
MOST_VIEWS = 100  # in one request
BODY_BYTES = 16 * 2**20
FEW = 32  # keys times views
PUSHERS = 4  # threads that push
MOST_PUSHES = 64  # that are at work or wait

T = TypeVar("T")

Names = Mapping[str, Mapping[str, str]]
"""By view and column the name that it has beside those of other views."""


class Features:
    """The HTTP handlers of the feature layer.

    Args:
        make: makes the layer, when it is asked for the first time.
        home: where versions and request logs are.
    """

    def __init__(self, make: Callable[[], Layer], home: Path) -> None:
        self._make = make
        self._home = home
        self._made: Layer | None = None
        self._making = threading.Lock()
        # models are asked about pushed rows, which may take long: no other request waits for them
        self._pushers = ThreadPoolExecutor(PUSHERS, thread_name_prefix="push")
        self._places = threading.BoundedSemaphore(MOST_PUSHES)

    @property
    def layer(self) -> Layer:
        """The layer that is asked: made once, by the thread that comes first."""
        if self._made is None:
            with self._making:  # who comes meanwhile waits for it
                if self._made is None:
                    self._made = self._make()
        return self._made

    def routes(self) -> list[Route]:
        """Every path with its handler."""
        limited = [Middleware(Edge, limit_bytes=BODY_BYTES)]
        posts = {
            "/v1/features/lookup": self.lookup,
            "/v1/features/{view}/push": self.push,
            "/v1/features/{view}/nearest": self.nearest,
        }
        return [
            Route("/v1/features", self.views),
            Route("/v1/features/{view}", self.forget, methods=["DELETE"]),
            *(Route(path, do, methods=["POST"], middleware=limited) for path, do in posts.items()),
        ]

    async def views(self, request: Request) -> Response:
        """Every view."""
        found = await asyncio.to_thread(self._described)
        return json_response(ViewList(views=found).model_dump_json().encode(), request)

    async def lookup(self, request: Request) -> Response:
        """What some views hold of some keys."""
        content = await json_content(request)
        limits(content, {"keys": MOST_KEYS, "views": MOST_VIEWS})
        asked = shaped(content, LookupRequest)
        work = partial(self._looked_up, asked)
        quick = self._is_quick(asked)
        results, degraded, behind = work() if quick else await asyncio.to_thread(work)
        body = b'{"results":%b,"request_id":%b}'
        answer = json_response(body % (results, orjson.dumps(request_id(request.scope))), request)
        if degraded:
            answer.headers["X-Lepton-Degraded"] = "features"
        if behind:
            answer.headers["X-Lepton-Behind"] = ", ".join(behind)
        return answer

    async def push(self, request: Request) -> Response:
        """Write rows of one view to both sides."""
        content = await json_content(request)
        limits(content, {"rows": MOST_PUSHED})
        asked = shaped(content, PushRequest)
        work = partial(self._pushed, request.path_params["view"], asked)
        rows, degraded = await self.in_turn(work)
        return _answer({"rows": rows, **({"degraded": True} if degraded else {})}, request)

    async def nearest(self, request: Request) -> Response:
        """The keys whose vectors are nearest to one."""
        asked = shaped(await json_content(request), NearestRequest)
        work = partial(self._nearest, request.path_params["view"], asked)
        return _answer({"neighbours": await asyncio.to_thread(work)}, request)

    async def forget(self, request: Request) -> Response:
        """Erase the rows of a key that the query names."""
        sent = request.query_params.multi_items()
        key = dict(sent)
        if len(key) < len(sent):
            raise InvalidInput(
                "The key names a column twice.", hint="Erase one key at a time: ?user_id=7"
            )
        name = request.path_params["view"]
        done = await self.in_turn(lambda: forget(self.layer, self._home, name, key))
        return _answer(done.model_dump(exclude={"request_id"}), request)

    async def in_turn(self, push: Callable[[], T]) -> T:
        """What a push returns, in a thread that only pushes use.

        Raises:
            Unavailable: too many of them wait already.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable(
                f"{MOST_PUSHES} pushes wait already.",
                hint="Push again in a moment, more rows at a time.",
                retry_after_s=1.0,
            )
        pushed = self._pushers.submit(push)
        pushed.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(pushed)

    def look(self, views: Sequence[View], keys: Batch) -> tuple[Batch, Names]:
        """What was found, and how the columns of each view are named in it.

        Where the online store cannot be read, nothing is known, and the status is `degraded`.
        """
        return self.layer.lookup_anyway(views, keys), columns_of(views, keys)

    def _is_quick(self, asked: LookupRequest) -> bool:
        """Whether a look-up takes less than a thread takes to begin: few rows of a local file.

        After a pause it also reads what is stored offline, maybe over a network.
        """
        made = self._made  # making it takes long
        if made is None or not isinstance(made.online.keeper, SqliteKeeper):
            return False
        return len(asked.keys) * len(asked.views) <= FEW and made.knows_behind(asked.views)

    def _described(self) -> list[ViewInfo]:
        return [described(self.layer, one) for one in listed(self.layer)]

    def _looked_up(self, asked: LookupRequest) -> tuple[bytes, bool, list[str]]:
        """What was found as JSON, whether some could not be read now, and which views lag."""
        views = [self.layer.view(name) for name in dict.fromkeys(asked.views)]
        keys = key_columns(asked.keys, key_of(views), "/keys")
        behind = self.layer.behind(views)
        found, named = self.look(views, keys)
        columns = [json_rows(view, found, named[view.name]) for view in views]
        for view, column in zip(views, columns, strict=True):
            for row in column if view.name in behind else ():
                row["behind"] = True
        names = [view.name for view in views]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        degraded = any(DEGRADED in found[f"{view.name}_status"] for view in views)
        return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY), degraded, sorted(behind)

    def _pushed(self, name: str, asked: PushRequest) -> tuple[int, bool]:
        """How many rows were written, and whether they are not online."""
        view = self.layer.pushable(name)
        rows = raw_rows(view, asked.rows, "/rows")
        return self.layer.push_to(view, rows, root="/rows"), self.layer.missed(name)

    def _nearest(self, name: str, asked: NearestRequest) -> list[dict[str, Any]]:
        view = self.layer.view(name)
        vector, own = self._query(view, asked)
        if own:
            stored = self.layer.graph.stored(view)
            (keys,), (scores,) = self.layer.neighbours.beside(stored, own, vector, asked.k)
        else:
            (keys,), (scores,) = self.layer.nearest(name, vector[None], asked.k)
        return [
            {"key": dict(zip(view.key, key, strict=True)), "score": score}
            for key, score in zip(keys, scores, strict=True)
        ]

    def _query(self, view: View, asked: NearestRequest) -> tuple[NDArray[Any], tuple[str, ...]]:
        """The vector that is asked about, and the key of its row where it has one."""
        if (asked.vector is None) == (asked.key is None):
            both = asked.vector is not None
            raise InvalidInput(
                f"The request has {'both a vector and' if both else 'neither a vector nor'} a key.",
                hint='Give one of them: {"vector": [...]} or {"key": {...}}.',
            )
        column = vector_column(view)
        if asked.key is None:
            return np.array(asked.vector, dtype=np.float64), ()
        keys = key_columns([asked.key], view.key, "/key")
        found = self.layer.lookup([view], keys)
        own = tuple(str(keys[name][0]) for name in view.key)
        if found[f"{view.name}_missing"][0]:
            said = ", ".join(f"{name}={part!r}" for name, part in zip(view.key, own, strict=True))
            raise InvalidInput(
                f"View {view.name!r} holds no vector of {said}.",
                hint="Push the row that it is made from, or give a vector.",
                pointer="/key",
            )
        return found[columns_of([view], keys)[view.name][column]][0], own


def described(layer: Layer, listed: Listed) -> ViewInfo:
    """The entry of a view in discovery."""
    view = listed.view
    newest = listed.newest
    return ViewInfo(
        name=view.name,
        kind=listed.kind,
        description=view.description,
        key=list(view.key),
        columns={name: str(column.arrow) for name, column in view.columns.items()},
        ttl_s=None if view.ttl is None else view.ttl.total_seconds(),
        owner=view.owner,
        tags=list(view.tags),
        version=listed.version,
        needs=list(view.needs),
        rows=listed.rows,
        newest=None if newest is None else datetime.fromisoformat(f"{newest}Z"),
        online=is_online(layer, view),
        behind=listed.behind or 0,
        release=listed.release,
    )


def is_online(layer: Layer, view: View) -> bool:
    """Whether a view can be looked up: it is tried with some key."""
    nobody = {name: objects(["-"]) for name in view.key}
    try:
        layer.lookup([view], nobody)
    except LeptonError:  # never materialized, or in other columns, or its model has no version
        return False
    return True


def limits(content: Any, most: Mapping[str, int]) -> None:
    """Refuse lists of a body that are too long, before anything looks into them.

    Raises:
        TooLarge: one is.
    """
    for field, number in most.items():
        sent = content.get(field) if isinstance(content, dict) else None
        if isinstance(sent, list):
            limit(len(sent), field, number)


def limit(sent: int, field: str, most: int) -> None:
    """Refuse more than there may be of something.

    Raises:
        TooLarge: it is more.
    """
    if sent > most:
        raise TooLarge(
            f"The request has {sent:,} {field}; the limit is {most:,}.",
            hint="Send them in several requests.",
            pointer=f"/{field}",
            limit=most,
            actual=sent,
        )


def _answer(content: dict[str, Any], request: Request) -> Response:
    return json_response({**content, "request_id": request_id(request.scope)}, request)
