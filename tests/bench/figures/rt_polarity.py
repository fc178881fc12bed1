"""Cross-validate nlp.classify on rt-polarity in ten folds, as the literature does."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cluster.contract.split import Folds
from nlp.classify import Classify, Config
from tests.bench.data import stored
from tests.bench.fitting import TalkingRun, fitted, hold_threads
from tests.bench.report import Result, at_least, say, spread, told

FOLDS = 10


def results(home: Path) -> Iterator[Result]:
    """Mean accuracy over the folds, and the median seconds of one."""
    hold_threads()
    plan = stored(Classify, "rt-polarity", home)
    scores, seconds = [], []
    for fold in range(FOLDS):
        folded = replace(plan, split=Folds(count=FOLDS, fold=fold))
        run = TalkingRun(f"nlp.classify, fold {fold + 1} of {FOLDS}")
        done = fitted(Classify, Config(), folded, run)
        scores.append(100 * done.metrics["accuracy"])
        seconds.append(done.seconds)
        say(f"Fold {fold + 1}: {scores[-1]:.2f}% after {seconds[-1]:.1f} s.")
    say(f"Accuracy: mean {statistics.mean(scores):.2f}%, {spread(scores)}.")
    say(f"Seconds a fold: {spread(seconds)}.")
    yield at_least("rt-polarity.accuracy", statistics.mean(scores), "%", 77.0, 80.0)
    yield told("rt-polarity.seconds", statistics.median(seconds), "s a fold")
