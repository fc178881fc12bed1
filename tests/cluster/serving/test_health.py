"""A version counts as healthy by what it answered; only an idle one is asked a question."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.base.errors import InvalidInput, Unavailable
from cluster.serving.health import EVERY_S, STUCK_S, Health


class Probe:
    """A question that takes as long as the test says."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.held = threading.Event()
        self.held.set()

    def __call__(self) -> None:
        self.asked += 1
        self.held.wait(5)
        if self.error:
            raise self.error


def later(checked: Health, seconds: float) -> None:
    """As if so many seconds had passed since the version was last heard of."""
    checked._answered -= seconds
    checked._probe_began -= seconds
    if checked._batch_began is not None:
        checked._batch_began -= seconds


def run(test: Callable[[Probe, Health], Awaitable[Any]]) -> Probe:
    probe = Probe()
    asyncio.run(asyncio.wait_for(test(probe, Health(probe)), timeout=10))
    return probe


def test_a_version_that_answered_lately_is_not_asked() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        for _ in range(3):
            await checked.check()
            later(checked, EVERY_S / 2)
            checked.answered()

    assert run(test).asked == 0


def test_an_idle_version_is_asked_once_and_then_left_alone() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        later(checked, EVERY_S + 1)
        for _ in range(3):
            await checked.check()

    assert run(test).asked == 1


def test_a_version_that_does_not_answer_the_question_is_told_with_its_error() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        later(checked, EVERY_S + 1)
        probe.error = InvalidInput("The graph is gone.")
        for _ in range(2):
            with pytest.raises(InvalidInput, match="The graph is gone"):
                await checked.check()
        probe.error = None
        await checked.check()
        await checked.check()

    assert run(test).asked == 3


def test_a_batch_without_any_answer_makes_the_next_check_ask_even_a_busy_version() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        checked.failed()
        with checked.batch():
            await checked.check()
            assert probe.asked == 1
            await checked.check()

    assert run(test).asked == 1


def test_a_slow_question_is_asked_once_and_waited_for_in_several_checks() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        later(checked, EVERY_S + 1)
        probe.held.clear()
        checks = asyncio.gather(*(checked.check() for _ in range(2)))
        await asyncio.sleep(0.05)
        assert not checks.done()
        probe.held.set()
        await checks

    assert run(test).asked == 1


def test_a_busy_version_is_healthy_until_its_batch_takes_a_minute() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        with checked.batch():
            later(checked, STUCK_S - 1)
            await checked.check()
            later(checked, 2)
            with pytest.raises(Unavailable, match="A batch has had no answer for 61 s"):
                await checked.check()

    assert run(test).asked == 0


def test_a_question_that_takes_a_minute_is_told() -> None:
    async def test(probe: Probe, checked: Health) -> None:
        checked = Health(probe, wait_s=0.01)
        later(checked, EVERY_S + 1)
        probe.held.clear()
        await checked.check()
        later(checked, STUCK_S)
        with pytest.raises(Unavailable, match="A question has had no answer for 60 s"):
            await checked.check()
        probe.held.set()

    assert run(test).asked == 1
