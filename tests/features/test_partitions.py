"""A join by parts gives the same rows as one in memory, and its memory is bounded."""

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.features.aggregates import Count, Last
from cluster.features.graph import Graph
from cluster.features.history import InMemory
from cluster.features.join import join_frame
from cluster.features.partitions import join_files
from cluster.features.windows import windows
from tests.features.test_join import (
    TTL,
    Row,
    asked,
    batch,
    framed,
    margin,
    questions,
    rows_of,
    source,
    twice,
)

BYTES = 2**40


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
