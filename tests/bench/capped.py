"""Join files in a process of its own and say how much memory that took: `capped FOLDER MB`."""

import json
import sys
import time
from pathlib import Path

import polars as pl

from cluster.features.joins.history import Files
from cluster.features.joins.partitions import join_files
from tests.bench.figures.join import COLUMNS, events

CHECKED = 200


def peak_mb() -> float:
    """The most memory that this process ever had, in megabytes."""
    # not `ru_maxrss`, which begins with that of the process that started this one
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1e3
    return 0.0


def main(folder: Path, cap_mb: int) -> None:
    """Joins, and prints what that took as JSON."""
    files = Files({"events": [folder / "events.parquet"]})
    before, began = peak_mb(), time.perf_counter()
    target = folder / "joined.parquet"
    rows = join_files(
        folder / "examples.parquet", [events], files, target, memory_bytes=cap_mb * 10**6
    )
    took, peak = time.perf_counter() - began, peak_mb()
    told = {"rows": rows, "before_mb": before, "peak_mb": peak, "seconds": took}
    sys.stdout.write(json.dumps({**told, "wrong": wrong(folder, target)}) + "\n")


def wrong(folder: Path, target: Path) -> int:
    """How many of the last rows are not what Polars finds by looking at every event."""
    rows = pl.read_parquet(target).tail(CHECKED)
    asked = rows.select("user_id", "row", asked="event_time")
    found = (
        pl.scan_parquet(folder / "events.parquet")
        .with_row_index("place")
        .join(asked.lazy(), on="user_id")
        .filter(pl.col("event_time") <= pl.col("asked"))
        .sort("event_time", "created", "place")
        .group_by("row", maintain_order=True)
        .last()
        .collect(engine="streaming")
    )
    both = rows.join(found, on="row", how="left", suffix="_right", maintain_order="left")
    differ = [(pl.col(f"{name}_right").fill_null(0.0) != pl.col(name)) for name in COLUMNS]
    return int(both.select(pl.any_horizontal(differ).sum()).item())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
