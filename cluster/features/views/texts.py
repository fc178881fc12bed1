"""Hold texts and what is said of each: reviews and sentiments, questions and intents."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import decode, text_lines
from cluster.features.intake.files.table import FIELD_BYTES, in_chunks
from cluster.features.intake.files.tree import Tree, open_tree, stem, suffix
from cluster.features.intake.finding import Files
from cluster.features.intake.folders import classes, split_in
from cluster.features.intake.labelling import Content, Source, read_labelled
from cluster.features.intake.loading import load_folders
from cluster.features.intake.mapping import Wanted, by_position
from cluster.features.intake.parts import is_table
from cluster.features.schema.column import SPLITS, Text
from cluster.features.schema.view import Piece, View
from cluster.features.shop import shop

_ID = ("textid", "id")
_TEXT = ("text", "sentence", "review", "message", "content", "question")
_LABEL = ("label", "category", "class", "intent", "sentiment", "target")
WANTED = Wanted(
    names={
        "text_id": _ID,
        "text": _TEXT,
        "label": _LABEL,
    },
    needed=("text", "label"),
)
BY_ID = Wanted(
    names={
        "text_id": _ID,
        "text": (*_TEXT, "file", "filename", "filepath", "path", "fname", "document", *_ID),
        "label": _LABEL,
    },
    needed=("text", "label"),
)
NUMBERED = 20
"""More files than that whose names end in a number are documents, and not each a class."""
LOOKED_AT = 1_000
"""How many lines of a file show whether it is a class or a table without a header."""
_FEWEST_LINES = 5
_MOST_LABELS = 20
_LABEL_LENGTH = 40
_ABOUT = frozenset(("readme", "license", "licence", "notice", "changelog", "citation"))
_OTHER = frozenset(
    (".md", ".rst", ".pdf", ".html", ".htm", ".json", ".xml", ".yaml", ".yml", ".py", ".zip",
     ".npz", ".npy", ".wav", ".mp3", ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif",
     ".tiff", ".avif", ".heic", ".names", ".vocab", ".feat", ".dat", ".data", ".log", ".bak",
     ".lst", ".ini", ".cfg", ".toml", ".sh", ".js", ".css", ".doc", ".docx", ".odt", ".rtf", ".xls",
     ".xlsx", ".db", ".sqlite", ".pkl", ".pickle", ".bin", ".tar", ".tgz", ".bz2", ".xz",
     ".zst", ".7z")
)  # fmt: skip


def read_texts(path: Path, columns: Mapping[str, str]) -> Iterator[Piece]:
    """Texts from tables, a file per class, or a folder per class; or from a zip of these.

    - CSV, TSV, JSON lines or Parquet (`.gz` too) with a text and a label column, recognised by the
      names in `WANTED` or mapped. A table without a header is mapped by position:
      `text=1,label=0`; so is a `.txt` file, whose columns are parted by tabs. Beside a table no
      other file is read, but for `.txt` files that it names by a path or an id.
    - A file per class, one text a line: the class is the file's end (`reviews.pos`), or its name
      (`pos.txt`).
    - A folder per class of `.txt` files, one text a file.

    Raises:
        NotFound: the path is missing.
        InvalidInput: nothing can be read as texts, a table lacks a column, or the lines of what
            would be a class hold labels of their own.
    """
    plain, encoding = by_position(columns), columns.get("encoding", "")

    def tabular(name: str) -> bool:
        return is_table(name) or (plain and suffix(name) == ".txt" and not _about(name))

    with open_tree(path, lambda name: tabular(name) or _holds_texts(name)) as tree:
        tables = [name for name in tree.names if tabular(name)]
        if not tables:
            yield from _classed(tree, encoding)
            return
        files = [n for n in tree.names if suffix(n) == ".txt" and n not in tables]
        load = partial(_text, encoding=encoding)
        content = Content(column="text", wanted=WANTED, by_id=BY_ID, paths=False, load=load)
        yield from read_labelled(Source(tree, Files(files), tables, columns), content)
        yield from tree.unread([*tables, *files])


def _classed(tree: Tree, encoding: str) -> Iterator[Piece]:
    """A folder per class or a file per class, whichever the names look like."""
    plain = [name for name in tree.names if suffix(name) == ".txt"]
    classed = list(classes(plain))
    if len({label for _, label, _ in classed} - {""}) > 1:
        yield from load_folders(tree, classed, "text", partial(_text, encoding=encoding))
        yield from tree.unread(plain)
        return
    named = [name for name in tree.names if suffix(name) != ".txt"] or plain
    parts = {name: split_in(name) for name in named}
    lone = len({*parts.values()}) == 1  # a part that is alone leaves nothing to measure with
    if (
        named is plain
        and len(plain) > NUMBERED
        and all(_named(name)[-1].isdigit() for name in named)
    ):
        raise InvalidInput(
            f"Nothing says what the {len(plain):,} texts in {tree.place} are: "
            f"{plain[0]} and the others are numbered, and lie in no folders of classes.",
            hint="Put them into a folder per class, or a table beside them, with a column of their "
            "paths and one of labels.",
        )
    for name in named:
        _check_no_table(tree, name, encoding)
    for name in named:
        label = _named(name) if name in plain else suffix(name).removeprefix(".")
        yield from _lines(tree, name, label, "" if lone else parts[name], encoding)
    yield from tree.unread(named)


def _check_no_table(tree: Tree, name: str, encoding: str) -> None:
    """Refuse a file whose lines are a text, a tab and one of a few labels, or the reverse.

    Read as a file per class, its name would be the label of all, and the labels part of the texts.
    """
    place = tree.where(name)
    with tree.stream(name) as file:
        lines = [line.strip() for line in islice(text_lines(file, place, encoding), LOOKED_AT)]
    fields = [line.split("\t") for line in lines if line]
    rows = [row for row in fields if len(row) == 2]
    if len(rows) < max(_FEWEST_LINES, 0.95 * len(fields)):
        return
    text, label = sorted((0, 1), key=lambda at: -len({row[at] for row in rows}))
    labels = sorted({row[label].strip() for row in rows})
    if len(labels) > min(_MOST_LABELS, len(rows) / 2) or len(max(labels, key=len)) > _LABEL_LENGTH:
        return
    shown = ", ".join(labels[:3]) + (", ..." if len(labels) > 3 else "")
    how = "Say" if suffix(name) == ".txt" else "Let its name end in .txt, and say"
    raise InvalidInput(
        f"{place} is a table without a header: its lines hold a tab and a label ({shown}).",
        hint=f"{how} which column is which with --map text={text},label={label}.",
    )


def _lines(tree: Tree, name: str, label: str, split: str, encoding: str) -> Iterator[Piece]:
    """One text a line, all of one class."""
    place = tree.where(name)
    with tree.stream(name) as file:
        numbered = enumerate(text_lines(file, place, encoding), 1)
        for some in in_chunks(numbered, _size_bytes):
            kept = [(number, line.strip()) for number, line in some if line.strip()]
            yield {
                "text": objects(line for _, line in kept),
                "label": np.full(len(kept), label, dtype=object),
                "split": np.full(len(kept), split, dtype=object),
                "where": objects(f"{place} line {number}" for number, _ in kept),
            }


def _size_bytes(lines: Sequence[tuple[int, str]]) -> int:
    return sum(FIELD_BYTES + len(line) for _, line in lines)


def _text(data: bytes, encoding: str) -> str:
    return decode(data, encoding=encoding).strip()


def _holds_texts(name: str) -> bool:
    return suffix(name) not in _OTHER | {""} and not _about(name) and not is_table(name)


def _about(name: str) -> bool:
    called = PurePosixPath(stem(name)).name.lower()
    return called in _ABOUT or "readme" in called.replace("_", "-").split("-")


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
