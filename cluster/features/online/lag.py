"""Know which views have stored rows that are not online yet, without asking at each look-up."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from cluster.base.errors import LeptonError
from cluster.features.offline.snapshot import DataFile
from cluster.features.schema.view import View

log = logging.getLogger("ray.serve")  # what a replica's log file holds
EVERY_S = 1.0
"""How old what is known may get before it is asked anew."""
IDLE_S = 5.0
"""What is older than this was not looked up for a while: a thread would tell the next one only."""
GRACE_S = 1.0
"""Rows that came so lately are on their way: whoever pushed them brings them."""
FEW_ROWS = 10_000
"""So many rows are brought by who finds them missing, as many as one push may have; more would take
a server's time, and wait for `materialize`."""


@dataclass(frozen=True)
class Lag:
    """Rows that are stored and not online.

    Attributes:
        view: what to materialize.
        files: the data files that hold them.
        unnoted: whether there are files that the online side has not noted: their rows lack, or
            came by the files that they were merged from.
    """

    view: str
    files: tuple[DataFile, ...] = ()
    unnoted: bool = False

    @property
    def rows(self) -> int:
        """How many rows; of files that were merged since, some of them may be online."""
        return sum(file.rows for file in self.files)

    @property
    def told(self) -> str:
        """What to say of it, and what to do."""
        some = f"{self.rows:,} rows" if self.rows != 1 else "1 row"
        are, them = ("is", "it") if self.rows == 1 else ("are", "them")
        return (
            f"{some if self.rows else 'Some rows'} of {self.view} {are} stored and not online yet. "
            f"Bring {them}: python -m services materialize {self.view}"
        )

    def settled(self) -> "Lag":
        """Those of them that nobody is still bringing."""
        latest = time.time_ns() - int(GRACE_S * 1e9)
        return replace(self, files=tuple(f for f in self.files if f.arrived < latest))


Ask = Callable[[View], Lag | None]
"""Says what of a view is not online; None where the view is not."""


class LagMonitor:
    """Remembers how far views are behind; what is older than a second is asked in a thread.

    Args:
        ask: how far a view is behind; gives up as soon as a look-up does.
        catch_up: brings what is missing where that are few rows, and says what still is.
        clock: seconds that never go back.
    """

    def __init__(
        self, ask: Ask, catch_up: Ask, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._catch_up = catch_up
        self._clock = clock
        self._known: dict[str, tuple[float, Lag | None]] = {}
        self._asking: set[str] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(1, "lepton-catch-up")  # which starts none before its use

    def lag(self, view: View) -> Lag | None:
        """How far a view was behind a moment ago; None where it was not, or nobody knows.

        Who comes first asks, or after a while, or after the store was away.
        """
        held = self._known.get(view.name)
        if held is not None and self._clock() - held[0] < IDLE_S:  # as `knows`, of one reading
            if self._clock() - held[0] >= EVERY_S:
                self.renew(view)
            return held[1]
        try:
            lag = self._ask(view)
        except LeptonError:  # the look-up itself says what is wrong
            return None
        if lag is not None and lag.unnoted:
            self.renew(view)
        return self._note(view, lag)

    def knows(self, view: View) -> bool:
        """Whether `lag` answers of a view without asking anybody."""
        held = self._known.get(view.name)
        return held is not None and self._clock() - held[0] < IDLE_S

    def renew(self, view: View) -> None:
        """Brings what is missing of a view, or asks how much that is, while others go on."""
        with self._lock:
            if view.name in self._asking:
                return
            with suppress(RuntimeError):  # the process ends, and look-ups of it may still go on
                self._threads.submit(self._renewed, view)
                self._asking.add(view.name)  # before the thread can take it away: it is locked

    def _renewed(self, view: View) -> None:
        try:
            self._note(view, self._catch_up(view))
        except LeptonError:
            self._known.pop(view.name, None)  # nothing is known until the store answers again
        except Exception:  # nobody reads what a thread raises, and it is a bug
            self._known.pop(view.name, None)
            log.exception("How far %s is behind could not be told.", view.name)
        finally:
            with self._lock:
                self._asking.discard(view.name)

    def _note(self, view: View, lag: Lag | None) -> Lag | None:
        found = lag.settled() if lag else None
        known = found if found and found.files else None
        self._known[view.name] = self._clock(), known
        return known
