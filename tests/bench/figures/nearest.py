"""Look for the ten nearest among made-up vectors, exactly and by the index."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cluster.features.vectors.nearest import Vectors
from tests.bench.report import Result, say, told

SIZE = 64
COUNTS = (10_000, 100_000, 1_000_000)
ASKED = 300
K = 10


def results(home: Path) -> Iterator[Result]:
    """Seconds to build, milliseconds a query, and the share of the ten nearest that is found."""
    del home
    for count in COUNTS:
        rows = clustered(count + ASKED)
        rows, asked = rows[:-ASKED], rows[-ASKED:]
        keys = [f"{number:07}" for number in range(count)]
        right: list[set[str]] = []
        for way, exact_to in (("exact", count), ("index", 0)):
            began = time.perf_counter()
            vectors = Vectors.of(keys, rows, exact_to=exact_to)
            built = time.perf_counter() - began
            found, times = _asked_one_by_one(vectors, asked)
            right = right or found
            recall = float(np.mean([len(a & b) / K for a, b in zip(found, right, strict=True)]))
            changed = _changed(vectors, keys, asked)
            p50, p99 = np.percentile(times, [50, 99])
            say(
                f"{count:,} {way}: built in {built:.2f} s, recall@{K} {recall:.4f}, a query "
                f"{p50:.3f} ms (p99 {p99:.3f}), a changed vector {changed:.3f} ms."
            )
            name = f"nearest.{count}.{way}"
            yield told(f"{name}.recall@{K}", recall, "")
            yield told(f"{name}.build", built, "s")
            yield told(f"{name}.p50", float(p50), "ms")


def clustered(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of unit length `[count, 64]` in about sqrt(count) / 2 groups of very unequal sizes.

    As with learnt vectors, a few directions hold most of what differs.
    """
    rng = np.random.default_rng(seed)
    groups = max(10, round(count**0.5 / 2))
    weight = 1 / np.sqrt(1 + np.arange(SIZE) / 4)
    centres = rng.normal(size=(groups, SIZE))
    group = rng.choice(groups, count, p=rng.dirichlet(np.ones(groups)))
    rows = (centres[group] + 0.6 * rng.normal(size=(count, SIZE))) * weight
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def _asked_one_by_one(
    vectors: Vectors, asked: NDArray[np.float32]
) -> tuple[list[set[str]], list[float]]:
    found, times = [], []
    for number in range(len(asked)):
        began = time.perf_counter()
        keys, _ = vectors.nearest(asked[number : number + 1], K)
        times.append(1_000 * (time.perf_counter() - began))
        found.append({*keys[0]})
    return found, times


def _changed(vectors: Vectors, keys: list[str], rows: NDArray[np.float32]) -> float:
    """Milliseconds that putting another vector in a key's place takes, the median."""
    times = []
    for number in range(len(rows)):
        began = time.perf_counter()
        vectors.put(keys[number : number + 1], rows[number : number + 1])
        times.append(1_000 * (time.perf_counter() - began))
    return float(np.median(times))
