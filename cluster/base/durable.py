"""Write files that are there whole after a crash, or not at all."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from cluster.base.errors import Conflict, NotEnough

EFFECTIVE: Final = os.access in os.supports_effective_ids


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they stay after a power cut.

    Raises:
        Conflict: it cannot be made there.
        NotEnough: the disk is full.
    """
    if os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises where a folder above is barred
        return
    make_folder(folder.parent)
    with told(folder):
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, "a file stands in its place") from None
        sync(folder.parent)


def names_in(folder: Path) -> list[str]:
    """What a folder holds, in order; nothing where there is no such folder.

    Raises:
        Conflict: it may not be read.
    """
    with told(folder), suppress(FileNotFoundError, NotADirectoryError):
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted
    return []


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is not there yet, with all its bytes when the block ends, gone when it fails.

    It is durable once `sync_all` has run on it and on its folder.

    Raises:
        Conflict: the folder may not be written to.
        NotEnough: the disk is full.
    """
    with told(path):
        try:
            with path.open("xb") as file:
                yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def publish(path: Path, data: bytes, after: Iterable[Path] = ()) -> None:
    """Makes a file appear under its name with all its bytes at once; it must not be there.

    Args:
        path: where.
        data: what it holds.
        after: files that must be durable before, with their names.

    Raises:
        FileExistsError: somebody else made it first.
        NotEnough: the disk is full.
    """
    staged = path.with_name(f".{path.name}.{uuid4().hex}")
    with new_file(staged) as file:
        file.write(data)
    first = {*after}
    try:
        with told(path):
            sync_all([staged, *first, *{name.parent for name in first}])
            os.link(staged, path)  # unlike a rename, it fails where the name is taken
    finally:
        staged.unlink(missing_ok=True)
    with told(path):
        sync(path.parent)


def sync_all(paths: Sequence[Path]) -> None:
    """Waits until files and the names in folders are on the disk.

    All are asked for at once, so that a file system with a journal writes it once for all.
    """
    if len(paths) == 1:
        sync(paths[0])
        return
    for _ in _syncers(os.getpid()).map(sync, paths):
        pass


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@cache
def _syncers(process: int) -> ThreadPoolExecutor:
    """Threads that stay, as starting some takes longer than a sync; a fork has none of them."""
    return ThreadPoolExecutor(8)


def remove(paths: Iterable[Path]) -> None:
    """Removes files that nothing names any more; what is gone already is no matter."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What the file system refuses as a sentence; that a name is taken stays what it is."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NotEnough(
                f"The disk has no room for {path}: {error.strerror}.",
                hint="Free some space, then run it again: nothing was half written.",
            ) from None
        raise Conflict(
            f"{path} cannot be used: {error.strerror}.",
            hint="Point LEPTON_HOME at a folder that you may write to.",
        ) from None


def is_writable(folder: Path) -> bool:
    """Whether this process can make files in a folder."""
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK, effective_ids=EFFECTIVE)


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter; one that is there must be ours, and stays so.

    Raises:
        Conflict: there is something else, or somebody else's, by that name, or no way to make it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Conflict(
            f"The folder {folder} cannot be made: {error.strerror}.",
            hint="Set LEPTON_HOME to a folder that you may write to.",
        ) from None
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid():
        raise Conflict(f"{folder} belongs to somebody else.", hint="Remove it, or set LEPTON_HOME.")
    return folder


def write(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old text or the new."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with told(path):
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a file's lock; whoever holds it may remove the file."""
    while True:
        with told(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # the last holder may have removed the file that was opened: its lock locks nothing
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                yield
                return
        finally:
            os.close(descriptor)
