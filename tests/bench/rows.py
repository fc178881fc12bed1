"""Know the rows of the bench, and measure each in a process of its own."""

import importlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.bench.report import Result, say

# A row is the file of its name in this folder; these are in the order of the README's table.
ROWS = (
    "fashion", "small-pictures", "textbook", "rt-polarity", "texts", "embeddings", "movielens",
    "cold-items", "ials-workers", "serving", "reading", "join", "online", "features-http",
    "nearest", "csv-writers",
)  # fmt: skip


def apart(name: str, home: Path) -> list[Result]:
    """A row's results from a process of its own: no row finds threads or memory of another.

    Args:
        name: the row.
        home: a folder for all rows; the feature layer that one makes there serves the next.

    Raises:
        Absent: its data set is not on this machine.
    """
    began = time.monotonic()
    say(f"\n== {name}")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        found = pool.submit(measure, name, home).result()
    say(f"== {name} took {time.monotonic() - began:.0f} s")
    return found


def measure(name: str, home: Path) -> list[Result]:
    """A row's results, measured in this process."""
    row = importlib.import_module(f"tests.bench.figures.{name.replace('-', '_')}")
    return list(row.results(home))
