"""Look up by key in process, beside Feast; see a push in another process; bring a year of sales."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cluster.base.batch import Batch, objects
from cluster.base.settings import Settings
from cluster.features.intake.ingest import ingest
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, times
from cluster.features.schema.view import View
from cluster.features.views.interactions import interactions
from services.local import catalog
from tests.bench.data import Absent, folder
from tests.bench.feast import RELEASE, environment_of_feast
from tests.bench.report import Result, at_least, at_most, percentile, say, spread

KEYS, ASKED, TIMES, TURNS = 50_000, 100, 2_000, 3
PUSHES = 50
COLUMNS = [f"f{number}" for number in range(8)]
HERE = Path(__file__).resolve().parents[1]


def drawn(n: int, rng: np.random.Generator) -> Batch:
    """Made-up rows of made-up users."""
    keys = objects(f"user_{number}" for number in range(n))
    values = {name: rng.random(n) for name in COLUMNS}
    return {"user_id": keys, **values, "event_time": times([1_700_000_000_000_000] * n)}


stats = View("stats", ("user_id",), {name: Number() for name in COLUMNS}, drawn)


def results(home: Path) -> Iterator[Result]:
    """A look-up, the same beside Feast, the time until a push is seen, and a year of sales."""
    found = filled(home / "online")
    turns = [lookups(found, turn) for turn in range(TURNS)]
    medians = [statistics.median(turn) for turn in turns]
    tails = [percentile(turn, 99) for turn in turns]
    say(f"{ASKED} keys of {KEYS:,}, 8 columns: p50 {spread(medians)} ms, p99 {spread(tails)} ms.")
    yield at_most("online.p50_ms", statistics.median(medians), "ms", 0.3, 0.15)
    yield at_most("online.p99_ms", statistics.median(tails), "ms", 1.0)
    try:
        ratio = against_feast(found, home / "online-feast")
        yield at_least("online.feast_ratio", ratio, "x faster than Feast", 15.0, 40.0)
    except Absent as absent:
        say(f"Feast is left out. {absent}")
    yield at_most("push.visible_ms", until_seen(home / "push"), "ms", 50.0, 10.0)
    yield at_most("retail.seconds", retail(home / "retail"), "s", 60.0, 20.0)


def filled(place: Path) -> Online:
    """All keys online, in SQLite."""
    store, found = Store(place / "features"), Online(place / "online.db")
    store.write(stats, drawn(KEYS, np.random.default_rng(0)))
    found.materialize(stats, store.head(stats))
    return found


def lookups(found: Online, turn: int, many: int = TIMES) -> list[float]:
    """Milliseconds of look-ups of keys drawn at random."""
    rng = np.random.default_rng(turn)
    took = []
    for _ in range(many):
        keys = {"user_id": objects(f"user_{n}" for n in rng.integers(0, KEYS, ASKED))}
        began = time.perf_counter()
        got = found.lookup([stats], keys)
        took.append((time.perf_counter() - began) * 1e3)
        assert not got["stats_missing"].any()
    return took[many // 10 :]


def against_feast(found: Online, place: Path) -> float:
    """How many times the milliseconds of ours Feast takes, on its SQLite, turn by turn."""
    python = environment_of_feast()
    place.mkdir()
    # -P: the folder of the script has a feast.py of ours
    script = [str(python), "-P", str(HERE / "feast_online.py"), str(place), str(KEYS)]
    ratios = []
    for turn in range(TURNS):
        done = subprocess.run(script, check=True, capture_output=True, text=True, timeout=900)
        feast = json.loads(done.stdout.splitlines()[-1])
        theirs = statistics.median(feast["ms"])
        ours = statistics.median(lookups(found, turn))
        ratios.append(theirs / ours)
        say(f"look-up, turn {turn}: Feast {theirs:.2f} ms, ours {ours:.3f} ms.")
    say(f"Feast {RELEASE}, pandas {feast['pandas']}: over ours {spread(ratios)}.")
    return float(statistics.median(ratios))


def until_seen(home: Path) -> float:
    """Milliseconds from a push, stored offline too, until another process looks it up."""
    layer = catalog.layer(Settings(home=home))
    layer.push("interactions", event(0))
    watcher = [sys.executable, "-m", "tests.bench.figures.online", str(home)]
    took = []
    with subprocess.Popen(watcher, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        watching.stdout.readline()
        for number in range(1, PUSHES + 1):
            began = time.monotonic_ns()
            layer.push("interactions", event(number))
            took.append((int(watching.stdout.readline()) - began) / 1e6)
    say(f"a push is seen after {spread(took[:5])} ms at first; p99 {percentile(took, 99):.1f} ms.")
    return float(statistics.median(took))


def event(number: int) -> Batch:
    """The push of that number, a second after the one before."""
    moment = times([1_700_000_000_000_000 + number * 1_000_000])
    return {
        "user_id": objects(["u"]),
        "item_id": objects(["i"]),
        "value": np.array([float(number)]),
        "event_time": moment,
    }


def watch(home: Path) -> None:
    """Prints when each push is seen, as the row and in the windows over it."""
    layer = catalog.layer(Settings(home=home))
    views = [layer.view("interactions"), layer.view("user_activity")]
    keys = {"user_id": objects(["u"]), "item_id": objects(["i"])}
    for number in range(PUSHES + 1):
        while layer.lookup(views, keys)["value"][0] != number:
            time.sleep(0.0002)
        sys.stdout.write(f"{time.monotonic_ns()}\n")
        sys.stdout.flush()


def retail(home: Path) -> float:
    """Seconds from 541,909 lines of a file to rows and windows that are looked up by key."""
    raw = folder("online-retail")
    layer = catalog.layer(Settings(home=home))
    began = time.perf_counter()
    done = ingest(
        interactions, [raw], layer.store, columns={"timezone": "Europe/London"},
        max_reject_share=0.3,
    )  # fmt: skip
    ingested = time.perf_counter() - began
    brought = layer.materialize(["interactions"])["interactions"]
    took = time.perf_counter() - began
    say(
        f"{done.rows:,} lines, {done.rejects:,} without a customer: ingested in {ingested:.1f} s, "
        f"{brought:,} rows and the windows over them brought online in {took - ingested:.1f} s."
    )
    return took


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
