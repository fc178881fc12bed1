"""Factorise MovieLens on one Ray Train worker and on two, and compare the factors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cluster.base.batch import Arrays, load_arrays
from cluster.registry.versions import Registry
from recsys.recommend import Recommend
from services.cli import verbs
from services.cli.show import PlainProgress
from tests.bench.data import stored
from tests.bench.engine import running
from tests.bench.report import Result, at_most, say

SETTINGS = ("method=ials", "choose=false")


def results(home: Path) -> Iterator[Result]:
    """The largest absolute difference between any two entries of the factors."""
    stored(Recommend, "movielens-latest-small", home)
    with running(home):
        one, two = (_factors(home, workers) for workers in (1, 2))
    apart = {name: float(np.abs(one[name] - two[name]).max()) for name in one}
    say(", ".join(f"{name} {one[name].shape} apart {apart[name]:.2g}" for name in one) + ".")
    yield at_most("ials-workers.apart", max(apart.values()), "largest difference", 1e-4)


def _factors(home: Path, workers: int) -> Arrays:
    job = verbs.Training(Recommend.name(), SETTINGS, workers=workers)
    manifest = verbs.train(job, PlainProgress(f"{job.task} on {workers}"))
    folder = Registry(home).folder(job.task, manifest.version)
    return load_arrays(folder / "weights.safetensors")
