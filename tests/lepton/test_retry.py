"""Retries: which failures, how often, how long between them, and never past the deadline."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton import Backoff, ConnectError, InvalidInput, RateLimited, TimedOut, Unavailable
from lepton._retry import retry_after_s
from tests.lepton.toy import Answer, Time, Toy, problem

TEXT = "good"


def busy(retry_after: str, status: int = 503) -> httpx.Response:
    return httpx.Response(status, headers={"Retry-After": retry_after})


@pytest.mark.parametrize(
    "answer",
    [
        problem(429),
        problem(502),
        problem(503),
        problem(504),
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=repr,
)
def test_what_may_pass_is_asked_again(answer: Answer) -> None:
    toy, time = Toy(answers=[answer]), Time()
    assert toy.client(backoff=time.backoff()).nlp.classify(text=TEXT).label == "boot"
    assert time.waits == [0.125]


@pytest.mark.parametrize("status", [400, 404, 413, 422, 500])
def test_what_will_not_pass_is_asked_once(status: int) -> None:
    toy, time = Toy(answers=[problem(status)]), Time()
    with pytest.raises(Exception, match="It is wrong"):
        toy.client(backoff=time.backoff()).nlp.classify(text=TEXT)
    assert time.waits == []


def test_waits_grow_twofold_and_the_last_error_is_raised() -> None:
    toy, time = Toy(answers=[problem(503, f"try {n}") for n in range(9)]), Time()
    with pytest.raises(Unavailable, match="try 3"):
        toy.client(backoff=time.backoff(), retries=3).nlp.classify(text=TEXT)
    assert time.waits == [0.125, 0.25, 0.5]


def test_no_retries_means_one_try() -> None:
    toy, time = Toy(answers=[problem(503)]), Time()
    with pytest.raises(Unavailable):
        toy.client(backoff=time.backoff(), retries=0).nlp.classify(text=TEXT)
    assert len(toy.predictions()) == 1


def test_the_server_may_ask_for_a_longer_wait() -> None:
    toy, time = Toy(answers=[busy("7"), problem(429, retry_after_s=2)]), Time()
    toy.client(backoff=time.backoff()).nlp.classify(text=TEXT)
    assert time.waits == [7.125, 2.25]


def test_a_wait_past_the_deadline_is_not_begun() -> None:
    toy, time = Toy(answers=[busy("60", 429)]), Time()
    with pytest.raises(RateLimited) as caught:
        toy.client(backoff=time.backoff(), timeout_s=30).nlp.classify(text=TEXT)
    assert time.waits == []
    assert caught.value.retry_after_s == 60


def test_all_tries_share_one_deadline() -> None:
    toy, time = Toy(answers=[busy("4") for _ in range(99)]), Time()
    with pytest.raises(Unavailable):
        toy.client(backoff=time.backoff(), timeout_s=10, retries=99).nlp.classify(text=TEXT)
    assert time.now_s < 10
    timeouts = [r.extensions["timeout"]["read"] for r in toy.asked if r.method == "POST"]
    assert timeouts == pytest.approx([10, 10 - 4.125, 10 - 4.125 - 4.25])


def test_an_answer_that_does_not_come_is_no_reason_to_ask_again() -> None:
    toy, time = Toy(answers=[httpx.ReadTimeout("slow")]), Time()
    with pytest.raises(TimedOut, match=r"POST /v1/nlp/classify within 30 s\. Allow more") as caught:
        toy.client(backoff=time.backoff()).nlp.classify(text=TEXT)
    assert isinstance(caught.value, TimeoutError)
    assert time.waits == []


def test_a_broken_connection_says_what_to_look_for() -> None:
    toy = Toy(answers=[httpx.ReadError("reset")])
    with pytest.raises(ConnectError, match=r"broke before POST .* look for request [0-9a-f]{32}"):
        toy.client(retries=0).nlp.classify(text=TEXT)


def test_tries_of_one_request_share_its_id() -> None:
    toy, time = Toy(answers=[problem(503), problem(503)]), Time()
    toy.client(backoff=time.backoff()).nlp.classify(text=TEXT)
    assert len({r.headers["X-Request-ID"] for r in toy.asked if r.method == "POST"}) == 1


def test_the_async_client_waits_the_same_way() -> None:
    toy, time = Toy(answers=[busy("7")]), Time()

    async def ask() -> None:
        async with toy.async_client(backoff=time.backoff()) as client:
            await client.nlp.classify(text=TEXT)

    asyncio.run(ask())
    assert time.waits == [7.125]


def test_the_async_client_really_waits_by_default() -> None:
    toy = Toy(answers=[problem(503), problem(422)])

    async def ask() -> None:
        async with toy.async_client(backoff=Backoff(base_s=0.001)) as client:
            await client.nlp.classify(text=TEXT)

    with pytest.raises(InvalidInput):
        asyncio.run(ask())


@given(st.integers(0, 5000), st.floats(0, 1, exclude_max=True), st.floats(0, 3600))
def test_a_wait_is_never_shorter_than_asked_nor_much_longer(
    attempt: int, chance: float, asked_s: float
) -> None:
    wait_s = Backoff(random=lambda: chance).wait_s(attempt, at_least_s=asked_s)
    assert asked_s <= wait_s <= asked_s + 8


@given(st.integers(0, 10**6))
def test_a_date_means_the_seconds_until_then(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    assert retry_after_s(date, now_s=0) == seconds
    assert retry_after_s(str(seconds), now_s=0) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("soon", None),
        ("-3", None),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:03:00 -0000", 80),
    ],
)
def test_odd_headers_do_no_harm(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now_s=100) == seconds
