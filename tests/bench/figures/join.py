"""Join half a million rows as of their own moments: against plain Polars, Feast, and a memory."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.base.batch import Batch
from cluster.features.joins.history import Files
from cluster.features.joins.join import join_frame
from cluster.features.schema.column import Number
from cluster.features.schema.view import View
from tests.bench.data import Absent
from tests.bench.feast import RELEASE, environment_of_feast
from tests.bench.report import Result, at_least, at_most, say, spread

EXAMPLES, EVENTS, KEYS = 500_000, 2_000_000, 50_000
FEWER, FEW_EVENTS, FEW_KEYS = 50_000, 200_000, 5_000  # what Feast ends in seconds, not minutes
CAP_MB, TIMES_CAP = 512, 4
TURNS, SAMPLED = 5, 2_000
COLUMNS = [f"f{number}" for number in range(8)]
START, SPAN = 1_700_000_000_000_000, 365 * 86_400 * 10**6
TTL = timedelta(days=60)
HERE = Path(__file__).resolve().parents[1]


def drawn(n: int, rng: np.random.Generator) -> Batch:
    """Nothing draws these rows: they are files."""
    raise NotImplementedError(f"{n} rows of the bench are made by `made`, not by {rng}.")


events = View("events", ("user_id",), {name: Number() for name in COLUMNS}, drawn)


def results(home: Path) -> Iterator[Result]:
    """Seconds of ours over those of others, in one run, paired; and how much memory is taken."""
    folder = home / "join"
    folder.mkdir()
    made(folder / "examples.parquet", EXAMPLES, KEYS, seed=1)
    made(folder / "events.parquet", EVENTS, KEYS, seed=2, columns=COLUMNS)
    ratios = []
    for turn in range(TURNS):
        polars_s, ours_s = seconds(plain_polars, folder), seconds(ours, folder)
        ratios.append(ours_s / polars_s)
        say(f"join, turn {turn}: Polars {polars_s:.2f} s, ours {ours_s:.2f} s.")
    say(f"Polars {metadata.version('polars')}: ours over plain join_asof {spread(ratios)}.")
    yield at_most("join.polars_ratio", statistics.median(ratios), "x join_asof", 2.0, 1.4)
    yield at_most("join.mismatches", mismatches(folder, ours(folder)), "rows", 0)
    try:
        yield at_least("join.feast_ratio", against_feast(home), "x faster than Feast", 5.0, 10.0)
    except Absent as absent:
        say(f"Feast is left out. {absent}")
    yield at_most("join.capped_peak_mb", capped(home), "MB", CAP_MB)


def ours(folder: Path) -> pl.DataFrame:
    """Ours: from Parquet to a frame in the order of the examples."""
    examples = pl.read_parquet(folder / "examples.parquet")
    return join_frame(examples, [events], Files({"events": [folder / "events.parquet"]}))


def plain_polars(folder: Path) -> pl.DataFrame:
    """What Polars gives without a rule for equal times: both sides sorted, then put back."""
    examples = pl.read_parquet(folder / "examples.parquet")
    known = pl.read_parquet(folder / "events.parquet", columns=["user_id", "event_time", *COLUMNS])
    joined = examples.sort("event_time").join_asof(
        known.sort("event_time"), on="event_time", by="user_id", check_sortedness=False
    )
    return joined.sort("row").drop("row")


def seconds(work: object, folder: Path) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work(folder)  # type: ignore[operator]
    return time.perf_counter() - began


def mismatches(folder: Path, joined: pl.DataFrame) -> int:
    """How many of some sampled rows are not what a loop over all events of the key gives."""
    wanted = joined.sample(SAMPLED, seed=3)
    known = pl.read_parquet(folder / "events.parquet").with_row_index("place")
    known = known.join(wanted.select("user_id").unique(), on="user_id", how="semi")
    mine: dict[str, list[dict[str, object]]] = {}
    for event in known.iter_rows(named=True):
        mine.setdefault(event["user_id"], []).append(event)
    wrong = 0
    for row in wanted.iter_rows(named=True):
        before = [e for e in mine.get(row["user_id"], []) if e["event_time"] <= row["event_time"]]
        best = max(before, key=lambda e: (e["event_time"], e["created"], e["place"]), default=None)
        same = row["events_missing"] if best is None else not row["events_missing"]
        values = [0.0 if best is None else best[name] for name in COLUMNS]
        wrong += not (same and values == [row[name] for name in COLUMNS])
    say(f"{wrong} of {SAMPLED:,} sampled rows are not what the definition gives.")
    return wrong


def against_feast(home: Path) -> float:
    """How many times the seconds of ours Feast takes for the same rows, from its file store."""
    python = environment_of_feast()
    folder = home / "feast"
    folder.mkdir()
    made(folder / "examples.parquet", FEWER, FEW_KEYS, seed=4)
    # no equal times: which of them Feast takes depends on a sort that is not stable
    made(folder / "events.parquet", FEW_EVENTS, FEW_KEYS, seed=5, columns=COLUMNS, tied=0.0)
    # -P: the folder of the script has a feast.py of ours
    script = [str(python), "-P", str(HERE / "feast_join.py"), str(folder)]
    view = View("events", ("user_id",), events.columns, drawn, ttl=TTL)
    history = Files({"events": [folder / "events.parquet"]})
    ratios = []
    for turn in range(3):
        done = subprocess.run(script, check=True, capture_output=True, text=True, timeout=600)
        feast = json.loads(done.stdout.splitlines()[-1])
        began = time.perf_counter()
        joined = join_frame(pl.read_parquet(folder / "examples.parquet"), [view], history)
        took = time.perf_counter() - began
        ratios.append(feast["seconds"] / took)
        differ, lost = compared(joined, pl.read_parquet(folder / "joined.parquet"))
        say(
            f"join of {FEWER:,} rows with {FEW_EVENTS:,} events, turn {turn}: Feast "
            f"{feast['seconds']:.2f} s, ours {took:.3f} s; Feast gave back {lost:,} rows fewer; "
            f"{differ} of the others differ."
        )
    say(f"Feast {RELEASE}, pandas {feast['pandas']}: over ours {spread(ratios)}.")
    return float(statistics.median(ratios))


def compared(mine: pl.DataFrame, theirs: pl.DataFrame) -> tuple[int, int]:
    """How many of Feast's rows differ from ours, and how many of ours it does not have."""
    null = [pl.when(~pl.col("events_missing")).then(pl.col(name)).alias(name) for name in COLUMNS]
    both = mine.with_columns(null).join(theirs, on="row", suffix="_theirs")
    differ = [pl.col(f"{n}_theirs").fill_nan(None).ne_missing(pl.col(n)) for n in COLUMNS]
    wrong = both.select(pl.any_horizontal(differ).sum()).item()
    lost = mine.join(theirs, on="row", how="anti")
    known = lost.filter(~pl.col("events_missing"))
    return int(wrong) + len(known), len(lost)


def capped(home: Path) -> float:
    """The peak of a process that joins a table of several times what it may take."""
    folder = home / "capped"
    folder.mkdir()
    rows = CAP_MB * TIMES_CAP * 10**6 // (8 * len(COLUMNS) + 8 + 8 + 27)
    made(folder / "examples.parquet", EXAMPLES, 4 * KEYS, seed=6)
    made(folder / "events.parquet", rows, 4 * KEYS, seed=7, columns=COLUMNS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.capped", str(folder), str(CAP_MB)],
        check=True, capture_output=True, text=True, cwd=HERE.parents[1], timeout=1200,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    say(
        f"{told['rows']:,} rows joined with {rows:,} events, {TIMES_CAP} x {CAP_MB} MB: peak "
        f"{told['peak_mb']:.0f} MB (before {told['before_mb']:.0f}), {told['seconds']:.0f} s, "
        f"{told['wrong']} of the last rows differ."
    )
    return float(told["peak_mb"])


def made(
    path: Path,
    rows: int,
    keys: int,
    *,
    seed: int,
    columns: Sequence[str] = (),
    tied: float = 0.05,
) -> None:
    """Writes rows in no order, some at the key and time of the one before them.

    Args:
        path: the file.
        rows: how many.
        keys: how many different ones they have.
        seed: decides what is drawn.
        columns: numbers that each has; without any, they are examples.
        tied: the share that has the key and time of another.
    """
    rng = np.random.default_rng(seed)
    names = pa.array([f"user-{number:06d}" for number in range(keys)])
    with pq.ParquetWriter(path, _table(names, 1, columns, tied, rng).schema) as file:
        for begin in range(0, rows, 1_000_000):
            count = min(1_000_000, rows - begin)
            file.write_table(_table(names, count, columns, tied, rng), row_group_size=100_000)


def _table(
    names: pa.Array, rows: int, columns: Sequence[str], tied: float, rng: np.random.Generator
) -> pa.Table:
    place = np.arange(rows)
    if columns:
        same = np.flatnonzero(rng.random(rows) < tied)
        place[same] = np.maximum(same - 1, 0)
    held = {
        "user_id": names.take(pa.array(rng.integers(0, len(names), rows)[place])),
        "event_time": _moments(rng.integers(0, SPAN, rows)[place]),
    }
    if columns:
        held["created"] = _moments(rng.integers(0, SPAN, rows))
        return pa.table({**held, **{name: rng.random(rows) for name in columns}})
    return pa.table({**held, "row": np.arange(rows)})


def _moments(values: np.ndarray) -> pa.Array:
    return pa.array(START + values, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
