"""Read what tables say of items or of users: words, categories, numbers and vectors."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contract import Batch

WORD = re.compile(r"[^\W_]+")
YEAR = re.compile(r"\d{4}")
BINS = 10


@dataclass(frozen=True)
class TableFeatures:
    """What tables say of some names.

    Attributes:
        bags: the words, categories and tenths of numbers of each name, behind their column's name.
        amounts: how many different ones each column of words has, as log(1 + n), standardised;
            the mean where no table mentions the name `[names, columns]`.
        vectors: each column of vectors, of length one; zeros where there is none `[names, dim]`.
    """

    bags: list[set[str]]
    amounts: NDArray[np.float32]
    vectors: list[NDArray[np.float64]]


def said(tables: Sequence[Batch], key: str, names: Sequence[str]) -> TableFeatures:
    """What every column of some tables says.

    Args:
        tables: columns `[rows]` of text, lists of text or numbers, or `[rows, dim]` vectors.
        key: the column that holds the name.
        names: of which things; rows about others are left out.
    """
    place = {name: row for row, name in enumerate(names)}
    bags: list[set[str]] = [set() for _ in names]
    mentioned = np.zeros(len(names), dtype=bool)
    counts, vectors = [], []
    for table in tables:
        at = np.array([place.get(str(name), -1) for name in table[key]], dtype=np.int64)
        mentioned[at[at >= 0]] = True
        for column, values in _columns(table, key):
            if (found := _vectors(values)) is not None:
                vectors.append(_placed(found, at, len(names)))
                continue
            words = _words_of(values)
            count = np.zeros(len(names))
            for row, own in zip(at.tolist(), words, strict=True):
                if row >= 0:
                    bags[row].update(f"{column}:{word}" for word in own)
                    count[row] = len(own)
            if values.dtype == object:
                counts.append(count)
    return TableFeatures(bags, _amounts(counts, mentioned), vectors)


def _amounts(counts: list[NDArray[Any]], mentioned: NDArray[np.bool_]) -> NDArray[np.float32]:
    logs = np.log1p(np.array(counts, dtype=np.float32).reshape(len(counts), len(mentioned)).T)
    if mentioned.any():
        logs -= logs[mentioned].mean(axis=0)
        logs /= np.maximum(logs[mentioned].std(axis=0), 1e-6)
    logs[~mentioned] = 0
    return logs


def _columns(table: Batch, key: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns that say something."""
    for name, values in table.items():
        if name not in (key, "event_time", "split") and values.dtype.kind != "M":
            yield name, values


def _vectors(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """A column of vectors as one array `[rows, dim]`; None where it holds something else."""
    if values.ndim == 2:
        return np.asarray(values, dtype=np.float64)
    if not len(values) or not all(isinstance(value, np.ndarray) for value in values):
        return None
    dim = max(len(value) for value in values)
    blank = np.zeros(dim)
    return np.array([value if len(value) == dim else blank for value in values], np.float64)


def _placed(vectors: NDArray[Any], at: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Vectors of length one in the rows of their names."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    placed = np.zeros((count, vectors.shape[1]))
    placed[at[at >= 0]] = (vectors / np.maximum(size, 1e-12))[at >= 0]
    return placed


def _words_of(values: NDArray[Any]) -> list[set[str]]:
    """The words of each row; a number is the tenth of the rows that it falls into."""
    if values.dtype != object:
        inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]) if len(values) else []
        return [{str(tenth)} for tenth in np.searchsorted(inner, values)]
    return [set(_words(v)) if isinstance(v, str) else set(map(str, v)) for v in values]


def _words(text: str) -> Iterator[str]:
    """Words in small letters; a year is also its decade."""
    for word in WORD.findall(text.lower()):
        yield word
        if YEAR.fullmatch(word):
            yield f"{word[:3]}*"
