"""Answer together what waits together: a batch forms while the one before it runs."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from cluster.errors import Unavailable

I = TypeVar("I")  # noqa: E741 - the letters of Input and Output
O = TypeVar("O")  # noqa: E741

SLOW_S = 0.005  # a predict longer than this runs in a thread, so that health checks are answered


class Batcher(Generic[I, O]):
    """Gathers the rows of many requests into batches for one model; there is no waiting time.

    A lone request is answered at once. While a batch runs, rows queue up and become the next one.

    Args:
        predict: answers rows in order; one call at a time.
        max_batch: rows that one call takes.
        max_waiting: rows that wait before a request is refused.
    """

    def __init__(
        self, predict: Callable[[Sequence[I]], Sequence[O]], *, max_batch: int, max_waiting: int
    ) -> None:
        self._predict = predict
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[I, asyncio.Future[O]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._slow = False

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
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            outputs = (
                await asyncio.to_thread(self._predict, rows) if self._slow else self._predict(rows)
            )
            answered = list(zip(batch, outputs, strict=True))
        except BaseException as error:  # a panic of Rust code, as in tokenizers, is no Exception
            failure = _failure(error)
            for _, future in batch:
                if not future.done():
                    future.set_exception(failure)
            if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
                raise
            return
        self._slow = loop.time() - began > SLOW_S
        for (_, future), output in answered:
            if not future.done():
                future.set_result(output)


def _failure(error: BaseException) -> Exception:
    """What callers are told; a future does not take StopIteration, and nobody else a panic."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    failure = RuntimeError(f"The model stopped with {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
