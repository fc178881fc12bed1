"""Serve one capability over HTTP: read and validate inputs, answer, or report the errors."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cluster.base.errors import InvalidInput, Malformed, TooLarge, UnsupportedMedia
from cluster.base.faults import faults, refuse_infinite, together
from cluster.contract.keys import naming_of, shapes_of
from cluster.contract.task import AnyTask
from cluster.serving.answering import Answer
from services.http.answers import Answers
from services.http.problems import (
    BIG_BODY,
    HANDLERS,
    JSON_MEDIA,
    Edge,
    cross_origin,
    invalid,
    json_response,
    not_json,
    read_body,
)

CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";\0]+)', re.IGNORECASE)
SLOW_CHARSETS = {"idna", "punycode"}  # decoding takes the square of the length


def build(
    task: type[AnyTask],
    answer: Answer,
    version: Callable[[], int] = lambda: 0,
    *,
    origins: Sequence[str] = (),
) -> Starlette:
    """The application of one capability; it stands at the capability's own path.

    POST answers inputs, GET says which version does.

    Args:
        task: whose inputs are read.
        answer: batches and predicts.
        version: says which version answers.
        origins: whose pages may ask.
    """
    reader = InputReader(task)
    answers = Answers(task)

    async def respond(request: Request) -> Response:
        if request.method != "POST":
            return json_response({"model": task.name(), "version": str(version())}, request)
        try:
            inputs = await reader.read(request)
        except ValidationError as error:
            return invalid(request, error, task.Input)
        field = answers.file_wanted(request.headers.get("accept", ""), len(inputs))
        said = await answer(inputs)
        return await answers.written(said, field, request)

    return Starlette(
        routes=[Route("/", respond, methods=["GET", "POST"])],
        middleware=[*cross_origin(origins), Middleware(Edge, task.serving.max_body_bytes)],
        exception_handlers=HANDLERS,
    )


def _row_of(fault: InvalidInput) -> int:
    """The number of the row that a fault points into; before all others if it points at none."""
    number = [*fault.pointer.split("/"), "", "", ""][2]
    return int(number) if number.isdecimal() else -1


class InputReader:
    """Reads the inputs of a request in each of the forms that a capability takes."""

    def __init__(self, task: type[AnyTask]) -> None:
        self.task = task
        self.naming = naming_of(task)
        # made once: making one takes a hundred times as long as reading a request with it
        self.shapes = [(shape, TypeAdapter(list[shape])) for shape in shapes_of(task)]  # type: ignore[valid-type]
        self.rows = self.shapes[0][1]
        self.field, self.media = raw_input(task)

    async def read(self, request: Request) -> list[Any]:
        """The inputs of a request.

        Raises:
            LeptonError: the body is of another type, too long, or cannot be read.
            ValidationError: an input breaks a type, a bound or a limit.
        """
        body = await read_body(request)
        kind = request.headers.get("content-type", "application/json")
        media = kind.split(";")[0].strip().lower()
        read = self._json if media in JSON_MEDIA else self._raw
        charset = found[1] if (found := CHARSET.search(kind)) else "utf-8"
        if len(body) > BIG_BODY:
            return await asyncio.to_thread(read, body, media, charset, request.query_params)
        return read(body, media, charset, request.query_params)

    def _json(self, body: bytes, media: str, charset: str, query: QueryParams) -> list[Any]:
        if charset.lower() not in {"utf-8", "utf8", "us-ascii"}:
            raise UnsupportedMedia(
                f"The charset {charset[:80]!r} is not read in {media}.", hint="JSON is UTF-8."
            )
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            own = f" Name another content type, such as {self.media}." * bool(self.media)
            raise not_json(error, hint=self._example() + own) from None
        if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
            raise InvalidInput('The body has no list "inputs".', hint=self._example())
        if unknown := content.keys() - {"inputs"}:
            raise InvalidInput(
                f'The body has {", ".join(sorted(unknown))[:200]!r} beside "inputs".',
                hint="Options belong into each input.",
            )
        if query:
            raise InvalidInput(
                f"The query has {', '.join(query.keys())[:200]!r}, but the body is JSON.",
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
        # as strict as the published schema: "5" and true are no numbers. Pydantic is that only
        # where it reads JSON itself; orjson, before it, keeps out NaN and more rows than allowed
        return self._validated(content["inputs"])

    def _validated(self, rows: list[Any]) -> list[Any]:
        """Rows of Input and of Keys, in their order."""
        if self.naming is None:
            return self.rows.validate_json(orjson.dumps(rows), strict=True)
        sent, named, found = list[int](), list[int](), list[InvalidInput]()
        for number, row in enumerate(rows):
            if fault := self.naming.fault(row, f"/inputs/{number}"):
                found.append(fault)
            else:
                (named if self.naming.is_keyed(row) else sent).append(number)
        checked: dict[int, Any] = {}
        for numbers, (shape, adapter) in zip((sent, named), self.shapes, strict=True):
            part = orjson.dumps([rows[number] for number in numbers])
            try:
                validated = adapter.validate_json(part, strict=True) if numbers else ()
            except ValidationError as error:
                found += faults(error, shape, "/inputs", numbers=numbers)
            else:
                checked.update(zip(numbers, validated, strict=True))
        if found:
            raise together(sorted(found, key=_row_of))
        return [checked[number] for number in range(len(rows))]

    def _raw(self, body: bytes, media: str, charset: str, query: QueryParams) -> list[Any]:
        family = media.split("/", maxsplit=1)[0] + "/*"
        if self.media not in {media, family}:
            accepted = " or ".join(filter(None, ["application/json", self.media]))
            raise UnsupportedMedia(
                f"The content type {media[:80]!r} is not read here.", hint=f"Send {accepted}."
            )
        value = _no_json(_text(body, charset)) if self.media == "text/plain" else body
        options = {name: _option(self.task, name, query) for name in query}
        rows = self.rows.validate_python([{**options, self.field: value}])
        refuse_infinite(rows)
        return rows

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


def _text(body: bytes, charset: str) -> str:
    unknown = UnsupportedMedia(
        f"The charset {charset[:80]!r} is not read here.", hint="Send the text as UTF-8."
    )
    if charset.lower() in SLOW_CHARSETS:
        raise unknown
    try:
        return body.decode(charset)
    except LookupError:
        raise unknown from None
    except UnicodeError as error:
        broken = f": byte {error.start} breaks it" if isinstance(error, UnicodeDecodeError) else ""
        raise Malformed(
            f"The text is not {charset[:80].upper()}{broken}.", hint="Encode it as UTF-8."
        ) from None


def _no_json(text: str) -> str:
    """The text, unless it is a request in JSON, which browsers send as plain text."""
    if text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}:
        with suppress(orjson.JSONDecodeError):
            content = orjson.loads(text.strip("\ufeff \t\r\n"))
            rows = content if isinstance(content, list) else [content]
            if any(isinstance(row, dict) for row in rows):
                raise UnsupportedMedia(
                    "The content type is 'text/plain', but the body is JSON.",
                    hint="Send application/json.",
                )
    return text


def _option(task: type[AnyTask], name: str, query: QueryParams) -> object:
    """A query parameter, as a list where the field is one."""
    field = task.Input.model_fields.get(name)
    listed = field is not None and str(field.annotation).startswith("list")
    return query.getlist(name) if listed else query[name]
