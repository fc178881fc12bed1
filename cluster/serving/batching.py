"""Answer together what waits together: a batch forms while the one before it runs."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from cluster.base.errors import Unavailable
from cluster.contract.rowwise import STOPS, each, failure

I = TypeVar("I")  # noqa: E741 - the letters of Input and Output
O = TypeVar("O")  # noqa: E741

SLOW_S = 0.005  # a predict longer than this runs in a thread, so that other requests are read


class Batcher(Generic[I, O]):
    """Gathers the rows of many requests into batches for one model; there is no waiting time.

    A lone request is answered at once. While a batch runs, rows queue up and become the next one.
    A batch runs in a thread, unless one of as many rows was quick: then the event loop itself
    answers it, which saves what a thread costs.

    Args:
        predict: answers rows in order; one call at a time.
        max_batch: rows that one call takes.
        max_waiting: rows that wait before a request is refused.
        slow_s: how long a batch may take on the event loop.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[I]], Sequence[O]],
        *,
        max_batch: int,
        max_waiting: int,
        slow_s: float = SLOW_S,
    ) -> None:
        self._predict = predict
        self._slow_s = slow_s
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[I, asyncio.Future[O]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._quick_rows = 0  # so many rows were answered within SLOW_S the last time

    async def answer(self, rows: Sequence[I]) -> list[O]:
        """Answer one request's rows, in order.

        Raises:
            Unavailable: too many rows wait already.
        """
        if self._waiting and len(self._waiting) + len(rows) > self._max_waiting:
            raise Unavailable(
                f"{len(self._waiting)} inputs wait already; the limit is {self._max_waiting}.",
                hint="Send them again in a moment.",
                retry_after_s=1.0,
            )
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in rows]
        self._waiting.extend(zip(rows, futures, strict=True))
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        try:
            return [await future for future in futures]
        finally:
            self._forget(futures)

    def _forget(self, futures: Sequence[asyncio.Future[O]]) -> None:
        """A caller that hung up leaves nothing to compute, no place taken and no error unheard."""
        if sum(future.cancel() for future in futures):
            self._waiting = deque(pair for pair in self._waiting if not pair[1].done())
        for future in futures:
            if not future.cancelled():
                future.exception()

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # what has arrived by now goes along
            batch: list[tuple[I, asyncio.Future[O]]] = []
            while self._waiting and len(batch) < self._max_batch:
                row, future = self._waiting.popleft()
                if not future.done():
                    batch.append((row, future))
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[I, asyncio.Future[O]]]) -> None:
        rows = [row for row, _ in batch]
        try:
            outputs = await self._outputs(rows)
        except STOPS as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure(error))
            if isinstance(error, MemoryError):
                return
            raise
        for (_, future), output in zip(batch, outputs, strict=True):
            if future.done():
                continue
            if isinstance(output, Exception):
                future.set_exception(output)
            else:
                future.set_result(output)

    async def _outputs(self, rows: Sequence[I]) -> Sequence[O | Exception]:
        """The answers of a batch; where it fails, its rows are asked again by halves."""
        count, began = len(rows), monotonic()
        outputs: Sequence[O | Exception] | None = None
        if count <= self._quick_rows:
            outputs = self._at_once(rows)
        if outputs is None:
            outputs = await asyncio.to_thread(each, lambda part: self._predict(rows[part]), count)
        if monotonic() - began < self._slow_s:
            self._quick_rows = max(self._quick_rows, count)
        else:
            self._quick_rows = min(self._quick_rows, count - 1)
        return outputs

    def _at_once(self, rows: Sequence[I]) -> Sequence[O] | None:
        """The answers of a batch; None where it fails, which may take long to find out about."""
        try:
            outputs = self._predict(rows)
        except STOPS:
            raise
        except BaseException:  # the rows are asked again, in a thread
            return None
        return outputs if len(outputs) == len(rows) else None
