"""Read pictures and their labels from arrays: idx pairs, and npz as of MedMNIST."""

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, TooLarge
from cluster.features.intake.files.tree import Tree
from cluster.features.intake.folders import split_in

ROWS = 4_096  # small pictures held at a time
ROWS_BYTES = 64_000_000
IDX_BYTES = 1_000_000_000  # 1.2 million pictures of 28 x 28
_IDX = re.compile(r"(?P<part>.*?)[-_.]?(?P<what>images|labels)[-.]idx[1-4]-ubyte(\.gz)?$")
_NPZ = re.compile(
    r"(?:(?P<part>[a-z0-9]+)_)?(?P<what>images?|x|data|labels?|y)(?:_(?P<end>[a-z0-9]+))?\.npy$",
    re.IGNORECASE,
)
_IMAGES = frozenset(("image", "images", "x", "data"))


def holds_arrays(name: str) -> bool:
    """Whether a file's name says that it is one of these."""
    return bool(_IDX.search(name)) or name.lower().endswith(".npz")


def read_arrays(tree: Tree, names: Sequence[str]) -> Iterator[Batch]:
    """Pictures, labels and parts of all pairs of arrays.

    Raises:
        InvalidInput: a file is broken, or arrays are no pictures with one label each.
        TooLarge: an array has more than `IDX_BYTES`.
    """
    yield from _idx_pairs(tree, [name for name in names if _IDX.search(name)])
    for name in names:
        if name.lower().endswith(".npz"):
            yield from _npz(tree, name)


def _idx_pairs(tree: Tree, names: Sequence[str]) -> Iterator[Batch]:
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        if found := _IDX.search(name):
            parts.setdefault(found["part"], {})[found["what"]] = name
    for part, pair in sorted(parts.items(), reverse=True):  # train before t10k
        if len(pair) < 2:
            (one,) = pair.values()
            raise InvalidInput(
                f"{tree.where(one)} stands alone.", hint="Images and labels come in pairs of files."
            )
        pixels, labels = _idx(tree, pair["images"]), _idx(tree, pair["labels"])
        if pixels.ndim not in (3, 4) or labels.ndim != 1 or len(pixels) != len(labels):
            raise InvalidInput(
                f"{tree.where(pair['images'])} holds an array of {pixels.shape}, "
                f"{tree.where(pair['labels'])} one of {labels.shape}: these are no pair.",
                hint="Put the labels of these pictures beside them.",
            )
        yield from _numbered(part, split_in(part), pixels, labels)


def _numbered(part: str, split: str, pixels: NDArray[Any], labels: NDArray[Any]) -> Iterator[Batch]:
    rows = max(1, min(ROWS, ROWS_BYTES * len(pixels) // max(1, pixels.nbytes)))
    for start in range(0, len(pixels), rows):
        some = range(start, min(start + rows, len(pixels)))
        yield {
            "image": objects(pixels[start : some.stop]),
            "label": objects(str(label) for label in labels[start : some.stop].tolist()),
            "split": np.full(len(some), split, dtype=object),
            "where": objects(f"{part} picture {number}" for number in some),
        }


def _idx(tree: Tree, name: str) -> NDArray[Any]:
    """An array in the format of Yann LeCun's digits: four bytes of magic, sizes, then values."""
    data = tree.read(name, IDX_BYTES)
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise InvalidInput(
            f"{tree.where(name)} is no idx file of bytes: it begins {data[:4]!r}.",
            hint="Fetch it again, or leave it out.",
        )
    sizes = tuple(np.frombuffer(data, ">u4", min(data[3], (len(data) - 4) // 4), 4).tolist())
    begin, expected = 4 + 4 * data[3], int(np.prod(sizes, dtype=object))
    if len(sizes) != data[3] or len(data) - begin != expected:
        raise InvalidInput(
            f"{tree.where(name)} states {expected:,} values and holds {len(data) - begin:,}.",
            hint="Fetch it again.",
        )
    return np.frombuffer(data, np.uint8, offset=begin).reshape(sizes)


def _npz(tree: Tree, name: str) -> Iterator[Batch]:
    """Pairs such as `train_images` with `train_labels`, or `x_test` with `y_test`."""
    where = tree.where(name)
    with tree.stream(name) as file, _archive(where, file) as archive:
        pairs: dict[str, dict[bool, zipfile.ZipInfo]] = {}
        for info in archive.infolist():
            if found := _NPZ.fullmatch(info.filename):
                part = found["part"] or found["end"] or ""
                pairs.setdefault(part, {})[found["what"].lower() in _IMAGES] = info
        whole = {part: pair for part, pair in pairs.items() if len(pair) == 2}
        if not whole:
            held = ", ".join(PurePosixPath(info.filename).stem for info in archive.infolist())
            raise InvalidInput(
                f"{where} holds no pair of arrays of pictures and of labels, but {held[:200]}.",
                hint="Call them train_images and train_labels, or x_train and y_train.",
            )
        lone = len({split_in(part) for part in whole}) == 1
        for part, pair in whole.items():
            label = f"{where} {part}".strip()
            labels = _labels(label, _array(f"{label} labels", archive, pair[False]))
            pixels = _array(f"{label} images", archive, pair[True])
            _check_pixels(label, pixels, labels)
            yield from _numbered(label, "" if lone else split_in(part), pixels, labels)


def _archive(where: str, file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise InvalidInput(f"{where} is no sound npz.", hint="Fetch it again.") from None


def _array(what: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.file_size > IDX_BYTES:
        raise TooLarge(
            f"{what} have {info.file_size:,} bytes; the limit is {IDX_BYTES:,}.",
            hint="Give the pictures as files in a folder per class.",
            limit=IDX_BYTES,
            actual=info.file_size,
        )
    try:
        with archive.open(info) as file:
            _check_header(file, info.file_size)
        with archive.open(info) as file:
            # pickles may run anything: arrays of objects are refused
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        # RuntimeError: it is encrypted, or packed in a way that Python does not know
        raise InvalidInput(f"{what} cannot be read: {error}.", hint="Save them again.") from None
    return array


def _check_header(file: IO[bytes], size: int) -> None:
    """Refuse an array that states more than its file holds, before memory is taken for it."""
    version = np.lib.format.read_magic(file)
    old = version == (1, 0)
    reader = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    stated = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if stated > size:
        raise ValueError(f"it states {stated:,} bytes and holds {size:,}")


def _labels(what: str, labels: NDArray[Any]) -> NDArray[Any]:
    """One label per picture, of an array `[n]` or `[n, 1]`."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InvalidInput(
            f"{what} has {labels.shape[1]} labels for each picture, and one is read here.",
            hint="Save an array [n, 1] of one of them.",
        )
    flat = labels.reshape(-1)
    if labels.ndim not in (1, 2) or flat.dtype.kind not in "iubU":
        raise InvalidInput(
            f"{what} has labels of {labels.dtype} and shape {labels.shape}.",
            hint="Save whole numbers or words, one for each picture.",
        )
    return flat


def _check_pixels(what: str, pixels: NDArray[Any], labels: NDArray[Any]) -> None:
    flat = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] in (1, 3))
    if pixels.dtype != np.uint8 or not flat or len(pixels) != len(labels):
        raise InvalidInput(
            f"{what} has images of {pixels.dtype} and shape {pixels.shape} with {len(labels)} "
            "labels: these are no pictures of one label each.",
            hint="Save uint8 [n, height, width] or [n, height, width, 3], and [n] labels.",
        )
