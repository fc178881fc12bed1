"""Tell whether what a model is asked still looks like what it learnt from."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, length, objects
from cluster.features.schema.view import View

TOP_WORDS = 20
BINS = 10
FEWEST = 200  # rows; of fewer even the same distribution differs by chance
LITTLE, MUCH = 0.1, 0.25
"""The usual bounds of the population stability index: below the one a feature is where it was,
above the other it has moved so far that the model should learn anew."""
OTHER = "(other)"
SILENT = 1e-5  # the root mean square of -100 dB, which no microphone gets below


def _each(measure: Callable[[Any], float]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda values: np.array([float(measure(value)) for value in values])


def _norm(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.sqrt(np.square(np.asarray(values, dtype=np.float64)).sum(axis=1)))


def _decibels(sound: Any) -> float:
    return 20 * float(np.log10(max(SILENT, np.sqrt(np.mean(np.square(sound.samples))))))


MEASURES: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "word": lambda values: objects(map(str, values)),
    "value": lambda values: np.asarray(values, dtype=np.float64),
    "norm": _norm,
    "length": _each(len),
    "characters": _each(len),
    "brightness": _each(np.mean),
    "marked share": _each(lambda mask: np.mean(mask != 0)),
    "loudness": _each(_decibels),
}
"""What may be taken of each value of a column `[n]`: numbers, or words. Manifests name them."""

Statistics = dict[str, dict[str, Any]]
"""What a manifest keeps of each column, by `<view>.<column>`: small, and nobody's own words."""
Measures = Mapping[str, float | str | None]
"""What is looked at of each column of one served row; None where nothing was known."""


@dataclass(frozen=True)
class Drift:
    """How far one feature has moved.

    Attributes:
        feature: `<view>.<column>`.
        measure: what of it was looked at: one of `MEASURES`.
        served: how many served rows were looked at.
        psi: the population stability index of served against trained, the missing left out.
        missing: the share of rows of which nothing was known, trained and served.
        labels: the bins.
        trained_shares: of the bins.
        served_shares: of the bins.
    """

    feature: str
    measure: str
    served: int
    psi: float
    missing: tuple[float, float]
    labels: Sequence[str]
    trained_shares: Sequence[float]
    served_shares: Sequence[float]

    @property
    def verdict(self) -> str:
        """In words: steady, moved a little, moved much, or too few to say."""
        if self.served < FEWEST:
            return f"too few to say: {self.served} rows, {FEWEST} are needed"
        if self.psi < LITTLE:
            return "steady"
        return "moved a little" if self.psi < MUCH else "moved much"


def statistics(
    views: Sequence[View], batch: Batch, names: Mapping[str, Mapping[str, str]]
) -> Statistics:
    """What the columns of some views hold in the rows that a model learnt from.

    Numbers are kept as ten equally full bins, words as the commonest 20 and the rest. Each column
    says which one number, or word, is taken of a value of it; columns without one are left out.

    Args:
        views: whose columns.
        batch: the rows, with a mask `<view>_missing` where a view may know nothing of one.
        names: what columns are called in the batch, by view and column, if not by their own name.
    """
    made: Statistics = {}
    for view in views:
        known = ~batch.get(f"{view.name}_missing", np.zeros(length(batch), dtype=bool))
        for name, column in view.columns.items():
            here = names.get(view.name, {}).get(name, name)
            there = known
            if here in batch and (gap := column.gap(batch[here])) is not None:
                there = known & ~gap
            values = batch[here][there] if here in batch else objects(())
            measure = column.drift_measure(values) if len(values) else ""
            if not measure:
                continue
            measured = MEASURES[measure](values)
            summary = _words(measured) if measure == "word" else _numbers(measured)
            share = float(1 - there.mean())
            made[f"{view.name}.{name}"] = {
                "measure": measure,
                "column": here,
                "missing": share,
                **summary,
            }
    return made


def measured(of: Statistics, batch: Batch) -> dict[str, list[float | str | None]]:
    """What is looked at of each row of a batch, by column: nothing that a person wrote.

    A word stands only where it is among those that the model learnt from.
    """
    found: dict[str, list[float | str | None]] = {}
    for feature, kept in of.items():
        view, column = feature.partition(".")[0], batch.get(kept["column"])
        if column is None:
            continue
        values = MEASURES[kept["measure"]](column).tolist()
        if kept["measure"] == "word":
            values = [value if value in kept["words"] else OTHER for value in values]
        none = np.zeros(len(values), dtype=bool)
        missing = batch.get(f"{view}_missing", none) | batch.get(f"{kept['column']}_gap", none)
        found[feature] = [
            None if gone else value for value, gone in zip(values, missing, strict=True)
        ]
    return found


def compare(trained: Statistics, served: Sequence[Measures]) -> list[Drift]:
    """Each feature as served against as trained, what moved most first.

    The index is sum((p - q) ln(p / q)) over the bins, p as served and q as trained, each count
    with half a row added so that an empty bin is no infinity.
    """
    found = []
    for feature, kept in trained.items():
        values = [row[feature] for row in served if feature in row]
        if not values:
            continue
        known = [value for value in values if value is not None]
        labels, expected, counted = _binned(kept, known)
        p, q = _shares(counted), _shares(expected)
        psi = float(np.sum((p - q) * np.log(p / q))) if known else 0.0
        missing = (float(kept["missing"]), 1 - len(known) / len(values))
        plain = (expected / max(1, expected.sum()), counted / max(1, counted.sum()))
        found.append(
            Drift(feature, kept["measure"], len(values), psi, missing, labels,
                  plain[0].tolist(), plain[1].tolist())
        )  # fmt: skip
    return sorted(found, key=lambda drift: -drift.psi)


def plot(found: Sequence[Drift], path: Path, *, title: str) -> None:
    """A picture of every feature's bins, trained beside served, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    across = min(3, len(found)) or 1
    down = max(1, -(-len(found) // across))
    figure = Figure(figsize=(5.5 * across, 3.4 * down), layout="constrained")
    figure.suptitle(title)
    for number, drift in enumerate(found, start=1):
        axes = figure.add_subplot(down, across, number)
        places = np.arange(len(drift.labels))
        axes.bar(places - 0.2, drift.trained_shares, 0.4, label="trained", color="#8da0cb")
        axes.bar(places + 0.2, drift.served_shares, 0.4, label="served", color="#fc8d62")
        axes.set_xticks(places, drift.labels, rotation=60, ha="right", fontsize=7)
        axes.set_ylabel("share of rows")
        missing = f"missing {drift.missing[0]:.0%} trained, {drift.missing[1]:.0%} served"
        axes.set_title(
            f"{drift.feature} ({drift.measure}): PSI {drift.psi:.2f}, {drift.verdict}\n{missing}",
            fontsize=8,
        )
        axes.legend(fontsize=7)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(str(path))


def _words(values: NDArray[Any]) -> dict[str, Any]:
    top = Counter(values.tolist()).most_common(TOP_WORDS)
    rest = len(values) - sum(count for _, count in top)
    return {"count": len(values), "words": dict(top), "rest": rest}


def _numbers(values: NDArray[Any]) -> dict[str, Any]:
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    edges = np.unique(inner)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    low, high = float(values.min()), float(values.max())
    return {
        "count": len(values), "low": low, "high": high, "mean": float(values.mean()),
        "edges": edges.tolist(), "counts": counts.tolist(),
    }  # fmt: skip


def _binned(
    kept: Mapping[str, Any], known: Sequence[Any]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The bins, and how many trained and served rows are in each."""
    if kept["measure"] == "word":
        counter = Counter(known)
        words = list(kept["words"])
        counted = [counter[word] for word in words]
        trained = [*kept["words"].values(), kept["rest"]]
        rest = len(known) - sum(counted)
        return [*words, OTHER], np.array(trained), np.array([*counted, rest])
    edges = np.array(kept["edges"])
    found = np.searchsorted(edges, np.array(known, dtype=np.float64), side="right")
    texts = [f"{edge:.4g}" for edge in edges]
    labels = [f"< {texts[0]}", *(f"to {text}" for text in texts[1:]), f">= {texts[-1]}"]
    return labels, np.array(kept["counts"]), np.bincount(found, minlength=len(edges) + 1)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    smoothed = counts + 0.5
    return np.asarray(smoothed / smoothed.sum())
