"""Walk the files of a folder or of a zip alike, and read what their names say about them."""

import bz2
import errno
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa

from cluster.base.errors import InvalidInput, NotFound
from cluster.features.intake.files.decoding import too_large
from cluster.features.schema.view import Skipped

MAX_FILE_BYTES = 100_000_000
"""The largest file that is read whole."""
WhyNot = Callable[[bytes], str]
_OTHER_KIND = "it is of no kind that is read here"
LOG = "_delta_log/"
"""The folder of files that say which others belong to a Delta table."""
_GZIP, _ZSTD, _XZ = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
PACKED = (".gz", ".bz2", ".xz", ".zst")
"""How the names of packed files end."""
_UNREADABLE = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException,
)  # fmt: skip
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@dataclass(frozen=True)
class Tree:
    """Files by name, wherever they lie.

    Args:
        place: the folder, file or zip that they were found in, for people.
        names: their paths within it, with `/` between the parts, in order.
        open: opens one of them for reading, as it is stored.
        others: each other file, and why it is of no kind that is read.
    """

    place: str
    names: tuple[str, ...]
    open: Callable[[str], BinaryIO]
    others: tuple[Skipped, ...] = ()

    def only(self, usable: Callable[[str], bool], why_not: WhyNot | None = None) -> "Tree":
        """The same place with fewer files to read."""
        kept, others = [], []
        for name in self.names:
            reason = ""
            if not usable(name):
                reason = why_not(self.head(name)) if why_not else _OTHER_KIND
            if reason:
                others.append(Skipped(self.where(name), reason))
            else:
                kept.append(name)
        return replace(self, names=tuple(kept), others=tuple(others))

    def unread(self, used: Collection[str]) -> Iterator[Skipped]:
        """Each file but those that were used: of another kind, or another layout than was read."""
        read = frozenset(used)
        yield from self.others
        for name in self.names:
            if name not in read:
                yield Skipped(self.where(name), "other files of the source were read in its place")

    def where(self, name: str) -> str:
        """How a reject says which file it is about."""
        # bytes of a name that are no UTF-8 are shown as question marks
        shown = name.encode(errors="replace").decode()
        return f"{self.place}/{shown}" if self.place.endswith(".zip") else shown

    @contextmanager
    def stream(self, name: str) -> Iterator[BinaryIO]:
        """One file, unpacked where its name ends as that of a packed one.

        Raises:
            InvalidInput: it cannot be read to its end.
        """
        try:
            with self.open(name) as raw, _unpacked(raw, name) as file:
                yield file
        except FileNotFoundError:
            raise InvalidInput(
                f"No such file: {self.where(name)}.",
                hint="Name the folder that holds a table and all that it names.",
            ) from None
        except _UNREADABLE as error:
            why = (isinstance(error, OSError) and error.strerror) or error
            raise InvalidInput(
                f"{self.where(name)} cannot be read to its end: {why}.", hint="Fetch it again."
            ) from None

    @contextmanager
    def whole(self, name: str) -> Iterator[BinaryIO]:
        """One file that is read from its end: in memory where it is packed.

        Raises:
            TooLarge: unpacked it has more than `MAX_FILE_BYTES`.
            InvalidInput: it cannot be read to its end.
        """
        if name.lower().endswith(PACKED):
            yield io.BytesIO(self.read(name))
            return
        with self.stream(name) as file:
            yield file

    def head(self, name: str, most: int = 256) -> bytes:
        """The first bytes of one file; none of one that cannot be read."""
        try:
            with self.stream(name) as file:
                return file.read(most)
        except InvalidInput:
            return b""

    def read(self, name: str, most: int = MAX_FILE_BYTES, hint: str = "Split it.") -> bytes:
        """The whole of one file.

        Raises:
            TooLarge: it has more than `most` bytes; `hint` is what to do about that.
            InvalidInput: it cannot be read.
        """
        with self.stream(name) as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise too_large(self.where(name), most, hint)
        return data


@contextmanager
def open_tree(
    path: Path, usable: Callable[[str], bool], why_not: WhyNot | None = None
) -> Iterator[Tree]:
    """The usable files below a folder, in a zip, or the one file that `path` is.

    A folder that holds no usable file but a zip that does stands for that zip.

    Args:
        path: where to look.
        usable: whether a name says that its file can be read.
        why_not: what the first bytes of any other file say against it; nothing if it is usable.

    Raises:
        NotFound: there is no such path.
        InvalidInput: it is a zip that cannot be read, or nothing in it is usable.
    """
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a folder is barred
        raise NotFound(f"There is no file or folder {path}.", hint=_neighbours(path))
    tree = _folder(path) if path.is_dir() else _file(path)
    zips = [name for name in tree.names if name.lower().endswith(".zip")]
    found = _usable(tree, usable, why_not, lone=not zips)
    if found.names or not zips:
        yield _some(found)
    elif len(zips) > 1:
        raise InvalidInput(
            f"{path} holds several zips: {_few(zips)}.", hint="Name the one to read."
        )
    else:
        place = path / zips[0] if path.is_dir() else path
        with _opened(place) as archive:
            inside = _some(_usable(_zip(place, archive), usable, why_not, lone=True))
            beside = [skip for skip in found.others if skip.where != zips[0]]
            yield replace(inside, others=(*inside.others, *beside))


def _usable(
    tree: Tree, usable: Callable[[str], bool], why_not: WhyNot | None, *, lone: bool
) -> Tree:
    """The usable files; those in `.json` only where `lone` and nothing else is usable.

    Beside other files they are most often notes about these.
    """

    def meant(name: str) -> bool:
        return usable(name) and (suffix(name) != ".json" or LOG in name)

    found = tree.only(meant, why_not)
    return found if found.names or not lone else tree.only(usable, why_not)


def suffix(name: str) -> str:
    """The end of a file's name that says what it is, unpacked: `.csv` of `a/train.csv.gz`."""
    return PurePosixPath(bare(name).lower()).suffix


def stem(name: str) -> str:
    """The path less what its end says: `a/train` of `a/train.csv.gz`."""
    unpacked = bare(name)
    return unpacked[: len(unpacked) - len(PurePosixPath(unpacked).suffix)]


def _folder(path: Path) -> Tree:
    try:
        names = sorted(file.relative_to(path).as_posix() for file in _files(path, frozenset()))
    except OSError as error:
        raise InvalidInput(
            f"The folder {error.filename} cannot be read: {error.strerror}.",
            hint="Give yourself the right to read it.",
        ) from None
    return Tree(str(path), _visible(names), lambda name: (path / name).open("rb"))


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """All files below, through links too; a link back to a folder above is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, above | {real})
        elif entry.is_file():
            yield entry


def _file(path: Path) -> Tree:
    if not path.is_file():
        raise InvalidInput(f"{path} is neither a file nor a folder.", hint="Name one of these.")
    return Tree(str(path.parent), (path.name,), lambda name: (path.parent / name).open("rb"))


def _zip(path: Path, archive: zipfile.ZipFile) -> Tree:
    listed = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if not any("/" in name for name in listed):  # some programs of Windows write a\b for a/b
        listed = {name.replace("\\", "/"): info for name, info in listed.items()}
    held = {name: info for name, info in listed.items() if not name.endswith("/")}
    for name, info in held.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InvalidInput(
                f"{path} holds a file called {name!r}, which lies outside of it.",
                hint="Make the zip again, from inside the folder.",
            )
        if info.flag_bits & 1 or info.compress_type not in _PACKINGS:
            raise InvalidInput(
                f"{name!r} in {path} is encrypted, or packed in a way that Python does not know.",
                hint="Make a plain zip of it.",
            )

    def opened(name: str) -> BinaryIO:
        if name not in held:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return cast("BinaryIO", io.BufferedReader(archive.open(held[name])))

    return Tree(path.name, _visible(sorted(held)), opened)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        raise InvalidInput(f"{path} is not a sound zip.", hint="Fetch or make it again.") from None
    with archive:
        yield archive


def bare(name: str) -> str:
    """A name less what says that the file is packed."""
    path = PurePosixPath(name)
    packed = path.suffix.lower() in PACKED
    return name[: -len(path.suffix)] if packed else name


@contextmanager
def _unpacked(raw: BinaryIO, name: str) -> Iterator[BinaryIO]:
    end = PurePosixPath(name.lower()).suffix
    if end not in PACKED:
        yield raw
        return
    openers: dict[str, Callable[[BinaryIO], Any]] = {
        ".gz": gzip.open,
        ".bz2": bz2.open,
        ".xz": lzma.open,
        ".zst": lambda packed: pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd"),
    }
    opened = openers[end](raw)
    with io.BufferedReader(opened) as file:
        if file.peek(len(_XZ)).startswith((_GZIP, _ZSTD, _XZ)):
            raise InvalidInput(
                f"{name} is packed twice: what it holds is packed, too.", hint="Unpack it once."
            )
        yield cast("BinaryIO", file)


def _visible(names: Sequence[str]) -> tuple[str, ...]:
    """Less what systems leave behind: `.DS_Store`, `__MACOSX/`."""
    return tuple(n for n in names if not re.search(r"(^|/)(\.|__MACOSX/)", n))


def _some(tree: Tree) -> Tree:
    if tree.names:
        return tree
    held = (
        f"it holds {_few([other.where for other in tree.others])}" if tree.others else "it is empty"
    )
    raise InvalidInput(
        f"Nothing in {tree.place} can be read as these rows: {held}.",
        hint="docs/data.md lists the layouts.",
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _neighbours(path: Path) -> str:
    try:
        names = sorted(os.listdir(path.parent))  # noqa: PTH208 - names are wanted
    except OSError:  # there is no such folder, or it may not be read
        return "Check the path."
    return f"{path.parent} holds {_few(names) or 'nothing'}."
