"""Write files that are there whole after a crash, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from cluster.errors import NotEnough


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, so that they stay after a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with _room(folder):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is not there yet, on the disk when the block ends, gone when it fails.

    Its name is durable once `sync_folder` has run on its folder.

    Raises:
        NotEnough: the disk is full.
    """
    with _room(path):
        try:
            with path.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def publish(path: Path, data: bytes) -> None:
    """Makes a file appear under its name with all its bytes at once; it must not be there.

    Raises:
        FileExistsError: somebody else made it first.
        NotEnough: the disk is full.
    """
    staged = path.with_name(f".{path.name}.{uuid4().hex}")
    with new_file(staged) as file:
        file.write(data)
    try:
        with _room(path):
            os.link(staged, path)  # unlike a rename, it fails where the name is taken
    finally:
        staged.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(paths: Iterator[Path] | list[Path]) -> None:
    """Removes files that nothing names any more; what is gone already is no matter."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NotEnough(
            f"The disk has no room for {path}: {error.strerror}.",
            hint="Free some space, then run it again: nothing was half written.",
        ) from None
