"""Stop asking what does not answer, and try it again after a rest."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.base.errors import Unavailable

FAILURES = 3
REST_S = 1.0


class Breaker:
    """Lets calls through until some in a row have failed; then only one at a time, now and then.

    Args:
        name: what is called, for people.
        failures: how many failures in a row open it.
        rest_s: how long it then refuses all calls, before it lets one through to see.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int = FAILURES,
        rest_s: float = REST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._failures = failures
        self._rest_s = rest_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._again_at = 0.0

    @property
    def open(self) -> bool:
        """Whether calls are refused."""
        return self._failed >= self._failures

    @contextmanager
    def call(self) -> Iterator[None]:
        """Something that fails with `Unavailable`, which counts.

        Raises:
            Unavailable: it failed, or is not asked now.
        """
        self._enter()
        try:
            yield
        except Unavailable:
            with self._lock:
                self._failed += 1
                self._again_at = self._clock() + self._rest_s
            raise
        self._failed = 0

    def _enter(self) -> None:
        if not self.open:
            return
        with self._lock:
            wait_s = self._again_at - self._clock()
            if self.open and wait_s > 0:
                raise Unavailable(
                    f"{self.name} failed {self._failed} times in a row and is left alone.",
                    hint="It is tried again in a moment.",
                    retry_after_s=wait_s,
                )
            self._again_at = self._clock() + self._rest_s  # others wait for what this one finds
