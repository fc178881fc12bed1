"""Batches form from what waits; nothing is lost, mixed up or computed for nobody."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from cluster.base.errors import InvalidInput, Unavailable
from cluster.contract.rowwise import each
from cluster.serving.batching import Batcher


class Model:
    """Doubles numbers; notes its batches; may be held until told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.held = threading.Event()
        self.held.set()

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.batches.append(list(rows))
        self.held.wait(5)
        if 13 in rows:
            raise InvalidInput("13 is bad luck.")
        return [2 * row for row in rows]


def batcher(
    predict: Callable[[Sequence[int]], Sequence[int]], *, max_batch: int = 4, max_waiting: int = 8
) -> Batcher[int, int]:
    return Batcher(predict, max_batch=max_batch, max_waiting=max_waiting)


async def begun(model: Model, batches: int) -> None:
    """Wait until the model works on its n-th batch."""
    while len(model.batches) < batches:
        await asyncio.sleep(0.001)


def run(test: Callable[[], Awaitable[Any]]) -> list[str]:
    """Run a test's coroutine; what the loop complained about meanwhile."""
    complaints: list[str] = []

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(str(context["message"]))
        )
        await asyncio.wait_for(test(), timeout=10)

    asyncio.run(body())
    return complaints


def test_a_lone_request_is_answered_at_once_and_in_order() -> None:
    model = Model()

    async def test() -> None:
        assert await batcher(model).answer([3, 1, 2]) == [6, 2, 4]

    assert run(test) == []
    assert model.batches == [[3, 1, 2]]


def test_requests_that_come_together_share_batches_and_keep_their_order() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model)
        answers = await asyncio.gather(*(shared.answer([n, n + 20]) for n in range(4)))
        assert answers == [[2 * n, 2 * n + 40] for n in range(4)]

    assert run(test) == []
    assert model.batches == [[0, 20, 1, 21], [2, 22, 3, 23]]


def test_what_waits_while_a_batch_runs_is_the_next_batch() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model)
        model.held.clear()
        first = asyncio.create_task(shared.answer([1]))
        await begun(model, 1)
        others = [asyncio.create_task(shared.answer([n])) for n in (2, 3, 4)]
        await asyncio.sleep(0.01)
        model.held.set()
        assert await asyncio.gather(first, *others) == [[2], [4], [6], [8]]

    assert run(test) == []
    assert model.batches == [[1], [2, 3, 4]]


def test_a_big_request_passes_in_several_batches() -> None:
    model = Model()

    async def test() -> None:
        rows = list(range(100, 130))
        assert await batcher(model).answer(rows) == [2 * row for row in rows]

    assert run(test) == []
    assert [len(batch) for batch in model.batches] == [4] * 7 + [2]


def test_a_request_without_rows_has_no_answers() -> None:
    async def test() -> None:
        assert await batcher(Model()).answer([]) == []

    assert run(test) == []


def test_an_error_reaches_the_caller_of_its_row_and_nobody_else() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model, max_batch=3)
        asked = [shared.answer(rows) for rows in ([1], [13, 2], [3, 4])]
        one, bad, good = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(bad, InvalidInput)
        assert (one, good) == ([2], [6, 8])
        assert await shared.answer([5]) == [10]

    assert run(test) == []
    assert model.batches[0] == [1, 13, 2]


@pytest.mark.parametrize("place", [0, 15, 31])
@pytest.mark.parametrize("quick", [0, 32])
def test_one_bad_row_among_31_of_other_callers_costs_none_of_them_the_answer(
    place: int, quick: int
) -> None:
    model = Model()
    rows = [13 if n == place else 100 + n for n in range(32)]

    async def test() -> None:
        shared = batcher(model, max_batch=32, max_waiting=64)
        shared._quick_rows = quick
        asked = (shared.answer([row]) for row in rows)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers.pop(place), InvalidInput)
        assert answers == [[2 * row] for row in rows if row != 13]

    assert run(test) == []
    assert model.batches[0] == rows
    assert len(model.batches) <= 12


def test_a_batch_that_fails_altogether_is_asked_again_for_a_bounded_time() -> None:
    began = time.monotonic()

    def broken(rows: slice) -> list[int]:
        threading.Event().wait(0.01)
        raise InvalidInput("Nothing works.")

    answers = each(broken, 100_000, again_s=0.1)
    assert {str(answer) for answer in answers} == {"Nothing works."}
    assert len(answers) == 100_000
    assert time.monotonic() - began < 2


class Panic(BaseException):
    """What Rust code raises through PyO3 when it panics."""


def panic(_: Sequence[int]) -> list[int]:
    raise Panic("index out of bounds")


def stop(_: Sequence[int]) -> list[int]:
    raise StopIteration


def forget(rows: Sequence[int]) -> list[int]:
    return list(rows)[1:]


@pytest.mark.parametrize("predict", [panic, stop, forget])
def test_whatever_a_model_does_wrong_its_callers_hear_of_it(
    predict: Callable[[Sequence[int]], list[int]],
) -> None:
    async def test() -> None:
        shared = batcher(predict)
        shared._quick_rows = 1
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await shared.answer([1, 2])

    assert run(test) == []


def test_too_many_that_wait_are_refused_with_a_time_to_come_back() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model, max_waiting=3)
        model.held.clear()
        first = asyncio.create_task(shared.answer([1]))
        await begun(model, 1)
        waiting = asyncio.create_task(shared.answer([2, 3]))
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="2 inputs wait already; the limit is 3") as refused:
            await shared.answer([4, 5])
        assert refused.value.retry_after_s == 1.0
        model.held.set()
        assert [await first, await waiting] == [[2], [4, 6]]

    assert run(test) == []
    assert model.batches == [[1], [2, 3]]


def test_a_caller_that_hangs_up_leaves_nothing_to_compute_and_no_place_taken() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model, max_waiting=3)
        model.held.clear()
        first = asyncio.create_task(shared.answer([1]))
        await begun(model, 1)
        gone = asyncio.create_task(shared.answer([2, 3]))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        other = asyncio.create_task(shared.answer([4, 5]))
        await asyncio.sleep(0.01)
        model.held.set()
        assert [await first, await other] == [[2], [8, 10]]

    assert run(test) == []
    assert model.batches == [[1], [4, 5]]


def test_a_caller_that_hangs_up_while_its_batch_runs_harms_nobody() -> None:
    model = Model()

    async def test() -> None:
        shared = batcher(model)
        model.held.clear()
        gone = asyncio.create_task(shared.answer([1]))
        stays = asyncio.create_task(shared.answer([2]))
        await begun(model, 1)
        gone.cancel()
        await asyncio.sleep(0)
        model.held.set()
        assert await stays == [4]

    assert run(test) == []
    assert model.batches == [[1, 2]]


def test_only_batches_that_are_known_to_be_quick_run_on_the_event_loop() -> None:
    threads: list[str] = []

    def predict(rows: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread().name)
        if 0 in rows:
            threading.Event().wait(0.6)
        return list(rows)

    async def test() -> None:
        shared = Batcher(predict, max_batch=4, max_waiting=8, slow_s=0.5)
        for rows in ([1], [1], [1, 2], [1, 2], [0], [1], [1]):
            await shared.answer(rows)

    assert run(test) == []
    here = threading.current_thread().name
    assert [name == here for name in threads] == [False, True, False, True, True, False, True]


def sleepy(rows: Sequence[int]) -> list[int]:
    time.sleep(0.3)
    return list(rows)


def test_the_first_slow_batch_of_a_model_leaves_the_event_loop_free() -> None:
    async def test() -> None:
        shared = batcher(sleepy)
        slow = asyncio.create_task(shared.answer([1]))
        longest, last = 0.0, time.monotonic()
        while not slow.done():
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert longest < 0.25

    assert run(test) == []
