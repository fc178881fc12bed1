"""Signals end a process in order, once, and what Ray does to them does not last."""

import signal
from collections.abc import Iterator

import pytest

from cluster.base import signals


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    with signals.kept():
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup leaves it
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        yield


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in signals.ENDING]


def test_what_a_library_does_to_signals_is_taken_back() -> None:
    before = handlers()
    with signals.kept():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert handlers() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_closed_terminal_interrupt_as_ctrl_c_does(number: signal.Signals) -> None:
    before = handlers()
    with signals.like_ctrl_c(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert handlers() == before


@pytest.mark.parametrize("first", signals.ENDING)
def test_after_the_first_signal_no_other_is_heard(first: signal.Signals) -> None:
    with signals.heard_once():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(first)
        for number in signals.ENDING:
            signal.raise_signal(number)


def test_what_nohup_muted_stays_mute() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with signals.like_ctrl_c():
        signal.raise_signal(signal.SIGHUP)


def test_ctrl_c_that_a_shell_muted_is_heard_by_who_waits_for_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.heard_once(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_signal_waits_until_what_must_not_be_torn_is_done() -> None:
    done = []
    with signals.like_ctrl_c(), pytest.raises(KeyboardInterrupt):  # noqa: PT012 - inside and after
        with signals.deferred():
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")
        done.append("too much")
    assert done == ["all of it"]
