"""Rows of one series or group stay together: on one worker, in one part."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.split import ByGroup, Split
from cluster.features.offline.store import Store
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.training.data import plan
from cluster.training.stream import streamed
from tests.cluster.training.weather import no_sample, points
from tests.toy import Side

readings = View(
    "readings",
    key=("reading_id",),
    columns={"series_id": Text(), "x": Number(), "y": Number(), "label": Text()},
    sample=no_sample,
)


class Series(Side):
    """The toy, whose points are readings of some meters."""

    inputs = readings.only("x", "y")
    examples = readings
    series: ClassVar[tuple[str, ...]] = ("series_id",)


def metered(count: int, meters: int) -> Batch:
    rows = dict(points(count))
    rows["reading_id"] = rows.pop("point_id")
    rng = np.random.default_rng(2)
    return {**rows, "series_id": objects(f"m{meter}" for meter in rng.integers(0, meters, count))}


@pytest.mark.parametrize("memory_share", [0.9, 0.0])
@pytest.mark.parametrize("workers", [2, 3])
def test_a_series_is_on_one_worker_resident_and_streamed(
    tmp_path: Path, memory_share: float, workers: int
) -> None:
    store = Store(tmp_path)
    store.write(readings, metered(300, 12))
    made = plan(Series, store, memory_share=memory_share)
    shards = []
    for rank in range(workers):
        if made.resident:
            shards.append(made.rows("train", rank=rank, workers=workers).whole())
            continue
        table = made.snapshot.table(list(readings.schema))
        kept = made.drawn(made.mine("train", rank=rank, workers=workers))
        shards.append(readings.unpack(pa.concat_tables(streamed(readings, table, kept))))
    owners = [set(shard["series_id"]) for shard in shards]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 12
    seen = sorted(name for shard in shards for name in shard["reading_id"])
    assert seen == sorted(made.keys["reading_id"][made.parts == "train"])
    assert max(len(shard["x"]) for shard in shards) < 1.5 * len(seen) / workers


def test_fewer_series_than_workers_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(readings, metered(100, 2))
    made = plan(Series, store, memory_share=0.9)
    with pytest.raises(
        InvalidInput, match=r"2 different series_id, which 3 workers .* --workers 2"
    ):
        made.rows("train", rank=0, workers=3)


def test_a_split_by_group_reads_the_column_that_it_goes_by(tmp_path: Path) -> None:
    class Grouped(Series):
        split: ClassVar[Split] = ByGroup(column="series_id", valid=0.2, test=0.4)

    store = Store(tmp_path)
    store.write(readings, metered(300, 12))
    made = plan(Grouped, store, memory_share=0.9)
    parts = [set(made.rows(part).whole()["series_id"]) for part in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12
