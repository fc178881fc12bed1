"""Ask for many rows at once so that a bad one costs nobody but its own caller an answer."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

O = TypeVar("O")  # noqa: E741 - the letter of Output

AGAIN_S = 5.0  # how long the parts of a batch that failed are asked again
STOPS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, MemoryError)


def each(
    ask: Callable[[slice], Sequence[O]], rows: int, *, again_s: float = AGAIN_S
) -> list[O | Exception]:
    """Answer each row, in order; a row that cannot be answered has its error in that place.

    Where `ask` raises, or loses rows, both halves are asked alone, and so on, until the rows that
    it fails on stand alone: one bad row of 32 costs ten more calls.

    Args:
        ask: answers the rows of a slice.
        rows: how many there are.
        again_s: so long after the first failure, all rows of a part that fails have its error.
    """
    until = float("inf")

    def answer(part: slice) -> list[O | Exception]:
        nonlocal until
        size = part.stop - part.start
        try:
            answers = list(ask(part))
            if len(answers) == size:
                return [*answers]
            error: BaseException = RuntimeError(f"{size} rows got {len(answers)} answers.")
        except STOPS:
            raise
        except BaseException as raised:
            error = raised
        until = min(until, monotonic() + again_s)
        if size == 1 or monotonic() >= until:
            return [failure(error)] * size
        middle = part.start + size // 2
        return answer(slice(part.start, middle)) + answer(slice(middle, part.stop))

    return answer(slice(0, rows)) if rows else []


def failure(error: BaseException) -> Exception:
    """The error as callers get it: a future does not take StopIteration, and nobody else a panic.

    A panic of Rust code, as in tokenizers, is no Exception.
    """
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"The model stopped with {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
