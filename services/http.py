"""Share what every HTTP answer has: request ids, limits, problems as RFC 9457 writes them."""

import logging
import re
import uuid
from collections.abc import MutableMapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.errors import InvalidInput, LeptonError, TooLarge
from lepton.wire import PROBLEM_MEDIA_TYPE, PROBLEM_TYPE, REQUEST_ID_HEADER, Fault, Problem

log = logging.getLogger("ray.serve.lepton")  # so that `services logs` finds it

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_FAULTS = 10
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


def problem(request: Request, error: LeptonError, faults: Sequence[Fault] = ()) -> Response:
    """An error of ours as problem+json."""
    if error.pointer and not faults:
        faults = [
            Fault(
                pointer=error.pointer,
                message=error.message,
                limit=error.limit,
                actual=error.actual,
            )
        ]
    return _problem(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=str(error),
        faults=faults,
        retry_after_s=error.retry_after_s,
    )


def _problem(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    faults: Sequence[Fault] = (),
    retry_after_s: float | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    number = request_id(request.scope)
    body = Problem(
        type=PROBLEM_TYPE + code,
        title=title,
        status=status,
        detail=detail,
        instance=f"urn:lepton:request:{number}",
        code=code,
        request_id=number,
        errors=list(faults),
        retry_after_s=retry_after_s,
    )
    sent = {**(headers or {}), REQUEST_ID_HEADER: number}
    if retry_after_s is not None:
        sent["Retry-After"] = str(max(1, round(retry_after_s)))
    text = body.model_dump_json(exclude_none=True)
    return Response(text, status, sent, PROBLEM_MEDIA_TYPE)


async def lepton_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for errors that we raised."""
    assert isinstance(error, LeptonError)  # noqa: S101 - registered for this type alone
    return problem(request, error)


async def http_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for what routing refuses: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    allowed = (error.headers or {}).get("Allow", "")
    here = f"{request.method} {request.url.path}"
    detail = f"{here} is not allowed. Use {allowed}." if allowed else f"{here} does not exist."
    code = "method-not-allowed" if allowed else "not-found"
    return _problem(
        request,
        status=error.status_code,
        code=code,
        title=TITLES.get(error.status_code, "The request was refused"),
        detail=detail,
        headers=dict(error.headers or {}),
    )


async def bug_problem(request: Request, error: Exception) -> Response:
    """Starlette's handler for what nobody foresaw: the log has it, the caller gets its id."""
    log.error("request %s failed", request_id(request.scope), exc_info=error)
    return problem(
        request,
        LeptonError(
            "The server failed on this request.",
            hint="Try again; if it stays so, report it with the request id.",
        ),
    )


HANDLERS = {LeptonError: lepton_problem, HTTPException: http_problem, Exception: bug_problem}


def faults_of(error: ValidationError) -> list[Fault]:
    """What pydantic found, without the values, which may be large or private."""
    faults = []
    for found in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]:
        cause = found.get("ctx", {}).get("error")
        own = cause if isinstance(cause, InvalidInput) else None
        faults.append(
            Fault(
                pointer=_pointer(found["loc"]),
                message=str(own or found["msg"]),
                limit=own.limit if own else None,
                actual=own.actual if own else None,
            )
        )
    return faults


def _pointer(place: tuple[str | int, ...]) -> str:
    """Where a fault stands as a JSON pointer (RFC 6901); names that callers made up are cut."""
    parts = (str(part)[:64].replace("~", "~0").replace("/", "~1") for part in place)
    return "/".join(("/inputs", *parts))


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
            pointer="",
            limit=self.limit,
            actual=size,
        )
