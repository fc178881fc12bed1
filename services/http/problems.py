"""Share what every HTTP answer has: request ids, limits, problems as RFC 9457 writes them."""

import asyncio
import logging
import re
import uuid
import zlib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.base.errors import InvalidInput, LeptonError, Malformed, TooLarge, UnsupportedMedia
from cluster.base.faults import faults, together
from cluster.serving.asgi import LOGGED
from lepton.wire import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE, REQUEST_ID_HEADER, Fault, Problem

log = logging.getLogger("ray.serve.lepton")  # so that `services logs` finds it

NOT_FINITE = re.compile(r"(?P<word>NaN|Infinity)|-?[\d.eE+]+")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FAULTS_TOLD = 10
JSON_MEDIA = {"application/json", "application/x-www-form-urlencoded", ""}  # what curl -d says
GZIP = zlib.MAX_WBITS | 16  # the window and the header of gzip
PIECE_BYTES = 4_096  # of gzip that are unpacked at a time
BIG_BODY = 65_536  # bytes; reading more than that is left to a thread
Shape = TypeVar("Shape", bound=BaseModel)
PATH_SHOWN = 200  # characters
TITLES = {405: "The method is not allowed here", 404: "There is nothing by that name"}


def request_id(scope: MutableMapping[str, Any]) -> str:
    """The id of a request: the caller's, if it is plain enough, or a new one."""
    if known := scope.get("lepton.request_id"):
        return str(known)
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    scope["lepton.request_id"] = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(scope["lepton.request_id"])


def json_response(content: Any, request: Request, *, status: int = 200) -> Response:
    """Plain data, or bytes that are JSON already, as an answer that carries its request's id."""
    body = content if isinstance(content, bytes) else orjson.dumps(content)
    return Response(
        body, status, {REQUEST_ID_HEADER: request_id(request.scope)}, "application/json"
    )


def problem(request: Request, error: LeptonError) -> Response:
    """An error of ours as problem+json, with each of its faults."""
    found = error.parts or [error] * (bool(error.pointer) or error.limit is not None)
    return _problem(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        errors=[
            Fault(pointer=one.pointer, message=str(one), limit=one.limit, actual=one.actual)
            for one in found[:FAULTS_TOLD]
        ],
        retry_after_s=error.retry_after_s,
    )


def invalid(
    request: Request, error: ValidationError, model: type[BaseModel], root: str = "/inputs"
) -> Response:
    """What is wrong with the inputs of a request; the first fault is the sentence of all."""
    return problem(request, together(faults(error, model, root)))


def _problem(
    request: Request, *, headers: Mapping[str, str] | None = None, **said: Any
) -> Response:
    number = request_id(request.scope)
    body = Problem(
        type=PROBLEM_TYPE + said["code"],
        instance=f"urn:lepton:request:{number}",
        request_id=number,
        **said,
    )
    sent = {**(headers or {}), REQUEST_ID_HEADER: number}
    if body.retry_after_s is not None:
        sent["Retry-After"] = str(max(1, round(body.retry_after_s)))
    return Response(body.model_dump_json(exclude_none=True), body.status, sent, PROBLEM_MEDIA_TYPE)


async def read_body(request: Request) -> bytes:
    """The body of a request, unpacked if it is gzip; the limit of `Edge` holds for both.

    Raises:
        UnsupportedMedia: it is packed in another way.
        Malformed: it is no gzip, or only a part.
        TooLarge: it is too long.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip", ""}:
        raise UnsupportedMedia(
            f"The content encoding {coding[:80]!r} is not read here.",
            hint="Send the body as it is, or as gzip.",
        )
    body = await request.body()
    if coding in {"identity", ""}:
        return body
    return await asyncio.to_thread(_unpacked, body, request.scope.get("lepton.limit", len(body)))


def _unpacked(body: bytes, limit: int) -> bytes:
    """Unpack gzip, which may have several members, as far as the limit."""
    unpacked, at, member = bytearray(), 0, zlib.decompressobj(GZIP)
    try:
        while at < len(body):
            if member.eof:
                member = zlib.decompressobj(GZIP)
            # in pieces: a member copies what follows it, and a body may have a million of them
            piece = body[at : at + PIECE_BYTES]
            unpacked += member.decompress(piece, limit + 1 - len(unpacked))
            if len(unpacked) > limit:
                raise TooLarge(
                    f"The body has more than {limit:,} bytes when it is unpacked, which is the "
                    "limit.",
                    hint="Send fewer inputs at a time, or smaller ones.",
                    limit=limit,
                )
            at += len(piece) - len(member.unused_data)
    except zlib.error as error:
        raise Malformed(f"The body is no gzip: {error}.", hint="Send it as it is.") from None
    if not member.eof:
        raise Malformed("The gzip of the body breaks off.", hint="Send all of it.")
    return bytes(unpacked)


async def json_content(request: Request) -> Any:
    """The body of a request, which must be JSON.

    Raises:
        LeptonError: it is of another type or too long, or it is none.
    """
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind not in JSON_MEDIA:
        raise UnsupportedMedia(
            f"The content type {kind[:80]!r} is not read here.", hint="Send application/json."
        )
    body = await read_body(request)
    try:
        if len(body) > BIG_BODY:
            return await asyncio.to_thread(orjson.loads, body)
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise not_json(error) from None


def not_json(error: orjson.JSONDecodeError, hint: str = "") -> Malformed:
    """What keeps a body from being JSON: NaN and infinity by the words that any other door has."""
    found = NOT_FINITE.match(error.doc, error.pos)
    if found and (found["word"] or error.msg.startswith("number is infinity")):
        place = f"line {error.lineno} column {error.colno}"
        return Malformed(
            f"The body is not JSON: {found[0][:40]} at {place} is not a finite number.",
            hint=hint or "Leave the field out, or give a number.",
        )
    return Malformed(f"The body is not JSON: {error}.", hint=hint)


def shaped(content: Any, shape: type[Shape]) -> Shape:
    """Plain data in the shape that is taken, as strict as the published schema.

    Raises:
        InvalidInput: it has another; the parts say where.
    """
    if not isinstance(content, dict):
        raise InvalidInput("The body is no JSON object.", hint=_like(shape))
    try:
        return shape.model_validate(content, strict=True)
    except ValidationError as error:
        raise together(faults(error, shape)) from None


def _like(shape: type[BaseModel]) -> str:
    return f"Its fields are: {', '.join(shape.model_fields)}."


async def lepton_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for errors that we raised."""
    assert isinstance(error, LeptonError)  # noqa: S101 - registered for this type alone
    return problem(request, error)


async def http_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for what routing refuses: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    allowed = headers.get("Allow")
    if allowed and request.method == "OPTIONS":
        number = {REQUEST_ID_HEADER: request_id(request.scope)}
        return Response(status_code=204, headers={"Allow": f"{allowed}, OPTIONS", **number})
    path = request.url.path.rstrip("/") or "/"  # Edge added the slash, not the caller
    here = f"{request.method} {path[:PATH_SHOWN]}"
    detail = f"{here} is not allowed. Use {allowed}." if allowed else f"{here} does not exist."
    code = "method-not-allowed" if allowed else "not-found"
    return _problem(
        request,
        status=error.status_code,
        code=code,
        title=TITLES.get(error.status_code, "The request was refused"),
        detail=detail,
        headers=headers,
    )


async def bug_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for what nobody foresaw: the log has it, the caller gets its id."""
    log.error("request %s failed", request_id(request.scope), exc_info=error)
    request.scope[LOGGED] = error
    return problem(
        request,
        LeptonError(
            "The server failed on this request.",
            hint="Try again; if it stays so, report it with the request id.",
        ),
    )


async def gone(request: Request, error: Exception) -> Response:
    """Starlette's handler for a caller that hung up before the body was there: nobody hears it."""
    del request, error
    return Response(status_code=499)


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """What lets pages of these origins ask; nothing where there are none."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[
                REQUEST_ID_HEADER,
                "Retry-After",
                "X-Lepton-Behind",
                "X-Lepton-Version",
            ],
            max_age=600,
        )
    ]


HANDLERS = {
    LeptonError: lepton_problem,
    HTTPException: http_problem,
    ClientDisconnect: gone,
    Exception: bug_problem,
}


class Edge:
    """Refuse a body over the limit when it is announced or, if it was not, when it gets there.

    Ray Serve gives an application that stands at `/v1/vision/classify` an empty path for requests
    to just that; Starlette would answer with a redirect, so the path is made `/`.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self.app = app
        self.limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what comes in."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == scope.get("root_path"):
            scope = {**scope, "path": scope["path"] + "/"}
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.limit:
            answer = problem(Request(scope), self._too_large(int(announced)))
            await answer(scope, receive, send)
            return
        scope["lepton.limit"] = self.limit
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                raise self._too_large(seen)
            return message

        await self.app(scope, counted, send)

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"The body has {size:,} bytes; the limit is {self.limit:,}.",
            hint="Send fewer inputs at a time, or smaller ones.",
            limit=self.limit,
            actual=size,
        )
