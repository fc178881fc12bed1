"""Measure what Lepton promises: `python -m tests.bench [ROW ...]`, or `make bench ROWS="..."`."""

import importlib
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from cluster.errors import nearest
from services import show
from tests.bench.data import Absent
from tests.bench.machine import hold_to_cores
from tests.bench.report import Result, say, table, write

# A row is the file of its name in this folder; these are in the order of the README's table.
ROWS = ("fashion", "textbook", "rt-polarity", "movielens", "ials-workers", "serving")
OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main(wanted: Sequence[str]) -> int:
    """Measure the rows, print the table, write the JSON.

    Returns:
        The exit status: 1 where a row is unknown or broke; a figure that misses its goal is shown.
    """
    names = [name for given in wanted for name in given.replace(",", " ").split()] or list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        show.fail(f"There is no row {unknown[0]!r}. {nearest(unknown[0], ROWS)}")
        return 1
    hold_to_cores()
    results: list[Result] = []
    broken = False
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as home:
        for name in names:
            try:
                results += _apart(name, Path(home))
            except Absent as absent:
                say(f"{name} is left out. {absent}")
            except Exception:  # one broken row must not cost the others
                show.fail(f"{name} broke.\n{traceback.format_exc()}")
                broken = True
    show.out.print(table(results))
    write(results, OUTPUT)
    say(f"Written to {OUTPUT}.")
    return int(broken)


def _apart(name: str, home: Path) -> list[Result]:
    """A row's results, measured in a process of its own: no row finds threads of another."""
    began = time.monotonic()
    say(f"\n== {name}")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        found = pool.submit(measure, name, home).result()
    say(f"== {name} took {time.monotonic() - began:.0f} s")
    return found


def measure(name: str, home: Path) -> list[Result]:
    """Run one row.

    Args:
        name: the row.
        home: a folder for all rows; the feature layers that they make there are shared.
    """
    row = importlib.import_module(f"tests.bench.{name.replace('-', '_')}")
    return list(row.results(home))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
