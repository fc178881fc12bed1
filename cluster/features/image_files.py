"""Read pictures from a folder per class, from idx pairs, or from a table of paths or bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.batch import Batch, length, objects, take
from cluster.errors import InvalidInput
from cluster.features.mapping import Wanted, is_table, read_table
from cluster.features.tree import Tree, classes, open_tree, split_in, suffix
from cluster.features.view import Reject

WANTED = Wanted(
    names={
        "image_id": ("imageid", "id"),
        "image": ("image", "imagepath", "path", "file", "filename", "filepath", "bytes", "picture"),
        "label": ("label", "class", "category", "target"),
    },
    needed=("image", "label"),
    numbered="image_id",
)
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
ROWS = 512  # pictures held at a time
_IDX = re.compile(r"(?P<part>.*?)[-_.]?(?P<what>images|labels)[-.]idx[1-4]-ubyte(\.gz)?$")


def read_images(paths: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Batch | Reject]:
    """Pictures and their classes; from a zip of any of these, too.

    - Idx pairs (`train-images-idx3-ubyte.gz` beside `train-labels-idx1-ubyte.gz`); `t10k` is test.
    - A folder per class, with train, valid and test folders above them where there are parts.
    - A table with a column of paths (within the table's folder) or of the bytes of the files, and
      one of labels, recognised by the names in `WANTED` or mapped.

    Raises:
        NotFound: a path is missing.
        InvalidInput: nothing can be read as pictures, or a pair or table is broken.
    """
    for path in paths:
        with open_tree(path, _usable) as tree:
            pairs = [name for name in tree.names if _IDX.search(name)]
            pictures = [name for name in tree.names if suffix(name) in PICTURES]
            if pairs:
                yield from _pairs(tree, pairs)
            elif pictures and not columns:
                yield from _folders(tree, pictures)
            else:
                for name in filter(is_table, tree.names):
                    yield from _table(tree, name, columns)


def _usable(name: str) -> bool:
    return suffix(name) in PICTURES or is_table(name) or bool(_IDX.search(name))


def _folders(tree: Tree, names: Sequence[str]) -> Iterator[Batch | Reject]:
    classed = list(classes(names))
    for start in range(0, len(classed), ROWS):
        rows = []
        for name, label, split in classed[start : start + ROWS]:
            if not label:
                yield Reject(tree.where(name), "the picture lies in no folder of a class")
                continue
            try:
                rows.append((name, tree.read(name), label, split, tree.where(name)))
            except InvalidInput as error:
                yield Reject(tree.where(name), error.message)
        columns = zip(*rows, strict=True) if rows else [()] * 5
        named = zip(("image_id", "image", "label", "split", "where"), columns, strict=True)
        yield {column: objects(values) for column, values in named}


def _table(tree: Tree, name: str, columns: Mapping[str, str]) -> Iterator[Batch | Reject]:
    for rows in read_table(tree, name, columns, WANTED):
        if isinstance(rows, Reject):
            yield rows
            continue
        for start in range(0, length(rows), ROWS):
            yield from _loaded(tree, name, take(rows, slice(start, start + ROWS)))


def _loaded(tree: Tree, name: str, rows: Batch) -> Iterator[Batch | Reject]:
    """The rows with bytes in place of paths."""
    held, kept = [], []
    for row, value in enumerate(rows["image"]):
        try:
            held.append(_bytes(tree, name, value))
            kept.append(row)
        except InvalidInput as error:
            yield Reject(rows["where"][row], error.message)
    yield {**take(rows, np.asarray(kept, dtype=np.intp)), "image": objects(held)}


def _bytes(tree: Tree, table: str, value: object) -> object:
    if isinstance(value, dict):  # {"bytes": ..., "path": ...} is how data set hubs keep pictures
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str):
        return b"" if value is None else value
    path = PurePosixPath(value.strip().replace("\\", "/"))
    if not path.name:
        raise InvalidInput("image is empty")
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise InvalidInput(f"image {value!r} lies outside the table's folder: put the table above")
    return tree.read((PurePosixPath(table).parent / path).as_posix())


def _pairs(tree: Tree, names: Sequence[str]) -> Iterator[Batch]:
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
                f"{tree.where(pair['labels'])} one of {labels.shape}: these are no pair."
            )
        yield from _numbered(part, split_in(part), pixels, labels)


def _numbered(
    part: str, split: str, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> Iterator[Batch]:
    prefix = split or PurePosixPath(part).name or "image"
    for start in range(0, len(pixels), 8 * ROWS):
        some = range(start, min(start + 8 * ROWS, len(pixels)))
        yield {
            "image_id": objects(f"{prefix}-{number:06d}" for number in some),
            "image": objects(pixels[start : some.stop]),
            "label": objects(str(label) for label in labels[start : some.stop]),
            "split": np.full(len(some), split, dtype=object),
            "where": objects(f"{part} picture {number}" for number in some),
        }


def _idx(tree: Tree, name: str) -> NDArray[Any]:
    """An array in the format of Yann LeCun's digits: four bytes of magic, sizes, then values."""
    data = tree.read(name)
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        raise InvalidInput(f"{tree.where(name)} is no idx file of bytes: it begins {data[:4]!r}.")
    sizes = tuple(np.frombuffer(data, ">u4", min(data[3], (len(data) - 4) // 4), 4).tolist())
    begin, expected = 4 + 4 * data[3], int(np.prod(sizes, dtype=object))
    if len(sizes) != data[3] or len(data) - begin != expected:
        raise InvalidInput(
            f"{tree.where(name)} states {expected:,} values and holds {len(data) - begin:,}.",
            hint="Fetch it again.",
        )
    return np.frombuffer(data, np.uint8, offset=begin).reshape(sizes)
