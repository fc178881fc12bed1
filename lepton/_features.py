"""Ask the feature layer: which views there are, look up, push, find the nearest."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from lepton._answers import counted_from
from lepton._core import Call, Core, finish
from lepton._fields import Field
from lepton._files import is_binary
from lepton._inputs import Frame, Row, rows_of, to_wire
from lepton.errors import APIStatusError, BadValue, UnexpectedAnswer, status_error
from lepton.wire import Forgotten, Looked, Lookup, Neighbour, Neighbours, Pushed, ViewInfo, ViewList

LOOKED_UP = 1_000  # keys that one request carries; more are sent as several

Rows = Sequence[Row]
Results = list[dict[str, Looked]]  # for each key, what each view holds
Views = list[ViewInfo]
Nearest = list[Neighbour]


class FeatureCalls:
    """The calls, over the core that predictions go by too."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(self) -> Views:
        """Every view there is."""
        return (await self._core.ask(Call("GET", "/v1/features"), ViewList)).views

    async def lookup(self, views: str | Sequence[str], keys: Row | Rows | Frame) -> Results:
        """What views hold of keys, in chunks, but as if they were one request."""
        names = [views] if isinstance(views, str) else [*views]
        rows = _rows(keys, "keys")
        request_id = uuid4().hex  # one for all chunks, as they are one call

        async def chunk(first: int) -> Results:
            part = rows[first : first + LOOKED_UP]
            call = _post("/v1/features/lookup", {"views": names, "keys": part}, request_id)
            try:
                found = (await self._core.ask(call, Lookup)).results
            except APIStatusError as error:
                raise status_error(counted_from(first, error.problem)) from None
            if len(found) != len(part):
                raise UnexpectedAnswer(
                    f"{len(found)} results came for {len(part)} keys. That is a fault of the "
                    f"server: look for request {request_id} in its log."
                )
            return found

        starts = range(0, len(rows), LOOKED_UP)
        parts = await self._core.network.gather([partial(chunk, first) for first in starts])
        return [result for part in parts for result in part]

    async def push(self, view: str, rows: Row | Rows | Frame) -> int:
        """Write rows of a view; how many were written.

        Where no row has an event time they get the present of this machine, each a microsecond
        after the one before it, here and not at the server: a request that is sent twice then
        writes the same rows, and so nothing new.
        """
        now, sent = datetime.now(UTC), _rows(rows, "rows")
        if not any("event_time" in row for row in sent):
            moments = (now + timedelta(microseconds=number) for number in range(len(sent)))
            sent = [
                {"event_time": moment.isoformat(), **row}
                for moment, row in zip(moments, sent, strict=True)
            ]
        return (await self._core.ask(_post(_path(view, "push"), {"rows": sent}), Pushed)).rows

    async def nearest(
        self, view: str, vector: Any = None, *, key: Row | None = None, k: int = 10
    ) -> Nearest:
        """The keys whose vectors are nearest to a vector, or to that of a key."""
        if (vector is None) == (key is None):
            raise BadValue("Give nearest either a vector or a key, not both and not neither.")
        asked = {"vector": vector} if key is None else {"key": key}
        call = _post(_path(view, "nearest"), {**to_wire(asked, {}), "k": k})
        return (await self._core.ask(call, Neighbours)).neighbours

    async def forget(self, view: str, key: Row) -> Forgotten:
        """Erase the rows of a key, or of a part of one."""
        query = urlencode({name: str(value) for name, value in key.items()})
        return await self._core.ask(Call("DELETE", f"{_path(view)}?{query}"), Forgotten)


class Features:
    """The feature layer, as ``client.features``: each method waits for its answer.

    ::

        client.features.push("items", {"item_id": "42", "title": "Red boots", "categories": []})
        client.features.lookup(["items"], {"item_id": "42"})[0]["items"].values["title"]
    """

    def __init__(self, calls: FeatureCalls) -> None:
        self._calls = calls

    def lookup(self, views: str | Sequence[str], keys: Row | Rows | Frame) -> Results:
        """What views hold of keys: for each key, in order, a ``Looked`` by the view's name.

        Args:
            views: their names.
            keys: for each row the key columns of all those views; a dict is one row.
        """
        return finish(self._calls.lookup(views, keys))

    def push(self, view: str, rows: Row | Rows | Frame) -> int:
        """Write rows of a view, so that they are looked up at once; how many were written.

        Args:
            view: its name.
            rows: key, columns, and ``event_time`` with a zone in all of them or in none, which
                stands for the present of this machine. Pictures are given as for a prediction,
                except that a path is a ``Path``.
        """
        return finish(self._calls.push(view, rows))

    def nearest(
        self, view: str, vector: Any = None, *, key: Row | None = None, k: int = 10
    ) -> Nearest:
        """The keys whose vectors are nearest to a vector, or to that of a key."""
        return finish(self._calls.nearest(view, vector, key=key, k=k))

    def forget(self, view: str, key: Row) -> Forgotten:
        """Erase the rows of a key wherever they are kept; what was erased, and who learnt from it.

        Args:
            view: its name.
            key: its key columns, or some of them: then all rows that have these.
        """
        return finish(self._calls.forget(view, key))

    def list(self) -> Views:
        """Every view there is."""
        return finish(self._calls.list())


def _post(path: str, body: Mapping[str, object], request_id: str = "") -> Call:
    return Call("POST", path, json.dumps(body).encode(), request_id or uuid4().hex)


def _path(view: str, verb: str = "") -> str:
    if not view:
        raise BadValue("The name of the view is empty. Give one that `features list` shows.")
    return f"/v1/features/{quote(view, safe='', errors='replace')}" + f"/{verb}" * bool(verb)


def _rows(given: Row | Rows | Frame, what: str) -> list[dict[str, Any]]:
    """Rows as JSON can carry them; one alone counts as a list of one."""
    rows = [given] if isinstance(given, Mapping) else rows_of(given, what)
    return [to_wire(row, _pictures(row)) for row in rows]


def _pictures(row: object) -> dict[str, Field]:
    """The fields of a row whose values travel as base64."""
    named = row.items() if isinstance(row, Mapping) else ()
    return {name: Field(name, {"contentEncoding": "base64"}) for name, v in named if is_binary(v)}
