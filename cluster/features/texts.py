"""Hold texts and what is said of each: reviews and sentiments, questions and intents."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from cluster.batch import objects
from cluster.features import shop
from cluster.features.column import SPLITS, Text
from cluster.features.intake.decoding import decode, text_lines
from cluster.features.intake.loading import load_folders
from cluster.features.intake.mapping import Wanted, by_position, read_table
from cluster.features.intake.parts import is_table
from cluster.features.intake.table import ROWS
from cluster.features.intake.tree import Tree, classes, open_tree, split_in, stem, suffix
from cluster.features.view import Piece, View

WANTED = Wanted(
    names={
        "text_id": ("textid", "id"),
        "text": ("text", "sentence", "review", "message", "content", "question"),
        "label": ("label", "category", "class", "intent", "sentiment", "target"),
    },
    needed=("text", "label"),
)
_ABOUT = frozenset(("readme", "license", "licence", "notice", "changelog", "citation"))
_OTHER = frozenset(
    (".md", ".rst", ".pdf", ".html", ".htm", ".json", ".xml", ".yaml", ".yml", ".py", ".zip",
     ".npz", ".wav", ".names", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")
)  # fmt: skip


def read_texts(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Texts from tables, a file per class, or a folder per class; or from a zip of these.

    - CSV, TSV, JSON lines or Parquet (`.gz` too) with a text and a label column, recognised by the
      names in `WANTED` or mapped. A table without a header is mapped by position:
      `text=1,label=0`; so is a `.txt` file, whose columns are parted by tabs. Beside a table no
      other file is read.
    - A file per class, one text a line: the class is the file's end (`reviews.pos`), or its name
      (`pos.txt`).
    - A folder per class of `.txt` files, one text a file.

    Raises:
        NotFound: the path is missing.
        InvalidInput: nothing can be read as texts, or a table lacks a column.
    """
    plain = by_position(columns)

    def tabular(name: str) -> bool:
        return is_table(name) or (plain and suffix(name) == ".txt" and not _about(name))

    with open_tree(path, lambda name: tabular(name) or _holds_texts(name)) as tree:
        tables = [name for name in tree.names if tabular(name)]
        for name in tables:
            yield from read_table(tree, name, columns, WANTED)
        if not tables:
            yield from _classed(tree, columns.get("encoding", ""))
        yield from tree.unread(tables or tree.names)


def _classed(tree: Tree, encoding: str) -> Iterator[Piece]:
    """A file per class or a folder per class, whichever the names look like."""
    ends = [name for name in tree.names if suffix(name) != ".txt"]
    if ends:
        for name in ends:
            yield from _lines(tree, name, suffix(name).removeprefix("."), encoding)
        return
    classed = list(classes(tree.names))
    if len({label for _, label, _ in classed}) > 1:
        yield from load_folders(
            tree, classed, "text", lambda data: decode(data, encoding=encoding).strip()
        )
        return
    for name in tree.names:
        yield from _lines(tree, name, _named(name), encoding)


def _lines(tree: Tree, name: str, label: str, encoding: str) -> Iterator[Piece]:
    """One text a line, all of one class."""
    place = tree.where(name)
    split = split_in(name) if len(tree.names) > 1 else ""  # a file alone is no part of anything
    with tree.stream(name) as file:
        numbered = enumerate(text_lines(file, place, encoding), 1)
        while some := list(islice(numbered, ROWS)):
            kept = [(number, line.strip()) for number, line in some if line.strip()]
            yield {
                "text": objects(line for _, line in kept),
                "label": np.full(len(kept), label, dtype=object),
                "split": np.full(len(kept), split, dtype=object),
                "where": objects(f"{place} line {number}" for number, _ in kept),
            }


def _holds_texts(name: str) -> bool:
    return suffix(name) not in _OTHER | {""} and not _about(name) and not is_table(name)


def _about(name: str) -> bool:
    return PurePosixPath(stem(name)).name.lower() in _ABOUT


def _named(name: str) -> str:
    """The class that a file's name says: `pos` of `train-pos.txt`."""
    bare = PurePosixPath(stem(name)).name
    words = [word for word in bare.replace("_", "-").split("-") if word.lower() not in SPLITS]
    return "-".join(words) or bare


labelled_texts = View(
    name="texts",
    key=("text_id",),
    columns={"text": Text(), "label": Text()},
    sample=shop.sample_texts,
    read=read_texts,
    named_by="text",
    description="Texts and what each of them is or says.",
)
texts = labelled_texts.only("text")
