"""A join that is spread over the cluster gives the same rows as one process."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from cluster.base.settings import settings
from cluster.engine import engine as engines
from cluster.engine.engine import Engine
from cluster.features.derived.aggregates import Count, Distinct
from cluster.features.derived.windows import windows
from cluster.features.joins.history import Stored
from cluster.features.joins.join import join_frame
from cluster.features.joins.partitions import join_files
from cluster.features.offline.store import Store
from cluster.features.views.interactions import interactions
from tests.e2e.steps import MARKS

pytestmark = MARKS


def test_the_cluster_gives_the_same_rows_as_one_process(engine: Engine, tmp_path: Path) -> None:
    store = Store(tmp_path / "features")
    for seed in range(2):
        store.write(interactions, interactions.sample(400, np.random.default_rng(seed)))
    activity = windows(
        "activity",
        over=interactions,
        key=("user_id",),
        columns={"events": Count(within=timedelta(days=9)), "items": Distinct("item_id")},
    )
    views, history = [interactions, activity], Stored(store.head)
    asked = history.frame(interactions, ["user_id", "item_id", "event_time"]).drop("created")
    examples = asked.sample(fraction=1, shuffle=True, seed=1)
    examples.write_parquet(tmp_path / "examples.parquet")
    whole = join_frame(examples, views, history)
    assert not whole["activity_missing"].any()

    engines.connect(settings())
    from cluster.bulk.spread import over_cluster

    rows = join_files(
        tmp_path / "examples.parquet",
        views,
        history,
        tmp_path / "joined.parquet",
        memory_bytes=2**40,
        each=over_cluster,
        parts=5,
    )
    assert rows == len(examples)
    assert pl.read_parquet(tmp_path / "joined.parquet").equals(whole)
