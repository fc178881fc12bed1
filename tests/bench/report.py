"""Say what was measured: a table for people, JSON for machines."""

import json
import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from rich.table import Table

from services.cli import show

Met = Literal["aim", "must", "missed", ""]
PACKAGES = ("torch", "ray", "numpy", "polars", "onnxruntime", "faiss-cpu")


@dataclass(frozen=True)
class Result:
    """One figure beside what it must reach; it is written to `build/bench.json` as it stands.

    Attributes:
        name: the row, and which of its figures.
        value: what was measured, the median where it was measured several times.
        unit: what `value` counts.
        must: what it must reach; None for a figure that is only told.
        aim: what it should reach.
        met: the better of the two that it reached.
        versions: the software and the machine that it was measured on.
    """

    name: str
    value: float
    unit: str
    must: float | None
    aim: float | None
    met: Met
    versions: dict[str, str]


def at_least(name: str, value: float, unit: str, must: float, aim: float | None = None) -> Result:
    """A figure that is better when larger."""
    return Result(name, value, unit, must, aim, _met(-value, -must, aim and -aim), versions())


def at_most(name: str, value: float, unit: str, must: float, aim: float | None = None) -> Result:
    """A figure that is better when smaller."""
    return Result(name, value, unit, must, aim, _met(value, must, aim), versions())


def told(name: str, value: float, unit: str) -> Result:
    """A figure that nothing is asked of."""
    return Result(name, value, unit, None, None, "", versions())


def _met(value: float, must: float, aim: float | None) -> Met:
    if value > must:
        return "missed"
    return "aim" if aim is not None and value <= aim else "must"


@cache
def versions() -> dict[str, str]:
    """Python, the packages that do the work, the processor and how many of its cores were used."""
    from tests.bench.machine import cores, processor

    packages = {name: metadata.version(name) for name in PACKAGES}
    machine = {"cpu": processor(), "cores": str(cores())}
    return {"python": platform.python_version(), **packages, **machine}


def write(results: Sequence[Result], path: Path) -> None:
    """The results as a list of JSON objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(result) for result in results], indent=2, allow_nan=False)
    path.write_text(text + "\n")


def table(results: Sequence[Result]) -> Table:
    """The results as people read them."""
    made = Table("row", "value", "unit", "must", "aim", "met")
    for result in results:
        numbers = [figure(n) for n in (result.value, result.must, result.aim)]
        made.add_row(result.name, numbers[0], result.unit, *numbers[1:], result.met)
    return made


def figure(number: float | None) -> str:
    """Four digits that count: `0.4012`, `93.2`, `3,158`; nothing for None."""
    if number is None:
        return ""
    if number == 0 or not 1e-3 <= abs(number) < 1e6:
        return f"{number:.3g}"
    digits = max(0, 3 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def spread(values: Sequence[float]) -> str:
    """Median, all values and the standard deviation, for the lines above the table."""
    each = ", ".join(figure(value) for value in values)
    noise = f", sd {figure(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"median {figure(statistics.median(values))} of [{each}]{noise}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


say = show.say
