"""Say what Ctrl-C, SIGTERM and a closed terminal do here, also where Ray would say otherwise."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def kept() -> Iterator[None]:
    """Put back afterwards what signals do here.

    Ray takes SIGTERM for itself when it is joined, in Python and in C++, and leaves it with the
    system's default when it is left; only the main thread may say anything about signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # else it was not set in Python, and cannot be from there
                signal.signal(number, handler)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end this process in order, as Ctrl-C does."""
    with kept():
        _set(_interrupt, signal.SIGTERM, signal.SIGHUP)
        yield


@contextmanager
def heard_once() -> Iterator[None]:
    """Let the first of them raise KeyboardInterrupt, also where a shell muted Ctrl-C; no other."""
    with kept():
        _set(_interrupt_once, *ENDING)
        yield


@contextmanager
def deferred() -> Iterator[None]:
    """Let them wait until what must not be torn in two is done."""
    came: list[int] = []
    with kept():
        _set(lambda number, _: came.append(number), *ENDING)
        yield
    for number in came[:1]:
        signal.raise_signal(number)


def ignore() -> None:
    """Let none of them disturb what follows."""
    _set(lambda _number, _frame: None, *ENDING)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _interrupt_once(_number: int, _frame: object) -> None:
    ignore()  # first: `make` passes on a SIGTERM that its whole group has had already
    raise KeyboardInterrupt


def _set(handler: Callable[[int, object], object], *numbers: signal.Signals) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in numbers:
        if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN):  # nohup
            signal.signal(number, handler)
