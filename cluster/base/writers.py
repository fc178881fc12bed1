"""Tell whether others are writing to a folder, so that only what dead writers left is removed."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cluster.base.durable import make_folder, told

LOCK = ".writers"


@contextmanager
def writing(folder: Path, sweep: Callable[[], None]) -> Iterator[None]:
    """Counts as a writer until the block ends; first sweeps, unless others are writing now.

    Every writer shares one lock, which the kernel takes back when a process ends, however it ends.
    Who gets it alone knows that no other lives: what no commit names then, nobody will ever name.

    Args:
        folder: what is written to; it is made.
        sweep: removes what no living writer needs.

    Raises:
        Conflict: the folder cannot be made or written to.
    """
    make_folder(folder)
    with told(folder):
        file = (folder / LOCK).open("ab")
    with file:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep()
        # Between the two locks another may sweep: there is nothing of ours yet.
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Tells whether nobody else holds a lock; if so, holds it until the block ends.

    Args:
        lock: a file; it is made, with the folder that it is in.

    Raises:
        Conflict: it cannot be made or written to.
    """
    make_folder(lock.parent)
    with told(lock):
        file = lock.open("ab")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
