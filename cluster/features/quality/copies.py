"""Find the rows of a view that hold the same: equal, or near-copies of each other."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from cluster.features.offline.digest import digest_rows
from cluster.features.offline.snapshot import Snapshot
from cluster.features.quality.likeness import SKETCH, cluster, sketch
from cluster.features.quality.sketches import load, save
from cluster.features.schema.column import Column, Text
from cluster.features.schema.view import View
from cluster.media.media import Media
from cluster.media.picture import Picture

ROWS = 4_096
KEPT_ROWS = 20_000  # of fewer texts the digests are made in no time
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))  # soft hyphen, ZWSP, joiner, BOM

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Copies:
    """Which rows of a snapshot hold the same, in the snapshot's order.

    Every row is given the number of the first row of its group, in the order of keys; a row that
    has no copy has its own. So `same == same[row]` are the copies of a row, and
    `(alike != np.arange(len(alike))).sum()` counts the rows that a data set without near-copies
    would lack.

    Args:
        same: groups of equal content: the same text, the same pixels `[n]`.
        alike: groups of near-copies, which hold those of `same` `[n]`: texts that differ by case,
            spaces or Unicode form; pictures that were encoded again or made somewhat smaller.
    """

    same: Numbers
    alike: Numbers


def content_of(inputs: View, examples: View) -> tuple[str, ...]:
    """The columns that make two examples of a capability copies of each other; maybe none.

    It is the column that names rows by their content. Without one, it is what a caller sends, if
    that is words and pictures alone: rows of numbers may be equal without being copies.
    """
    if examples.named_by:
        return (examples.named_by,)
    sent = inputs.columns if inputs.name == examples.name else {}
    plain = all(isinstance(column, Text | Media) for column in sent.values())
    return tuple(sent) if plain else ()


def copies_of(snapshot: Snapshot, view: View, columns: Sequence[str] | None = None) -> Copies:
    """The copies among the rows of a snapshot.

    Rows of several columns are copies where they are in each. Sketches of pictures are kept beside
    the rows, so that a picture is decoded for this once.

    Args:
        snapshot: of the view.
        view: says what its columns hold.
        columns: those whose content is compared; by default the one that names rows.
    """
    named = (view.named_by,) if view.named_by else ()
    chosen = named if columns is None else tuple(columns)
    order = _order(snapshot, view)
    if not chosen or not len(order):
        return Copies(np.arange(len(order)), np.arange(len(order)))
    found = [_of_column(snapshot, name, view.columns[name], order) for name in chosen]
    same, alike = (_together([getattr(one, how) for one in found]) for how in ("same", "alike"))
    return Copies(_first(same, order), _first(alike, order))


def across(groups: Numbers, parts: NDArray[np.str_], part: str, other: str) -> Numbers:
    """The rows of a part that have a copy in another part, by number.

    Args:
        groups: of either kind `[n]`.
        parts: of the same rows `[n]`.
        part: whose rows are wanted: `test`.
        other: where their copies are: `train`.
    """
    shared = np.isin(groups, groups[parts == other])
    return np.flatnonzero(shared & (parts == part))


def plain(text: str) -> str:
    """A text without what a copy may differ by: case, Unicode form, spaces, invisible letters."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_INVISIBLE).split())


def _order(snapshot: Snapshot, view: View) -> Numbers:
    """The rows by key, then by event time: copies are drawn with the first of them."""
    names = [*view.key, "event_time"]
    keys = pl.DataFrame(pl.from_arrow(snapshot.table(names)))
    return keys.select(pl.arg_sort_by(names)).to_series().to_numpy().astype(np.int64)


def _of_column(snapshot: Snapshot, name: str, column: Column, order: Numbers) -> Copies:
    """By sketches or digests; those that took long to make are kept for the next look."""
    rows = snapshot.table(["digest"])["digest"].to_numpy().view(np.uint64)
    called = hashlib.sha256(rows.tobytes() + order.tobytes()).hexdigest()[:16]
    slow = isinstance(column, Picture) or len(rows) >= KEPT_ROWS
    kept, complete = load(snapshot, name, called) if slow else ({}, False)
    missing = np.setdiff1d(rows, kept["digest"]) if kept else rows
    before = [(kept["digest"].astype(np.uint64), kept["sketch"])] if kept else []
    known, sketches = _joined([*before, *_read(snapshot, name, missing, partial(_made, column))])
    mine = sketches[np.searchsorted(known, rows)]
    same = _first(_numbers(mine["pixels"] if isinstance(column, Picture) else mine[:, 0]), order)
    if complete:
        return Copies(same, kept["alike"].astype(np.int64))
    if isinstance(column, Picture):
        alike = cluster(mine, same, order)
    else:
        alike = _first(_numbers(mine[:, 1]), order)
    if slow:
        save(snapshot, name, called, {"digest": known, "sketch": sketches, "alike": alike})
    return Copies(same, alike)


def _read(
    snapshot: Snapshot, name: str, rows: Words, make: Callable[[pa.Array], NDArray[Any]]
) -> Iterator[tuple[Words, NDArray[Any]]]:
    """What is made of a column's values, some at a time, and the digests of their rows."""
    for file in snapshot.files if len(rows) else ():
        index = snapshot.index([file], ["digest"])["digest"].to_numpy().view(np.uint64)
        wanted = np.flatnonzero(np.isin(index, rows))
        if not len(wanted):
            continue
        column = snapshot.table_of(file, [name])[name].combine_chunks()
        for start in range(0, len(wanted), ROWS):
            some = wanted[start : start + ROWS]
            yield index[some], make(column.take(pa.array(some)))


def _joined(pieces: Iterable[tuple[Words, NDArray[Any]]]) -> tuple[Words, NDArray[Any]]:
    """Pieces as one, by digest, each once."""
    keys, values = zip(*pieces, strict=True)
    known, first = np.unique(np.concatenate(keys), return_index=True)
    return known, np.concatenate(values)[first]


def _made(column: Column, values: pa.Array) -> NDArray[Any]:
    """Of pictures their sketches `[n]`; of other values two digests `[n, 2]`.

    The one is of the value as it is, the other of what near-copies have alike.
    """
    if isinstance(column, Picture):
        # one at a time: a thousand photographs do not fit into memory
        pictures = (column.unpack(values.slice(row, 1))[0] for row in range(len(values)))
        return np.array([sketch(picture) for picture in pictures], SKETCH)
    if not isinstance(column, Text):
        one: Words = digest_rows([values], len(values)).to_numpy().view(np.uint64)
        return np.stack([one, one], axis=1)
    words = values.to_pylist()
    sets = (words, map(plain, words))
    return np.stack([_hashed(texts) for texts in sets], axis=1)


def _hashed(texts: Iterable[str]) -> Words:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _numbers(values: NDArray[Any]) -> Numbers:
    """Equal values as equal numbers."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _together(groups: Sequence[Numbers]) -> Numbers:
    """Rows that are together in all of some groupings as equal numbers."""
    number = groups[0]
    for other in groups[1:]:
        _, number = np.unique(np.stack([number, other]), axis=1, return_inverse=True)
        number = number.reshape(-1)
    return number


def _first(groups: Numbers, order: Numbers) -> Numbers:
    """For each row the first of its group in an order."""
    first = np.empty(int(groups.max(initial=-1)) + 1, np.int64)
    first[groups[order[::-1]]] = order[::-1]
    return first[groups]
