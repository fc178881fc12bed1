"""What a replica adds around its application, without Ray."""

import asyncio
import logging
from typing import Any

import pytest

from cluster.serving.asgi import Quiet
from services.http.app import build
from tests.services.asking import Narrow, failing, send


def test_a_failure_is_one_record_with_its_traceback_and_the_id_is_left_to_ray_serve(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app: Any = Quiet(build(Narrow, failing(RuntimeError("It broke."))))
    with caplog.at_level(logging.INFO):
        answer = send(app, {"inputs": [{"x": 1, "y": 2}]}, x_request_id="mine")
    assert (answer.status_code, "X-Request-ID" in answer.headers) == (500, False)
    assert answer.json()["request_id"] == "mine"
    (record,) = (record for record in caplog.records if record.name.startswith("ray"))
    assert record.getMessage() == "request mine failed"
    assert isinstance(record.exc_info, tuple)
    assert isinstance(record.exc_info[1], RuntimeError)


def test_a_failure_after_the_reply_began_is_a_record_with_the_id_of_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-request-id", b"mine")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise RuntimeError("It broke half way.")

    async def send(message: Any) -> None:
        assert message["headers"] == []

    with caplog.at_level(logging.INFO):
        asyncio.run(Quiet(broken)({}, None, send))
    (record,) = (record for record in caplog.records if record.name.startswith("ray"))
    assert record.getMessage() == "request mine failed after its reply began"
    assert "It broke half way." in str(record.exc_info)


def test_an_error_that_nobody_answered_is_raised() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("It broke.")

    with pytest.raises(RuntimeError, match="It broke"):
        asyncio.run(Quiet(broken)({}, None, None))
