"""A join by parts gives the same rows as one in memory, and its memory is bounded."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.base.errors import InvalidInput, NotEnough
from cluster.features.derived.aggregates import Count, Last
from cluster.features.derived.graph import Graph
from cluster.features.derived.windows import windows
from cluster.features.joins.history import InMemory, Stored
from cluster.features.joins.join import join_frame
from cluster.features.joins.partitions import join_files
from cluster.features.offline.store import Store
from cluster.features.schema.column import Text
from cluster.features.schema.view import View
from tests.features.joins.test_join import (
    TTL,
    Row,
    asked,
    batch,
    drawn,
    framed,
    margin,
    questions,
    rows_of,
    source,
    twice,
)

BYTES = 2**40


@pytest.mark.slow
@settings(max_examples=40)
@given(rows_of, rows_of, questions, st.integers(1, 4))
def test_parts_give_the_same_rows_in_the_same_order(
    rows: list[Row], others: list[Row], asked_about: list[tuple[str, int]], parts: int
) -> None:
    events = source(ttl=TTL)
    activity = windows(
        "activity", over=events, key=("id",), columns={"n": Count(), "last": Last("value", 2)}
    )
    graph = Graph([events, source("costs"), margin, twice, activity])
    views = [events, twice, activity, margin]
    history = InMemory({"prices": batch(rows), "costs": batch(others)})
    whole = join_frame(framed(asked(asked_about)), views, history, inputs=graph.inputs)
    with TemporaryDirectory() as made:
        folder = Path(made)
        framed(asked(asked_about)).write_parquet(folder / "examples.parquet")
        count = join_files(
            folder / "examples.parquet", views, history, folder / "joined.parquet",
            memory_bytes=BYTES, inputs=graph.inputs, parts=parts,
        )  # fmt: skip
        assert count == len(asked_about)
        assert pl.read_parquet(folder / "joined.parquet").equals(whole)
        assert len(list(folder.iterdir())) == 2


def test_the_live_rows_of_a_store_are_joined_file_by_file(tmp_path: Path) -> None:
    store, view = Store(tmp_path / "store"), source()
    for value, keys in ((1.0, "abc"), (2.0, "bc"), (3.0, "c")):
        rows = batch([(key, 10**12 * number, 0, value) for number, key in enumerate(keys, 1)])
        store.append(view, {name: rows[name] for name in ("id", "event_time", "value")})
    history = Stored(store.head)
    asked_about = [(key, 10**12 * day) for key in "abcd" for day in range(5)]
    examples = framed(asked(asked_about)).sample(fraction=1, shuffle=True, seed=0)
    examples.write_parquet(tmp_path / "examples.parquet")
    assert history.size_bytes(view, list(view.schema)) > 0
    join_files(
        tmp_path / "examples.parquet", [view], history, tmp_path / "joined.parquet",
        memory_bytes=BYTES, parts=3,
    )  # fmt: skip
    joined = pl.read_parquet(tmp_path / "joined.parquet")
    assert joined.equals(join_frame(examples, [view], history))
    assert joined.filter(pl.col("id") == "d")["prices_missing"].all()


def test_examples_that_do_not_fit_leave_nothing_behind(tmp_path: Path) -> None:
    framed(asked([("a", 1)])).drop("id").write_parquet(tmp_path / "examples.parquet")
    with pytest.raises(InvalidInput, match="no column 'id', which view 'prices' is joined by"):
        join_files(
            tmp_path / "examples.parquet", [source()], InMemory({}), tmp_path / "joined.parquet",
            memory_bytes=BYTES,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["examples.parquet"]


def test_too_little_memory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(
        NotEnough, match=r"1,000 bytes of memory are too few to join .* Allow more: "
    ):
        join_files(
            tmp_path / "examples.parquet", [source()], InMemory({}), tmp_path / "joined.parquet",
            memory_bytes=1_000,
        )  # fmt: skip


@pytest.mark.slow
def test_a_table_of_twice_the_memory_is_joined_within_it(tmp_path: Path) -> None:
    cap_mb, rng, rows = 320, np.random.default_rng(0), 4_000
    view = View(name="notes", key=("id",), columns={"text": Text()}, sample=drawn)
    place = tmp_path / "notes.parquet"
    kinds = {name: view.schema[name].arrow for name in ("id", "event_time", "text")}
    with pq.ParquetWriter(place, pa.schema(kinds), use_dictionary=False) as file:
        for _ in range(cap_mb * 2 * 10**6 // (rows * 2_000)):
            words = [rng.bytes(1_000).hex() for _ in range(rows)]
            ids = [f"k{number}" for number in rng.integers(0, 1_000, rows)]
            moments = pa.array(rng.integers(0, 1_000, rows)).cast(kinds["event_time"])
            file.write_table(pa.table({"id": ids, "event_time": moments, "text": words}))
    examples = pl.DataFrame({"id": [f"k{number}" for number in range(2_000)]})
    examples = examples.with_columns(event_time=pl.lit(500).cast(pl.Datetime("us", "UTC")))
    examples.write_parquet(tmp_path / "examples.parquet")
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(tmp_path), str(cap_mb)],
        check=True, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert float(done.stdout) <= cap_mb
    joined = pl.read_parquet(tmp_path / "joined.parquet")
    assert joined["notes_missing"].to_list() == [False] * 1_000 + [True] * 1_000
    found = pl.scan_parquet(place).filter(
        pl.col("id") == "k7", pl.col("event_time").dt.epoch("us") <= 500
    )
    newest = found.collect().sort("event_time", maintain_order=True).tail(1)
    assert joined["text"][7] == newest["text"][0]


CAPPED = """
import sys
from pathlib import Path
from cluster.features.schema.column import Text
from cluster.features.joins.history import Files
from cluster.features.joins.partitions import join_files
from cluster.features.schema.view import View

folder = Path(sys.argv[1])
view = View(name="notes", key=("id",), columns={"text": Text()}, sample=lambda n, rng: {})
history = Files({"notes": [folder / "notes.parquet"]})
examples, target = folder / "examples.parquet", folder / "joined.parquet"
join_files(examples, [view], history, target, memory_bytes=int(sys.argv[2]) * 10**6)
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM")))
"""
