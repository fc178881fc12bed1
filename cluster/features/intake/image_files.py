"""Read pictures from a folder per class, from idx pairs, or from a table of paths or bytes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.batch import Batch, objects
from cluster.errors import InvalidInput
from cluster.features.intake.loading import load_column, load_folders
from cluster.features.intake.mapping import Wanted, read_table
from cluster.features.intake.parts import is_table
from cluster.features.intake.tree import Tree, classes, open_tree, split_in, stem, suffix
from cluster.features.interactions import ITEM
from cluster.features.view import Piece, Reject

WANTED = Wanted(
    names={
        "image_id": ("imageid", "id"),
        "image": ("image", "imagepath", "path", "file", "filename", "filepath", "bytes", "picture"),
        "label": ("label", "class", "category", "target"),
    },
    needed=("image", "label"),
)
_IMAGE = WANTED.names["image"]
ITEMS = Wanted(names={"item_id": (*ITEM, "id"), "image": _IMAGE}, needed=("item_id", "image"))
PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
IDX_ROWS = 4_096  # small pictures held at a time
IDX_BYTES = 1_000_000_000  # 1.2 million pictures of 28 x 28
_IDX = re.compile(r"(?P<part>.*?)[-_.]?(?P<what>images|labels)[-.]idx[1-4]-ubyte(\.gz)?$")


def read_images(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Pictures and their classes; from a zip of any of these, too. The first that fits is read.

    - Idx pairs (`train-images-idx3-ubyte.gz` beside `train-labels-idx1-ubyte.gz`); `t10k` is test.
    - A folder per class, with train, valid and test folders above them where there are parts.
    - A table with a column of paths (within the table's folder) or of the bytes of the files, and
      one of labels, recognised by the names in `WANTED` or mapped. Columns are mapped, or no
      picture lies in a folder, so that a table beside folders of classes does not hide them.

    Raises:
        NotFound: the path is missing.
        InvalidInput: nothing can be read as pictures, or a pair or table is broken.
    """
    with open_tree(path, _usable) as tree:
        pairs = [name for name in tree.names if _IDX.search(name)]
        tables = [name for name in tree.names if is_table(name)]
        classed = list(classes([name for name in tree.names if suffix(name) in PICTURES]))
        if pairs:
            yield from _pairs(tree, pairs)
        elif tables and (columns or not any(label for _, label, _ in classed)):
            for name in tables:
                for rows in read_table(tree, name, columns, WANTED):
                    yield from _from_table(tree, name, rows)
        else:
            yield from load_folders(tree, classed, "image", bytes)
            yield from tree.unread([name for name, _, _ in classed])


def read_item_images(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """A picture of each item: from a table, or from files that are named by the item's id.

    Raises:
        NotFound: the path is missing.
        InvalidInput: there are no pictures, or a table lacks a column.
    """
    with open_tree(path, lambda name: is_table(name) or suffix(name) in PICTURES) as tree:
        tables = [name for name in tree.names if is_table(name)]
        for name in tables:
            for rows in read_table(tree, name, columns, ITEMS):
                yield from _from_table(tree, name, rows)
        if not tables:
            files = {
                "item_id": objects(PurePosixPath(stem(name)).name for name in tree.names),
                "image": objects(tree.names),
                "where": objects(map(tree.where, tree.names)),
            }
            yield from load_column(files, "image", lambda name: tree.read(str(name)))


def _usable(name: str) -> bool:
    return suffix(name) in PICTURES or is_table(name) or bool(_IDX.search(name))


def _from_table(tree: Tree, name: str, rows: Batch | Reject) -> Iterator[Batch | Reject]:
    if isinstance(rows, Reject):
        yield rows
    else:
        yield from load_column(rows, "image", lambda value: _bytes(tree, name, value))


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
    for start in range(0, len(pixels), IDX_ROWS):
        some = range(start, min(start + IDX_ROWS, len(pixels)))
        yield {
            "image": objects(pixels[start : some.stop]),
            "label": objects(str(label) for label in labels[start : some.stop]),
            "split": np.full(len(some), split, dtype=object),
            "where": objects(f"{part} picture {number}" for number in some),
        }


def _idx(tree: Tree, name: str) -> NDArray[Any]:
    """An array in the format of Yann LeCun's digits: four bytes of magic, sizes, then values."""
    data = tree.read(name, IDX_BYTES)
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
