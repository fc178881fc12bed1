"""Pushes wait for models in threads of their own, so that nobody else waits for them."""

import asyncio
import threading
from pathlib import Path

import pytest

from cluster.base.errors import Unavailable
from services.http.features_http import MOST_PUSHES, Features


def unopened() -> object:
    raise AssertionError("Nothing is looked up here.")


def test_what_else_the_door_does_in_threads_goes_on_while_pushes_wait_for_a_model() -> None:
    features, held = Features(unopened, Path()), threading.Event()  # type: ignore[arg-type]

    async def test() -> None:
        pushing = [asyncio.ensure_future(features.in_turn(held.wait)) for _ in range(MOST_PUSHES)]
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), timeout=5) == 7
        assert not any(push.done() for push in pushing)
        held.set()
        assert all(await asyncio.gather(*pushing))

    asyncio.run(test())


def test_more_pushes_than_can_wait_are_refused_with_a_time_to_come_back() -> None:
    features, held = Features(unopened, Path()), threading.Event()  # type: ignore[arg-type]

    async def test() -> None:
        waiting = [asyncio.ensure_future(features.in_turn(held.wait)) for _ in range(MOST_PUSHES)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="64 pushes wait already") as refused:
            await features.in_turn(held.wait)
        assert refused.value.retry_after_s == 1.0
        waiting[-1].cancel()  # a caller that hangs up leaves its place
        await asyncio.sleep(0)
        waiting.append(asyncio.ensure_future(features.in_turn(held.wait)))
        await asyncio.sleep(0)
        held.set()
        assert await asyncio.gather(*waiting[:-2], waiting[-1]) == [True] * MOST_PUSHES

    asyncio.run(test())
