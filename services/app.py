"""Answer HTTP for one capability: read, validate, answer, or say what is wrong."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.errors import InvalidInput, Malformed, TooLarge, UnsupportedMedia
from cluster.model import AnyTask
from services.http import HANDLERS, Edge, faults_of, json_response, problem, request_id

Answer = Callable[[Sequence[BaseModel]], Awaitable[tuple[int, list[BaseModel]]]]
"""Answers validated inputs: the version that did it, and one output per input."""

JSON_MEDIA = {"application/json", "application/x-www-form-urlencoded", ""}  # what curl -d says
BIG_BODY = 65_536  # bytes; reading more than that (a photograph) is left to a thread


def build(task: type[AnyTask], answer: Answer, version: Callable[[], int] = lambda: 0) -> Starlette:
    """The application of one capability; it stands at the capability's own path.

    POST answers inputs, GET says which version does.

    Args:
        task: whose inputs are read.
        answer: batches and predicts.
        version: says which version answers.
    """
    reader = InputReader(task)
    dump = TypeAdapter(list[task.Output]).dump_json  # type: ignore[name-defined]
    name = orjson.dumps(task.name())

    async def respond(request: Request) -> Response:
        if request.method != "POST":
            return json_response({"model": task.name(), "version": str(version())}, request)
        try:
            inputs = await reader.read(request)
        except ValidationError as error:
            return problem(request, _summary(faults := faults_of(error)), faults)
        used, outputs = await answer(inputs)
        number = orjson.dumps(request_id(request.scope))
        body = b'{"model":%b,"version":"%d","outputs":%b,"request_id":%b}'
        return json_response(body % (name, used, dump(outputs), number), request)

    return Starlette(
        routes=[Route("/", respond, methods=["GET", "POST"])],
        middleware=[Middleware(Edge, limit_bytes=task.serving.max_body_bytes)],
        exception_handlers=HANDLERS,
    )


class InputReader:
    """Reads the inputs of a request in each of the forms that a capability takes."""

    def __init__(self, task: type[AnyTask]) -> None:
        self.task = task
        self.rows = TypeAdapter(list[task.Input])  # type: ignore[name-defined]
        self.field, self.media = raw_input(task)

    async def read(self, request: Request) -> list[Any]:
        """The inputs of a request.

        Raises:
            LeptonError: the body is of another type, too long, or cannot be read.
            ValidationError: an input breaks a type, a bound or a limit.
        """
        if (coding := request.headers.get("content-encoding", "identity")) != "identity":
            raise UnsupportedMedia(
                f"The content encoding {coding[:80]!r} is not read here.",
                hint="Send the body as it is.",
            )
        body = await request.body()
        media = request.headers.get("content-type", "application/json").split(";")[0]
        media = media.strip().lower()
        read = self._json if media in JSON_MEDIA else self._raw
        if len(body) > BIG_BODY:
            return await asyncio.to_thread(read, body, media, request.query_params)
        return read(body, media, request.query_params)

    def _json(self, body: bytes, media: str, query: QueryParams) -> list[Any]:
        del media, query
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Malformed(f"The body is not JSON: {error}.", hint=self._example()) from None
        if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
            raise InvalidInput('The body has no list "inputs".', hint=self._example())
        if unknown := content.keys() - {"inputs"}:
            raise InvalidInput(
                f'The body has {", ".join(sorted(unknown))!r} beside "inputs".',
                hint="Options belong into each input.",
            )
        limit, sent = self.task.serving.max_rows, len(content["inputs"])
        if not 0 < sent <= limit:
            raise (TooLarge if sent else InvalidInput)(
                f"The request has {sent} inputs; it takes 1 to {limit}.",
                hint="Send them in several requests." if sent else self._example(),
                pointer="/inputs",
                limit=limit,
                actual=sent,
            )
        return self.rows.validate_python(content["inputs"])

    def _raw(self, body: bytes, media: str, query: QueryParams) -> list[Any]:
        family = media.split("/", maxsplit=1)[0] + "/*"
        if self.media not in {media, family}:
            accepted = " or ".join(filter(None, ["application/json", self.media]))
            raise UnsupportedMedia(
                f"The content type {media[:80]!r} is not read here.", hint=f"Send {accepted}."
            )
        value: object = body
        if self.media == "text/plain":
            try:
                value = body.decode()
            except UnicodeDecodeError as error:
                raise Malformed(
                    f"The text is not UTF-8: byte {error.start} breaks it.",
                    hint="Encode it as UTF-8.",
                ) from None
        options = {name: _option(self.task, name, query) for name in query}
        return self.rows.validate_python([{**options, self.field: value}])

    def _example(self) -> str:
        return (
            f'It looks like {{"inputs": [{{"{next(iter(self.task.Input.model_fields))}": ...}}]}}.'
        )


def raw_input(task: type[AnyTask]) -> tuple[str, str]:
    """Which field a raw body fills, and its media type: the first required one, if it is one.

    Returns:
        Name and media type: `image/*` as the field declares it, `text/plain` for a string; both are
        empty where a raw body cannot say what it is.
    """
    schema = task.Input.model_json_schema()
    for name in schema.get("required", [])[:1]:
        declared = schema["properties"][name]
        media = declared.get("contentMediaType") or "text/plain" * (
            declared.get("type") == "string"
        )
        return (name, media) if media else ("", "")
    return "", ""


def _option(task: type[AnyTask], name: str, query: QueryParams) -> object:
    """A query parameter, as a list where the field is one."""
    field = task.Input.model_fields.get(name)
    listed = field is not None and str(field.annotation).startswith("list")
    return query.getlist(name) if listed else query[name]


def _summary(faults: Sequence[Any]) -> InvalidInput:
    """The first fault as the sentence of the whole problem."""
    first = faults[0]
    more = f" ({len(faults) - 1} more below)" if len(faults) > 1 else ""
    return InvalidInput(f"{first.pointer}: {first.message}{more}")
