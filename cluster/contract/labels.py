"""Turn labels into numbers and logits into labels: what every classifier shares."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base import markdown
from cluster.base.errors import InvalidInput


def labels_of(
    seen: Iterable[str], *, hint: str = "A classifier needs rows of at least two labels."
) -> list[str]:
    """The labels to choose from, sorted.

    Args:
        seen: every label there is.
        hint: what to do where there is only one.

    Raises:
        InvalidInput: there is only one, so there is nothing to choose.
    """
    labels = sorted(seen)
    if len(labels) < 2:
        raise InvalidInput(
            f"All rows have the same label, {labels[0]!r}." if labels else "No row has a label.",
            hint=hint,
        )
    return labels


def as_numbers(column: NDArray[Any], labels: Sequence[str]) -> NDArray[np.int64]:
    """The number of each label `[n]`; one that was never seen is an error.

    Raises:
        InvalidInput: a label is not among `labels`.
    """
    number = {label: index for index, label in enumerate(labels)}
    try:
        return np.fromiter((number[label] for label in column), np.int64, len(column))
    except KeyError as error:
        raise InvalidInput(
            f"The label {error.args[0]!r} was not seen in training.",
            hint="Give the training part rows of it.",
        ) from None


def guesses(
    logits: NDArray[Any], labels: Sequence[str], top_k: Iterable[int]
) -> list[list[tuple[str, float]]]:
    """The likeliest labels of each row with their probabilities, likeliest first.

    Args:
        logits: `[n, labels]`.
        labels: their names.
        top_k: how many each row asks for.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    chances = shifted / shifted.sum(axis=1, keepdims=True)
    order = np.argsort(-chances, axis=1, kind="stable")
    return [
        [(labels[index], float(row[index])) for index in ranked[:k]]
        for row, ranked, k in zip(chances, order, top_k, strict=True)
    ]


def classification_scores(truth: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro-averaged F1: the metrics of every classifier."""
    right = [a == b for a, b in zip(truth, answers, strict=True)]
    return {"accuracy": float(np.mean(right)), "macro_f1": macro_f1(truth, answers)}


def macro_f1(truth: Sequence[str], answers: Sequence[str]) -> float:
    """F1 of each label, averaged over the labels that occur."""
    scores = []
    for label in sorted({*truth, *answers}):  # one order, so that equal answers score equally
        both = sum(a == b == label for a, b in zip(truth, answers, strict=True))
        scores.append(2 * both / (truth.count(label) + answers.count(label)))
    return float(np.mean(scores)) if scores else 0.0


def confusion(truth: Sequence[str], predicted: Sequence[str], *, most: int = 25) -> str:
    """The confusion matrix as Markdown: a row per true label, a column per answer.

    Args:
        truth: the true labels.
        predicted: the labels answered, in the same order.
        most: labels that the matrix shows; with more, only the commonest confusions are listed.
    """
    labels = sorted({*truth, *predicted})
    rows = _counted(truth)
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(truth, predicted, strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    if len(labels) > most:
        wrong = sorted(((n, *p) for p, n in counts.items() if p[0] != p[1]), reverse=True)[:most]
        shown = [(a, b, str(n)) for n, a, b in wrong]
        listed = markdown.table(("true", "answered", "times"), shown)
        return f"## Commonest confusions\n\n{rows}\n\n{listed}"
    table = [[a, *(str(counts.get((a, b), 0)) for b in labels)] for a in labels]
    matrix = markdown.table(("true \\ answered", *labels), table)
    return f"## Confusion matrix\n\n{rows}\n\n{matrix}"


def _counted(truth: Sequence[str]) -> str:
    """How many rows the labels have, in one line however many labels there are."""
    counts = Counter(sorted(truth)).most_common()
    (most, highest), (least, lowest) = counts[0], counts[-1]
    return (
        f"{len(truth):,} rows of {len(set(truth)):,} labels: {highest:,} of "
        f"{markdown.cell(most)} at most, {lowest:,} of {markdown.cell(least)} at least."
    )
