"""Check whether a version is healthy: by its recent answers, or by a probe when it is idle."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from cluster.base.errors import Unavailable
from cluster.engine.host import trim_heap

EVERY_S = 10.0  # without an answer, after which an idle version is probed
SHARE = 20  # probes take at most one part in so many of a replica's time
WAIT_S = 5.0  # for a probe; Ray Serve gives up a check after 10 s
STUCK_S = 60.0  # how long a batch or a probe may take


class Health:
    """Whether a version answers.

    Args:
        probe: asks the version a made-up question; raises if it does not answer.
        wait_s: how long a check waits for it.
    """

    def __init__(self, probe: Callable[[], None], *, wait_s: float = WAIT_S) -> None:
        self._probe = probe
        self._wait_s = wait_s
        self._every_s = EVERY_S
        self._answered = monotonic()  # the replica probes a version before it takes over
        self._has_failed = False
        self._batch_began: float | None = None
        self._probing: asyncio.Task[float] | None = None
        self._probe_began = 0.0

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Note when a batch begins and ends; one at a time."""
        self._batch_began = monotonic()
        try:
            yield
        finally:
            self._batch_began = None

    def answered(self) -> None:
        """Note that the version answered or refused a row."""
        self._answered, self._has_failed = monotonic(), False

    def failed(self) -> None:
        """Note that the version answered no row of a batch: the next check probes it."""
        self._has_failed = True

    async def check(self) -> None:
        """Return if the version is healthy; probe it only if it has not answered recently.

        Several checks wait for a slow probe; there is one at a time.

        Raises:
            Unavailable: a batch or a probe takes more than `STUCK_S`.
            Exception: whatever the probe raises.
        """
        now, batch_began = monotonic(), self._batch_began  # a batch may end meanwhile, in a thread
        if batch_began is not None and now - batch_began > STUCK_S:
            raise Unavailable(f"A batch has had no answer for {now - batch_began:.0f} s.")
        if self._probing is None:
            is_busy = batch_began is not None
            if not self._has_failed and (is_busy or now - self._answered < self._every_s):
                return
            self._probe_began = now
            self._probing = asyncio.create_task(asyncio.to_thread(self._timed))
        probe = self._probing
        done, _ = await asyncio.wait({probe}, timeout=self._wait_s)
        if done:
            self._probing = None
            self._every_s = max(EVERY_S, SHARE * await probe)
            self.answered()
        elif monotonic() - self._probe_began > STUCK_S:
            raise Unavailable(f"A question has had no answer for {STUCK_S:.0f} s.")

    def _timed(self) -> float:
        """Run the probe and return its duration in seconds; an idle replica then shrinks."""
        began = monotonic()
        self._probe()
        duration = monotonic() - began
        trim_heap()
        return duration
