"""What is known of how far views are behind is asked anew beside the look-ups."""

import threading
import time

import pytest

from cluster.features.online.lag import EVERY_S, Lag, LagMonitor, log
from tests.features.offline.shelf import shelf

BEHIND = Lag("shelf", unnoted=True)
SOON_S = 10.0


class Views:
    """Counts how often it is asked in the thread; the first time it has a bug."""

    def __init__(self) -> None:
        self.asked = 0
        self.answered = threading.Event()

    def __call__(self, view: object) -> Lag | None:
        """Nothing is missing, from the second time on."""
        self.asked += 1
        if self.asked == 1:
            raise ZeroDivisionError("a bug")
        self.answered.set()
        return None


def test_a_bug_in_the_thread_is_in_the_log_and_the_view_is_asked_about_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    views = Views()
    watch = LagMonitor(lambda _: None, views)
    log.addHandler(caplog.handler)  # itself, since Ray keeps what its loggers say from all others
    until = time.monotonic() + SOON_S
    while not views.answered.is_set() and time.monotonic() < until:
        watch.renew(shelf)
        time.sleep(0.01)
    log.removeHandler(caplog.handler)
    assert views.answered.is_set()
    assert "How far shelf is behind could not be told." in caplog.text
    assert "ZeroDivisionError: a bug" in caplog.text


def test_a_view_is_asked_about_by_one_thread_at_a_time_however_many_look_it_up() -> None:
    begun, go_on, asked = threading.Event(), threading.Event(), []

    def ask(view: object) -> None:
        asked.append(view)
        begun.set()
        go_on.wait(SOON_S)

    watch = LagMonitor(lambda _: BEHIND, ask)
    crowd = [threading.Thread(target=watch.renew, args=(shelf,)) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert begun.wait(SOON_S)
    go_on.set()
    assert asked == [shelf]


def test_who_looks_up_while_the_process_ends_is_still_answered() -> None:
    now = [0.0]
    watch = LagMonitor(lambda _: BEHIND, lambda _: BEHIND, clock=lambda: now[0])
    watch._threads.shutdown()  # as the interpreter does at its end
    assert watch.lag(shelf) is None
    now[0] += EVERY_S
    assert watch.lag(shelf) is None
