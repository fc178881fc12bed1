"""What every HTTP answer has: an id, limits on what comes in, problems that say what was wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette

from cluster.base.errors import NotEnough, Unavailable
from services.http.app import build
from services.local import catalog
from tests.services.asking import LIMIT, Heard, Narrow, failing, send
from tests.support import ask, problem
from tests.toy import Side


@pytest.mark.parametrize("given", ["abc-1.2_Z", "7" * 64])
def test_a_plain_request_id_is_kept(toy: Starlette, given: str) -> None:
    answer = send(toy, {"inputs": [{"x": 1, "y": 2}]}, x_request_id=given)
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == given
    assert problem(send(toy, b"", x_request_id=given), 400).request_id == given


@pytest.mark.parametrize("given", ["", "7" * 65, "a b", "<script>", "a/b"])
def test_an_odd_request_id_is_replaced(toy: Starlette, given: str) -> None:
    made = send(toy, {"inputs": [{"x": 1, "y": 2}]}, x_request_id=given).headers["X-Request-ID"]
    assert made != given
    assert len(made) == 32


def test_each_fault_has_a_pointer_and_the_first_is_the_sentence(toy: Starlette) -> None:
    content = {"inputs": [{"x": 1, "y": 2}, {"x": "far"}]}
    found = problem(send(toy, content), 422)
    assert [fault.pointer for fault in found.errors] == ["/inputs/1/x", "/inputs/1/y"]
    assert found.detail == "/inputs/1/x: x is 'far'; it must be a number. (and 1 more fault)"
    assert found.errors[1].message == "y is missing; it is required."


def test_many_faults_are_counted_and_the_first_ten_told(toy: Starlette) -> None:
    found = problem(send(toy, {"inputs": [{}, {"x": None, "y": []}, 3]}), 422)
    assert found.detail.endswith("(and 4 more faults)")
    found = problem(send(build(Side, Heard()), {"inputs": [{}] * 40}), 422)
    assert found.detail.endswith("(and 79 more faults)")
    assert len(found.errors) == 10


@pytest.mark.parametrize(
    ("field", "value", "sentence", "bound"),
    [
        ("topk", 3, "There is no field 'topk'. Did you mean 'top_k'?", (None, None)),
        ("top_k", 0, "top_k is 0; it must be greater than or equal to 1.", (1, 0)),
        ("top_k", "5", "top_k is '5'; it must be a whole number.", (None, None)),
        ("top_k", True, "top_k is true; it must be a whole number.", (None, None)),
        ("text", "x" * 60, "text has 60 characters; the limit is 50.", (50, 60)),
        ("text", 42, "text is 42; it must be a string.", (None, None)),
        ("exclude", ["a"] * 4, "exclude has 4 elements; the limit is 3.", (3, 4)),
    ],
)
def test_a_fault_says_what_was_wrong_the_limit_and_the_value(
    reads: Starlette, field: str, value: Any, sentence: str, bound: tuple[Any, Any]
) -> None:
    found = problem(send(reads, {"inputs": [{"text": "a", field: value}]}), 422)
    assert found.detail == f"/inputs/0/{field}: {sentence}"
    (fault,) = found.errors
    assert (fault.message, (fault.limit, fault.actual)) == (sentence, bound)


def test_of_a_long_list_the_first_fault_is_told(heard: Heard) -> None:
    app = build(catalog.find("recsys.recommend"), heard)
    found = problem(send(app, {"inputs": [{"items": [""] * 9_000}]}), 422)
    assert [fault.pointer for fault in found.errors] == ["/inputs/0/items/0"]


def test_a_pointer_is_a_json_pointer_whatever_the_caller_calls_a_field(reads: Starlette) -> None:
    odd = problem(send(reads, {"inputs": [{"text": "a", "a/b~c": 1}]}), 422)
    assert [fault.pointer for fault in odd.errors] == ["/inputs/0/a~1b~0c"]
    long = problem(send(reads, {"inputs": [{"text": "a", "z" * 15_000: 1}]}), 422)
    assert len(long.errors[0].pointer) < 100


def test_a_body_that_is_announced_too_long_is_refused_before_it_comes(toy: Starlette) -> None:
    found = problem(send(toy, b"{}", content_length="99999999999"), 413)
    assert "The body has 99,999,999,999 bytes; the limit is 20,000." in found.detail
    assert (found.errors[0].limit, found.errors[0].actual) == (LIMIT, 99_999_999_999)


def test_a_body_that_grows_too_long_is_refused_when_it_does(toy: Starlette) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1_000
            yield b"x" * 1_000

    found = problem(ask(toy, "POST", "/", pieces(), content_type="application/json"), 413)
    assert "the limit is 20,000" in found.detail
    body = b'{"inputs": [{"x": 1, "y": 2}]}'
    assert send(toy, body + b" " * (LIMIT - len(body))).status_code == 200
    assert send(toy, body + b" " * (LIMIT - len(body) + 1)).status_code == 413


def test_options_says_which_methods_are_allowed(toy: Starlette) -> None:
    answer = ask(toy, "OPTIONS", "/")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_only_pages_of_the_origins_that_are_set_may_ask(toy: Starlette, heard: Heard) -> None:
    body, shop = {"inputs": [{"x": 1, "y": 2}]}, "https://shop.example"
    assert "Access-Control-Allow-Origin" not in send(toy, body, origin=shop).headers
    open_to = build(Narrow, heard, origins=[shop])
    answer = send(open_to, body, origin=shop)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, shop)
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]
    assert problem(send(open_to, b"{", origin=shop), 400)
    asked: Any = {"access_control_request_method": "POST"}
    asked["access_control_request_headers"] = "content-type"
    allowed = ask(open_to, "OPTIONS", "/", origin=shop, **asked)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == shop
    assert ask(open_to, "OPTIONS", "/", origin="https://other.example", **asked).status_code == 400


def test_a_caller_that_hangs_up_before_its_body_is_there_is_no_error(
    toy: Starlette, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def keep(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    asyncio.run(toy({**scope, "query_string": b"", "http_version": "1.1"}, receive, keep))
    assert (sent[0]["status"], heard.inputs, caplog.records) == (499, [], [])


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_another_method_is_told_which_is_allowed(toy: Starlette, method: str) -> None:
    answer = ask(toy, method, "/")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert problem(answer, 405).detail == f"{method} / is not allowed. Use GET, HEAD, POST."


def test_a_path_is_named_as_the_caller_wrote_it(toy: Starlette) -> None:
    async def served(scope: Any, receive: Any, send: Any) -> None:  # as Ray Serve calls it
        await toy({**scope, "root_path": "/v1/toy"}, receive, send)

    app: Any = served
    detail = problem(ask(app, "PUT", "/v1/toy"), 405).detail
    assert detail == "PUT /v1/toy is not allowed. Use GET, HEAD, POST."


def test_a_path_below_the_capability_does_not_exist(toy: Starlette) -> None:
    assert problem(ask(toy, "POST", "/more"), 404).detail == "POST /more does not exist."


def test_a_service_that_is_too_busy_says_when_to_come_back() -> None:
    busy = build(Narrow, failing(Unavailable("Full.", hint="Wait.", retry_after_s=2.4)))
    answer = send(busy, {"inputs": [{"x": 1, "y": 2}]})
    assert answer.headers["Retry-After"] == "2"
    assert problem(answer, 503).retry_after_s == 2.4


def test_errors_of_ours_keep_their_status_and_others_tell_nothing_of_the_inside() -> None:
    full = build(Narrow, failing(NotEnough("The disk is full.")))
    assert problem(send(full, {"inputs": [{"x": 1, "y": 2}]}), 507).code == "not-enough"
    broken = build(Narrow, failing(RuntimeError("/secret/path")))
    found = problem(send(broken, {"inputs": [{"x": 1, "y": 2}]}), 500)
    assert "secret" not in found.model_dump_json()
    assert "request id" in found.detail
