"""Find single facts of a row that tell its label by themselves: a column, a size, a length."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, numbered, objects
from cluster.features.quality.copies import plain
from cluster.features.schema.column import Column, Number, Text, Whole
from cluster.media.picture import Picture

FOLDS = 4
WORD = re.compile(r"[^\W_]+")
VALUES = 200
"""A column of words with more different ones is no category."""


def facts(columns: Mapping[str, Column], rows: Batch, sizes: Mapping[str, NDArray[Any]]) -> Batch:
    """What each row has that one number or one word says `[n]`, by a name for people.

    Args:
        columns: those beside the label, with their types.
        rows: as they are in memory.
        sizes: of columns of files the bytes of each row's.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, kind in columns.items():
        values = rows[name]
        match kind:
            case Number() | Whole():
                found[f"the column {name}"] = values.astype(np.float64)
            case Picture():
                shapes = np.array([picture.shape for picture in values])
                found[f"the height of {name}"] = shapes[:, 0]
                found[f"the width of {name}"] = shapes[:, 1]
                found[f"whether {name} is grey or in colour"] = shapes[:, 2]
                found[f"the size in bytes of {name}"] = sizes[name]
            case Text():
                found[f"the length of {name}"] = np.array([len(text) for text in values])
                if len(set(values)) <= min(VALUES, len(values) / 4):
                    found[f"the column {name}"] = values
    return {name: values for name, values in found.items() if len(set(values.tolist())) > 1}


def telling(
    fact: NDArray[Any], labels: NDArray[np.int64], *, seed: int = 0
) -> tuple[float, NDArray[np.float64]]:
    """How well a fact alone tells labels of rows that were not learnt from: 0 by chance, 1 always.

    Args:
        fact: `[n]`, numbers or words.
        labels: the number of each row's label `[n]`; each has `FOLDS` rows or more.
        seed: draws the folds.

    Returns:
        The balanced accuracy of a small tree, scaled so that guessing has 0; and how well each
        label is told from all others `[labels]`: the lower of its precision and its recall.
    """
    from sklearn.metrics import balanced_accuracy_score  # noqa: PLC0415 - takes a second
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    words = fact.dtype.kind not in "fiub"
    values = _one_hot(fact) if words else fact.astype(np.float64)[:, None]
    classes = int(labels.max()) + 1
    # a leaf for each label, and as many again
    tree = DecisionTreeClassifier(
        max_leaf_nodes=2 * max(classes, values.shape[1]),
        min_samples_leaf=2,
        class_weight="balanced",
        random_state=seed,
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    answers = cross_val_predict(tree, values, labels, cv=folds)
    right = np.bincount(labels[answers == labels], minlength=classes)
    answered, there = (np.bincount(of, minlength=classes) for of in (answers, labels))
    each = right / np.maximum(1, np.maximum(answered, there))
    return float(balanced_accuracy_score(labels, answers, adjusted=True)), each


def named(texts: NDArray[Any], labels: NDArray[Any], *, seed: int = 0) -> tuple[float, float]:
    """The share of texts that hold their own label as words, and that of another label drawn."""
    said, words = ([_words(text) for text in column.tolist()] for column in (texts, labels))
    different, number = numbered(objects(words))
    turned = np.random.default_rng(seed).integers(1, max(2, len(different)), len(words))
    others = objects(different)[(number + turned) % len(different)]
    own = np.mean([word in text for word, text in zip(words, said, strict=True)])
    return float(own), float(np.mean([w in text for w, text in zip(others, said, strict=True)]))


def _words(text: str) -> str:
    """The words of a text with a space on each side: `card_lost` is two."""
    return f" {' '.join(WORD.findall(plain(text)))} "


def _one_hot(words: NDArray[Any]) -> NDArray[np.float64]:
    known, number = numbered(words)
    return np.eye(len(known))[number]
