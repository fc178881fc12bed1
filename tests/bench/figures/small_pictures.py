"""Train vision.classify by default on small sets of pictures: hands, chest X-rays, some clothes."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from scipy.stats import rankdata

from cluster.base.batch import concat, take
from cluster.contract.rows import Resident
from cluster.contract.split import Folds
from tests.bench.data import stored
from tests.bench.fitting import TalkingRun, exported, fitted, hold_threads
from tests.bench.report import Result, at_least, at_most, say, spread
from vision.classify import Classify, Output

FOLDS = 5
NOTHING = Resident({})


def results(home: Path) -> Iterator[Result]:
    """What the default configuration scores, and the seconds of a thousand pictures of 64x64."""
    hold_threads()
    yield from _hands(home / "hands")
    yield from _xrays(home / "xrays")
    yield from _clothes(home)


def _hands(home: Path) -> Iterator[Result]:
    """Accuracy of five folds, and the time that all rows take."""
    plan = stored(Classify, "sign-digits", home)
    scores = []
    for fold in range(FOLDS):
        folded = replace(plan, split=Folds(count=FOLDS, fold=fold))
        run = TalkingRun(f"sign-digits, fold {fold + 1} of {FOLDS}")
        done = fitted(Classify, Classify.Config(), folded, run)
        scores.append(100 * done.metrics["accuracy"])
    say(f"sign-digits: {spread(scores)}.")
    yield at_least("small-pictures.hands", statistics.mean(scores), "%", 95.0, 98.5)
    rows = Resident(concat([folded.rows("train").whole(), folded.rows("test").whole()]))
    began = time.perf_counter()
    Classify().fit(rows, NOTHING, TalkingRun(f"{rows.count:,} pictures"))
    yield at_most("small-pictures.seconds", time.perf_counter() - began, "s", 90.0, 45.0)


def _xrays(home: Path) -> Iterator[Result]:
    """The area under the curve of the official test part."""
    plan = stored(Classify, "pneumonia-mnist", home)
    done = fitted(Classify, Classify.Config(), plan, TalkingRun("pneumonia-mnist"))
    test = plan.rows("test").whole()
    answers = [a for a in done.task.predict(done.task.complete(test)) if isinstance(a, Output)]
    chances = [{guess.label: guess.probability for guess in a.top}["1"] for a in answers]
    positive = test["label"] == "1"
    rank, sick = rankdata(chances), int(positive.sum())
    above = rank[positive].sum() - sick * (sick + 1) / 2
    yield at_least("small-pictures.xrays", above / (sick * (len(rank) - sick)), "AUC", 0.96, 0.98)


def _clothes(home: Path) -> Iterator[Result]:
    """Accuracy after a tenth of Fashion-MNIST."""
    plan = stored(Classify, "fashion-mnist", home)
    tenth = Resident(take(plan.rows("train").whole(), slice(None, None, 10)))
    task = Classify()
    task.fit(tenth, plan.rows("valid"), TalkingRun(f"{tenth.count:,} of Fashion-MNIST"))
    accuracy = exported(task, plan.rows("test").whole())[1]["accuracy"]
    yield at_least("small-pictures.clothes", 100 * accuracy, "%", 89.0, 90.5)
