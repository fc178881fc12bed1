"""Read pictures from a folder per class, from arrays, or from a table of paths or bytes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.arrays import holds_arrays, read_arrays
from cluster.features.intake.files.tree import Tree, open_tree, stem, suffix
from cluster.features.intake.finding import Files
from cluster.features.intake.labelling import Content, Source, content_of, is_bytes, read_labelled
from cluster.features.intake.loading import load_column
from cluster.features.intake.mapping import HOW, ITEM, Wanted, header, match, read_table
from cluster.features.intake.parts import is_table
from cluster.features.schema.view import Piece, Reject, Skipped
from cluster.media.headers import known_otherwise, sniff

_ID = ("imageid", "id")
_IMAGE = (
    "image", "imagepath", "path", "file", "filename", "filepath", "imagefile", "imagename",
    "imgpath", "imgname", "img", "fname", "bytes", "picture",
)  # fmt: skip
_LABEL = ("label", "class", "category", "target")
WANTED = Wanted(
    names={"image_id": _ID, "image": _IMAGE, "label": _LABEL}, needed=("image", "label")
)
BY_ID = Wanted(
    names={"image_id": _ID, "image": (*_IMAGE, *_ID, "idcode"), "label": _LABEL},
    needed=("image", "label"),
)
ITEMS = Wanted(names={"item_id": (*ITEM, "id"), "image": _IMAGE}, needed=("item_id", "image"))
PICTURES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
     ".jp2", ".pgm", ".ppm")
)  # fmt: skip
"""How names of pictures end; any other file is one if its first bytes are a picture's."""
_TEXT_TABLES = frozenset(
    (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
)  # hold no bytes of pictures


def read_images(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Pictures and their classes; from a zip of any of these, too. The first that fits is read.

    - Idx pairs (`train-images-idx3-ubyte.gz` beside `train-labels-idx1-ubyte.gz`; `t10k` is test);
      where there are no pictures npz with such pairs of arrays, as MedMNIST has them.
    - A table with a column of labels, and one of paths, names or ids of pictures that are here, or
      of the bytes of files; recognised by the names in `WANTED`, or mapped.
    - A folder per class, with train, valid and test folders above them where there are parts.

    Raises:
        NotFound: the path is missing.
        InvalidInput: nothing can be read as pictures, or nothing says what they show.
    """
    with open_tree(path, _usable, _why_no_picture) as tree:
        pictures = [name for name in tree.names if not is_table(name) and not holds_arrays(name)]
        arrays = [name for name in tree.names if holds_arrays(name)]
        # an npz beside pictures may be anything
        if arrays and not (pictures and all(suffix(name) == ".npz" for name in arrays)):
            yield from read_arrays(tree, arrays)
            yield from tree.unread(arrays)
            return
        tables = [name for name in tree.names if is_table(name)]
        packed = [other.where for other in tree.others if other.where.lower().endswith(".zip")]
        if packed and not pictures and all(suffix(name) in _TEXT_TABLES for name in tables):
            raise InvalidInput(
                f"{tree.where(tables[0])} names pictures, and {', '.join(packed[:3])} beside it "
                "may hold them: a zip is read only where it holds the tables, too.",
                hint="Unpack it into a folder beside the table.",
            )
        yield from read_labelled(Source(tree, Files(pictures), tables, columns), CONTENT)
        yield from tree.unread([*pictures, *tables])


def read_item_images(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """A picture of each item: from a table, or from files that are named by the item's id.

    Beside files, tables that name none are skipped.

    Raises:
        NotFound: the path is missing.
        InvalidInput: there are no pictures, or a table lacks a column.
    """
    with open_tree(path, _usable, _why_no_picture) as tree:
        names = [name for name in tree.names if not is_table(name) and not holds_arrays(name)]
        files = Files(names)
        named: set[object] = set()
        unread: list[str] = []
        for name in filter(is_table, tree.names):
            try:
                match(tree.where(name), header(tree, name, columns), columns, ITEMS)
            except InvalidInput:
                if columns.keys() - {*HOW} or not names:
                    raise
                unread.append(name)
                continue
            for rows in read_table(tree, name, columns, ITEMS):
                yield from _of_items(tree, files, name, rows, named)
        tables = [name for name in tree.names if is_table(name) and name not in unread]
        if not tables:
            yield from _named_by_item(tree, names)
        yield from tree.unread([*tables, *(named if tables else names)])


def _of_items(
    tree: Tree, files: Files, table: str, rows: Piece, named: set[object]
) -> Iterator[Piece]:
    def load(value: object) -> object:
        content = content_of(value)
        if is_bytes(content):
            return content
        name = files.find(content, table)
        named.add(name)
        return tree.read(name)

    if isinstance(rows, Reject | Skipped):
        yield rows
    else:
        yield from load_column(rows, "image", load)


def _named_by_item(tree: Tree, names: Sequence[str]) -> Iterator[Batch | Reject]:
    files = {
        "item_id": objects(PurePosixPath(stem(name)).name for name in names),
        "image": objects(names),
        "where": objects(map(tree.where, names)),
    }
    yield from load_column(files, "image", lambda name: tree.read(str(name)))


def _usable(name: str) -> bool:
    return suffix(name) in PICTURES or is_table(name) or holds_arrays(name)


def _why_no_picture(head: bytes) -> str:
    """What the first bytes of a file say against its being a picture, or nothing."""
    if other := known_otherwise(head):
        return f"it is {other}, which is not read here: save it as JPEG or PNG"
    try:
        sniff(head)
    except InvalidInput:
        return "it is of no kind that is read here"
    return ""


CONTENT = Content(column="image", wanted=WANTED, by_id=BY_ID, paths=True, load=bytes)
