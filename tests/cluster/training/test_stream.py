"""Rows that do not fit in memory come in passes, with the features of resident ones."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from cluster.base.batch import objects
from cluster.base.errors import NotEnough
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.training.data import plan
from cluster.training.stream import SHUFFLE_ROWS, Streamed
from tests.cluster.training.weather import Windy, points, weather, wet
from tests.toy import Side, labelled_points


class Shard:
    """What Ray Data would lend a worker, in the order in which the rows lie."""

    def __init__(self, view: View, *, rows: int) -> None:
        self.table = view.pack(points(rows))
        self.asked: list[dict[str, Any]] = []

    def iter_batches(self, **asked: Any) -> Iterator[pa.Table]:
        self.asked.append(asked)
        for start in range(0, self.table.num_rows, asked["batch_size"]):
            yield self.table.slice(start, asked["batch_size"])


def test_streamed_rows_come_in_passes_and_are_never_whole(store: Store) -> None:
    shard = Shard(labelled_points, rows=10)
    rows = Streamed(shard, plan(Side, store, memory_share=0.0), 10)
    seen = [list(batch["point_id"]) for batch in rows.batches(4)]
    assert [len(names) for names in seen] == [4, 4, 2]
    assert [name for names in seen for name in names] == [f"p{number}" for number in range(10)]
    assert [len(batch["x"]) for batch in rows.shuffled(4, seed=3)] == [4, 4]
    assert shard.asked[1]["local_shuffle_seed"] == 3
    with pytest.raises(NotEnough, match=r"10 rows of 'points' do not fit.*LEPTON_MEMORY_SHARE"):
        rows.whole()


@pytest.mark.parametrize("memory_share", [0.0, 0.9])
def test_streamed_rows_have_the_features_that_resident_ones_have(
    store: Store, memory_share: float
) -> None:
    names = [f"p{number}" for number in range(0, 300, 7)]
    for hour in (3, 9, 15):  # of which the last comes after the points
        sky = objects(f"{name} at {hour}" for name in names)
        store.write(weather, {**wet(names, hour=hour, rain=hour), "sky": sky})
    made = plan(Windy, store, memory_share=memory_share)
    assert made.cached is (memory_share > 0)
    shard = Shard(labelled_points, rows=300)
    streamed = list(Streamed(shard, made, 300).batches(128))
    assert [len(batch["x"]) for batch in streamed] == [128, 128, 44]
    assert shard.asked[0]["batch_size"] == SHUFFLE_ROWS  # what is joined at once
    known = made.joined(labelled_points.unpack(shard.table))
    assert [name for name in known if name not in labelled_points.schema] == [
        "rain", "sky", "weather_missing", "wind__label", "wind_missing",
    ]  # fmt: skip
    for name, column in known.items():
        assert [v for b in streamed for v in b[name].tolist()] == column.tolist(), name
    assert sum(known["rain"] == 9.0) == len(names)
