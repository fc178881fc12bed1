"""Train vision.classify on the whole of Fashion-MNIST, as anybody would, and measure the export."""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.data import stored
from tests.bench.fitting import TalkingRun, fitted, hold_threads
from tests.bench.report import Result, at_least, at_most, say
from vision.classify import Classify


def results(home: Path) -> Iterator[Result]:
    """Test accuracy and training seconds of the default configuration.

    The source names the 10,000 test pictures; the capability keeps a few training ones to watch.
    """
    hold_threads()
    plan = stored(Classify, "fashion-mnist", home)
    counts = plan.counts
    say(
        f"Fashion-MNIST: {counts['train']:,} pictures to learn from, {counts['valid']:,} to watch, "
        f"{counts['test']:,} to measure."
    )
    done = fitted(Classify, Classify.Config(), plan, TalkingRun("vision.classify"))
    say(f"Trained in {done.seconds:.1f} s; the export scores {done.metrics['accuracy']:.2%}.")
    yield at_least("fashion.accuracy", 100 * done.metrics["accuracy"], "%", 93.0, 94.0)
    yield at_most("fashion.seconds", done.seconds, "s", 300.0)
