"""Read what came back: the shape that was asked for, or else the problem, in words."""

import re
from typing import TypeVar

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from lepton._retry import retry_after_s
from lepton.errors import UnexpectedAnswer, status_error
from lepton.wire import PROBLEM_MEDIA_TYPE, REQUEST_ID_HEADER, Problem

Shape = TypeVar("Shape", bound=BaseModel)

TEXT_SHOWN = 200


def read(response: httpx.Response, shape: type[Shape], *, now_s: float) -> Shape:
    """The body of an answer in the shape that was asked for.

    Args:
        response: the answer.
        shape: what a success holds.
        now_s: the present, in seconds since 1970, for a ``Retry-After`` that names a date.

    Raises:
        APIStatusError: the answer is an error.
        UnexpectedAnswer: the answer is a success, but not in that shape.
    """
    if not response.is_success:
        raise status_error(problem_of(response, now_s=now_s))
    try:
        return shape.model_validate_json(response.content)
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"{response.request.url} answered {response.status_code}, but not with what Lepton "
            f"sends there: {_shown(response.text)!r}. Check the url: does something else listen "
            "there?"
        ) from error


def problem_of(response: httpx.Response, *, now_s: float) -> Problem:
    """The problem in an error answer; for a bare one, as proxies send it, one is made up."""
    bare = _bare(response)
    try:
        problem = Problem.model_validate(bare | _said(response) | {"status": response.status_code})
    except ValidationError:
        problem = Problem.model_validate(bare)
    header_s = retry_after_s(response.headers.get("Retry-After"), now_s=now_s)
    return problem if header_s is None else problem.model_copy(update={"retry_after_s": header_s})


def counted_from(first: int, problem: Problem) -> Problem:
    """The same problem, with pointers that count the caller's inputs instead of one chunk's."""

    def moved(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) + first}"

    errors = [
        fault.model_copy(
            update={"pointer": re.sub(r"^(#?/(?:inputs|keys)/)(\d+)", moved, fault.pointer)}
        )
        for fault in problem.errors
    ]
    return problem.model_copy(update={"errors": errors})


def _said(response: httpx.Response) -> dict[str, JsonValue]:
    if not response.headers.get("Content-Type", "").startswith(PROBLEM_MEDIA_TYPE):
        return {}
    try:
        body: JsonValue = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _bare(response: httpx.Response) -> dict[str, JsonValue]:
    status, phrase = response.status_code, response.reason_phrase
    said = f": {_shown(response.text)!r}" if response.text else ""
    to = f" and points to {response.headers['Location']}" if "Location" in response.headers else ""
    return {
        "title": phrase,
        "status": status,
        "detail": (
            f"{response.request.method} {response.request.url} was answered {status} {phrase}{to}, "
            f"but not by Lepton itself{said}. Check the url, and any proxy before it."
        ),
        "code": f"http-{status}",
        "request_id": response.request.headers.get(REQUEST_ID_HEADER, ""),
    }


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}..."
