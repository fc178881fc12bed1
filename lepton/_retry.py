"""Decide how long to wait before asking again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter, on clocks and chance that a test can replace.

    The waits are those of "full jitter" in Brooker, "Exponential Backoff And Jitter" (AWS, 2015).

    Attributes:
        base_s: the longest first wait; every further wait may be twice as long.
        cap_s: the longest wait that chance alone may choose.
        random: draws from [0, 1).
        clock: seconds that only go forward, for deadlines.
        wall_clock: seconds since 1970, for a ``Retry-After`` that names a date.
        sleep: called instead of really waiting.
    """

    base_s: float = 0.25
    cap_s: float = 8.0
    random: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] | None = None

    def wait_s(self, attempt: int, *, at_least_s: float = 0.0) -> float:
        """Seconds to wait after the given attempt (0 is the first).

        The jitter comes on top of what the server asked for: callers who were all told "one second"
        do not come back together.
        """
        longest_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt, 30))
        return at_least_s + self.random() * longest_s


def retry_after_s(header: str | None, *, now_s: float) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None where it says nothing readable.

    Args:
        header: seconds, or an HTTP date.
        now_s: the present, in seconds since 1970.
    """
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s)
