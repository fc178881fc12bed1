"""Errors: one class per status, and a sentence that helps, whoever answered."""

import copy

import httpx
import pytest

from lepton import (
    APIStatusError,
    BadRequest,
    Client,
    ConnectError,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    LeptonError,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    ServerError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnsupportedMedia,
)
from tests.lepton.toy import Answer, Toy, problem


def raised(answer: Answer) -> LeptonError:
    with pytest.raises(LeptonError) as caught:
        Toy(answers=[answer]).client(retries=0).nlp.classify(text="good")
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (405, MethodNotAllowed),
        (413, TooLarge),
        (415, UnsupportedMedia),
        (418, APIStatusError),
        (422, InvalidInput),
        (429, RateLimited),
        (500, ServerError),
        (502, ServerError),
        (503, Unavailable),
        (504, DeadlineExceeded),
    ],
)
def test_every_status_has_its_class(status: int, kind: type[APIStatusError]) -> None:
    for answer in (problem(status), httpx.Response(status, text="upstream says no")):
        error = raised(answer)
        assert type(error) is kind
        assert isinstance(error, APIStatusError)
        assert error.status == status


def test_a_problem_says_everything_it_was_told() -> None:
    faults = [{"pointer": "/inputs/0/top_k", "message": "is over 10", "limit": 10, "actual": 99}]
    error = raised(problem(422, "top_k is 99. Give 10 or less.", errors=faults))
    assert isinstance(error, APIStatusError)
    assert (error.code, error.request_id) == ("some-code", "r1")
    assert (error.errors[0].limit, error.errors[0].actual) == (10, 99)
    assert str(error) == ("top_k is 99. Give 10 or less.; /inputs/0/top_k: is over 10 (request r1)")


def test_many_faults_are_cut_short() -> None:
    faults = [{"pointer": f"/inputs/{i}/text", "message": f"is wrong {i}"} for i in range(5)]
    assert "; and 2 more (request r1)" in str(raised(problem(422, errors=faults)))


@pytest.mark.parametrize("status", [404, 500, 503])
@pytest.mark.parametrize(
    "answer",
    [
        {"text": "no healthy upstream"},
        {"json": {"detail": "no healthy upstream"}},
        {"html": "<html>no healthy upstream</html>"},
        {
            "content": b"no healthy upstream",
            "headers": {"Content-Type": "application/problem+json"},
        },
    ],
)
def test_a_bare_answer_of_a_proxy_is_put_into_words(status: int, answer: dict[str, str]) -> None:
    error = raised(httpx.Response(status, **answer))  # type: ignore[arg-type]
    assert isinstance(error, APIStatusError)
    assert f"POST http://toy/v1/nlp/classify was answered {status}" in error.detail
    assert "not by Lepton itself" in error.detail
    assert "no healthy upstream" in error.detail
    assert error.code == f"http-{status}"
    assert len(error.request_id) == 32


def test_an_answer_without_words_still_says_what_to_do() -> None:
    assert "Check the url, and any proxy before it." in str(raised(httpx.Response(502)))


def test_a_long_page_is_cut_short() -> None:
    assert len(str(raised(httpx.Response(500, text="x" * 10_000)))) < 500


def test_a_redirect_says_where_to() -> None:
    error = raised(httpx.Response(308, headers={"Location": "https://toy/v1/nlp/classify"}))
    assert "points to https://toy/v1/nlp/classify" in str(error)


@pytest.mark.parametrize("body", ["<html>Hello</html>", "{}", ""])
def test_a_success_of_something_else_asks_what_listens_there(body: str) -> None:
    error = raised(httpx.Response(200, text=body))
    assert isinstance(error, UnexpectedAnswer)
    assert "does something else listen there?" in str(error)


def test_when_nobody_answers_it_says_how_to_start_one() -> None:
    error = raised(httpx.ConnectError("[Errno 111] Connection refused"))
    assert isinstance(error, ConnectError)
    assert isinstance(error, ConnectionError)
    assert str(error) == (
        "No Lepton answers at http://toy. Is it running? Start it with "
        "`python -m services up`. ([Errno 111] Connection refused)"
    )


def test_a_bare_503_is_no_readiness() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(503, text="no healthy upstream"))
    with pytest.raises(Unavailable, match="no healthy upstream"):
        Client("http://toy", transport=transport).ready()


def test_errors_can_be_copied() -> None:
    error = raised(problem(422))
    assert str(copy.copy(error)) == str(error)
