"""Keep named bytes that never change: below a local folder, or on any pyarrow filesystem."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from cluster.base.durable import make_folder, names_in, new_file, publish, remove
from cluster.base.errors import Conflict, InvalidInput, Unavailable
from cluster.base.writers import alone, writing

DAY_S = 86_400.0
MERGING = ".merging"


class Bucket(Protocol):
    """Where objects lie by name, with `/` between folders; each is made once."""

    @property
    def litter_s(self) -> float:
        """How old an object must be that nothing names before it is removed.

        0 where it is known that nobody is writing when that is asked.
        """

    @property
    def settle_s(self) -> float:
        """How long an object stays that need not any more, since listings take time."""

    def where(self, name: str) -> str:
        """Where an object lies, for people."""

    def path(self, name: str) -> Path:
        """Where it lies on this machine; a Conflict where it lies elsewhere."""

    def read(self, name: str) -> bytes:
        """All bytes of an object; a FileNotFoundError where there is none."""

    def source(self, name: str) -> Any:
        """What `ParquetFile` reads some columns of an object from."""

    def put(self, name: str, data: bytes) -> None:
        """Makes an object that is durable once another was published after it."""

    def publish(self, name: str, data: bytes, after: Iterable[str] = ()) -> None:
        """Makes an object appear whole and durable at once, once others are durable."""

    def absent(self, name: str) -> bool:
        """Whether it is certain that a `publish` which failed left nothing, now and later."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, in order, all as they stood at one moment."""

    def ages(self, folder: str) -> dict[str, float]:
        """Every object below a folder, by its name from there, and how many seconds it is old."""

    def folders(self) -> list[str]:
        """The folders at the top."""

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; what is gone already is no matter."""

    @contextmanager
    def writing(self, folder: str, sweep: Callable[[], None]) -> Iterator[None]:
        """Counts as a writer to a folder; first sweeps where that is known to be safe now."""

    def merging(self, folder: str) -> AbstractContextManager[bool]:
        """Tells whether nobody else is known to merge files of a folder until the block ends."""


@dataclass(frozen=True)
class LocalBucket:
    """Objects as files below a folder, each on the disk with its name before it counts."""

    root: Path
    litter_s: float = 0.0
    settle_s: float = 0.0

    def where(self, name: str) -> str:
        """Where an object lies, for people."""
        return str(self.root / name)

    def path(self, name: str) -> Path:
        """Where it lies on this machine."""
        return self.root / name

    def read(self, name: str) -> bytes:
        """All bytes of an object; a FileNotFoundError where there is none."""
        path = self.root / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Conflict(
                f"{path} cannot be read: {error.strerror}.", hint="See that it may be read."
            ) from None

    def source(self, name: str) -> Any:
        """What `ParquetFile` reads some columns of an object from."""
        return self.root / name

    def put(self, name: str, data: bytes) -> None:
        """Makes an object that is durable once another was published after it."""
        path = self.root / name
        make_folder(path.parent)
        with new_file(path) as file:
            file.write(data)

    def publish(self, name: str, data: bytes, after: Iterable[str] = ()) -> None:
        """Makes an object appear whole and durable at once, once others are durable."""
        make_folder((self.root / name).parent)
        publish(self.root / name, data, [self.root / other for other in after])

    def absent(self, name: str) -> bool:
        """Whether it is certain that a `publish` which failed left nothing, now and later."""
        return not (self.root / name).exists()

    def names(self, folder: str) -> list[str]:
        """The names in a folder, in order, all as they stood at one moment."""
        found = names_in(self.root / folder)
        # One name may come and another go while a large folder is listed: twice the same is sure.
        while found != (again := names_in(self.root / folder)):
            found = again
        return found

    def ages(self, folder: str) -> dict[str, float]:
        """Every object below a folder; that all are of age is right where `litter_s` is 0."""
        top = self.root / folder
        return {
            os.path.relpath(os.path.join(place, name), top): float("inf")  # noqa: PTH118
            for place, _, names in os.walk(top)
            for name in names
        }

    def folders(self) -> list[str]:
        """The folders at the top."""
        return [name for name in names_in(self.root) if (self.root / name).is_dir()]

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; what is gone already is no matter."""
        remove([self.root / name for name in names])

    @contextmanager
    def writing(self, folder: str, sweep: Callable[[], None]) -> Iterator[None]:
        """Counts as a writer to a folder; first sweeps, unless others are writing now."""
        with writing(self.root / folder, sweep):
            yield

    def merging(self, folder: str) -> AbstractContextManager[bool]:
        """Tells whether nobody else merges files of a folder, which is so until the block ends."""
        return alone(self.root / folder / MERGING)


@dataclass(frozen=True)
class RemoteBucket:
    """Objects on a pyarrow filesystem: s3://, gs://, and whatever fsspec reaches.

    Args:
        filesystem: where they are.
        root: the path on it below which they lie.
    """

    filesystem: fs.FileSystem
    root: str
    litter_s: float = DAY_S
    settle_s: float = 60.0

    def where(self, name: str) -> str:
        """Where an object lies, for people."""
        return f"{self.filesystem.type_name}:{self.root}/{name}"

    def path(self, name: str) -> Path:
        """Refuses: there is no path on this machine."""
        raise Conflict(
            f"{self.where(name)} lies on no local folder.",
            hint="Read it with Snapshot.table or Snapshot.partitions.",
        )

    def read(self, name: str) -> bytes:
        """All bytes of an object; a FileNotFoundError where there is none."""
        with self._told(name), self.filesystem.open_input_file(f"{self.root}/{name}") as file:
            data: bytes = file.read()
            return data

    def source(self, name: str) -> Any:
        """What `ParquetFile` reads some columns of an object from."""
        return self.filesystem.open_input_file(f"{self.root}/{name}")

    def put(self, name: str, data: bytes) -> None:
        """Makes an object; object stores show it once it is closed."""
        with self._told(name):
            self._write(f"{self.root}/{name}", data)

    def publish(self, name: str, data: bytes, after: Iterable[str] = ()) -> None:
        """Makes an object appear whole at once; by its last name where writing shows half of it."""
        path = f"{self.root}/{name}"
        with self._told(name):
            if _kind(self.filesystem) in ("s3", "gcs", "abfs"):
                self._write(path, data)
                return
            folder, _, last = path.rpartition("/")
            staged = f"{folder}/.{last}.{uuid4().hex}"
            self._write(staged, data)
            self.filesystem.move(staged, path)

    def absent(self, name: str) -> bool:
        """Never certain: a request that timed out may still be carried out."""
        return False

    def names(self, folder: str) -> list[str]:
        """The names in a folder, in order."""
        return sorted(info.base_name for info in self._listed(folder, recursive=False))

    def ages(self, folder: str) -> dict[str, float]:
        """Every object below a folder, by its name from there, and how many seconds it is old."""
        top, now = f"{self.root}/{folder}/", time.time()
        return {
            info.path.removeprefix(top): now - info.mtime.timestamp() if info.mtime else 0.0
            for info in self._listed(folder, recursive=True)
        }

    def folders(self) -> list[str]:
        """The folders at the top."""
        with self._told(""):
            found = self.filesystem.get_file_info(fs.FileSelector(self.root, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; what is gone already is no matter."""
        for name in names:
            with self._told(name):
                try:
                    self.filesystem.delete_file(f"{self.root}/{name}")
                except FileNotFoundError:
                    continue

    @contextmanager
    def writing(self, folder: str, sweep: Callable[[], None]) -> Iterator[None]:
        """Sweeps nothing: who else is writing cannot be known, so only age tells what is litter."""
        yield

    def merging(self, folder: str) -> AbstractContextManager[bool]:
        """Yes: nobody is known to."""
        return nullcontext(True)  # noqa: FBT003 - what is told

    def _listed(self, folder: str, *, recursive: bool) -> list[fs.FileInfo]:
        selector = fs.FileSelector(
            f"{self.root}/{folder}", allow_not_found=True, recursive=recursive
        )
        with self._told(folder):
            found = self.filesystem.get_file_info(selector)
        return [info for info in found if info.type == fs.FileType.File]

    def _write(self, path: str, data: bytes) -> None:
        try:
            stream = self.filesystem.open_output_stream(path)
        except FileNotFoundError:  # folders are things of their own here
            self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            stream = self.filesystem.open_output_stream(path)
        with stream:
            stream.write(data)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(
                f"{self.where(name)} cannot be used now: {error}.",
                hint="See that it can be reached and written to, then try again.",
            ) from None


def open_bucket(root: Path | str | fs.FileSystem) -> Bucket:
    """The objects below a folder, or below `s3://bucket/folder` or the like, or a filesystem's own.

    Raises:
        InvalidInput: nothing can be reached by that address.
    """
    if isinstance(root, fs.FileSystem):
        return RemoteBucket(root, "features")
    if isinstance(root, Path) or "://" not in root:
        return LocalBucket(Path(root))
    try:
        found, path = fs.FileSystem.from_uri(root)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(
            f"{root!r} cannot be opened: {error}.",
            hint="Name a folder, or an address such as s3://bucket/features.",
        ) from None
    if isinstance(found, fs.LocalFileSystem):
        return LocalBucket(Path(path))
    return RemoteBucket(found, path.rstrip("/"))


def _kind(filesystem: fs.FileSystem) -> str:
    while isinstance(filesystem, fs.SubTreeFileSystem):
        filesystem = filesystem.base_fs
    name: str = filesystem.type_name
    return name
