"""Measure what Lepton promises: `python -m tests.bench [ROW ...]`, or `make bench ROWS="..."`."""

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from cluster.base.errors import nearest
from services.cli import show
from tests.bench.data import Absent
from tests.bench.machine import hold_to_cores
from tests.bench.report import Result, say, table, write
from tests.bench.rows import ROWS, apart

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main(wanted: Sequence[str], *, output: Path = OUTPUT) -> int:
    """Measure the rows, print the table, write the JSON.

    Args:
        wanted: names of rows; none stands for all.
        output: where the JSON goes.

    Returns:
        The exit status: 1 where a row is unknown or broke; a figure that misses its goal is shown.
    """
    names = [name for given in wanted for name in given.replace(",", " ").split()] or list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        show.fail(f"There is no row {unknown[0]!r}. {nearest(unknown[0], ROWS)}")
        return 1
    results: list[Result] = []
    broken = False
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as home:
        for name in names:
            try:
                results += apart(name, Path(home))
            except Absent as absent:
                say(f"{name} is left out. {absent}")
            except Exception:  # one broken row must not cost the others
                show.fail(f"{name} broke.\n{traceback.format_exc()}")
                broken = True
    show.out.print(table(results))
    write(results, output)
    say(f"Written to {output}.")
    return int(broken)


if __name__ == "__main__":
    hold_to_cores()
    sys.exit(main(sys.argv[1:]))
