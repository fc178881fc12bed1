"""Read MovieLens 100K, 1M and 10M as they are shipped: without headers, some of it in Latin-1."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from cluster.base.batch import objects
from cluster.features.intake.files.decoding import text_lines
from cluster.features.intake.files.table import Chunk, Table
from cluster.features.intake.files.tree import Tree, bare
from cluster.features.schema.raw import unwritable

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
"""What the last columns of `u.item` say yes or no to, in their order."""
_FILM = ("item_id", "title", "released", "video_released", "url")


@dataclass(frozen=True)
class Layout:
    """What the columns of a file are: the end of its name, its first line, their names."""

    file: str
    line: str
    names: tuple[str, ...]


LAYOUTS = (
    Layout("ratings.dat", r"\d+::\d+::[\d.]+::\d+", ("user_id", "item_id", "rating", "timestamp")),
    Layout("movies.dat", r"\d+::.+::.*", ("item_id", "title", "genres")),
    Layout("users.dat", r"\d+(::[^:]*){4}", ("user_id", "gender", "age", "occupation", "zip")),
    Layout("u.data", r"\d+\t\d+\t[\d.]+\t\d+", ("user_id", "item_id", "rating", "timestamp")),
    Layout("u.item", r"\d+\|.*(\|[01]){19}", (*_FILM, *GENRES)),
    Layout("u.user", r"\d+(\|[^|]*){4}", ("user_id", "age", "gender", "occupation", "zip")),
)


def layout_of(name: str) -> Layout | None:
    """The layout of a file that is called as one of MovieLens."""
    file = PurePosixPath(bare(name)).name.lower()
    return next((one for one in LAYOUTS if re.search(rf"(^|[-_]){one.file}$", file)), None)


def fits(layout: Layout, tree: Tree, name: str) -> bool:
    """Whether a file begins as the layout says, and not with a header."""
    with tree.stream(name) as file:
        first = next(text_lines(file, tree.where(name)), "")
    return re.fullmatch(layout.line, first.rstrip("\r\n")) is not None


def encoding_of(tree: Tree, name: str) -> str:
    """Latin-1 where a file is no UTF-8, as of the older two."""
    with tree.stream(name) as file:
        broken = any(not line.isascii() and unwritable([line]) for line in text_lines(file, name))
    return "latin-1" if broken else ""


def named(layout: Layout, table: Table) -> Table:
    """The table with names; the genres of a film in one column, with `|` between them."""
    if layout.names[-1] != GENRES[-1]:
        return Table(layout.names, table.chunks, table.unit)
    return Table((*_FILM, "genres"), _with_genres(table.chunks), table.unit)


def _with_genres(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        films, flags = chunk.columns[: len(_FILM)], chunk.columns[len(_FILM) :]
        genres = objects(
            "|".join(genre for genre, flag in zip(GENRES, row, strict=True) if flag == "1")
            for row in zip(*flags, strict=True)
        )
        yield Chunk((*films, genres), chunk.lines, chunk.broken)
