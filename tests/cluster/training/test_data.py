"""Which stored rows a worker gets: fixed at the start, and each of them once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, LeptonError
from cluster.contract.split import ByKey
from cluster.features.derived.modelview import model_view
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.schema.column import Number
from cluster.training.data import plan
from tests.cluster.training.weather import Told, Wet, names, points, weather, wet
from tests.toy import Side, labelled_points


def test_the_parts_hold_every_row_once(store: Store) -> None:
    made = plan(Side, store, memory_share=0.9)
    parts = {part: names(made, part) for part in ("train", "valid", "test")}
    assert {part: len(found) for part, found in parts.items()} == made.counts
    together = [name for found in parts.values() for name in found]
    assert sorted(together) == sorted(points(300)["point_id"])


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_the_shards_of_workers_are_a_partition_of_about_equal_size(
    store: Store, workers: int
) -> None:
    made = plan(Side, store, memory_share=0.9)
    shards = [names(made, "train", rank=rank, workers=workers) for rank in range(workers)]
    assert sorted(name for shard in shards for name in shard) == sorted(names(made, "train"))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_rows_that_come_later_do_not_change_a_plan(store: Store) -> None:
    made = plan(Side, store, memory_share=0.9)
    counts, before = made.counts, names(made, "train")
    fresh = replace(made)  # the same plan, nothing looked up yet: what another worker holds
    store.write(labelled_points, points(50, start=1_000))
    store.write(labelled_points, {**points(300), "x": np.zeros(300)})
    assert (fresh.counts, names(fresh, "train")) == (counts, before)
    assert fresh.rows("train").whole()["x"].any()
    later = plan(Side, store, memory_share=0.9)
    assert sum(later.counts.values()) == 350
    assert set(before) <= set(names(later, "train"))
    assert later.identity != made.identity


def test_the_manifest_is_told_which_rows_they_were(store: Store) -> None:
    store.write(weather, wet(["p0"], hour=1, rain=1.0))
    assert plan(Wet, store, memory_share=0.9).views == {
        "points": {"commit": 1, "rows": 300, "version": labelled_points.version},
        "weather": {"commit": 1, "rows": 1, "version": weather.version},
    }


def test_a_model_view_is_told_by_its_own_name_with_its_release(store: Store) -> None:
    shade = model_view("shade", "a.b@production", over=weather, columns={"dark": Number()})
    store.write(shade.at(3).rows_of, {**wet(["p0"], hour=1, rain=1.0), "dark": np.ones(1)})

    class Shady(Side):
        features = (shade,)
        tables = (shade,)

    made = plan(Shady, store, memory_share=0.9, resolve=lambda view: shade.at(3))
    assert made.views["shade"] == {
        "commit": 1,
        "rows": 1,
        "release": 3,
        "version": shade.at(3).version,
    }
    assert made.whole()["shade"]["dark"].tolist() == [1.0]
    assert plan(Shady, store, memory_share=0.9, resolve=lambda view: None).tables == ()


def test_nothing_stored_is_refused_with_the_way_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(LeptonError, match="services ingest points PATH"):
        plan(Side, Store(tmp_path), memory_share=0.9)


def test_rows_of_which_none_is_measured_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(labelled_points, {**points(20), "split": objects(["train"] * 20)})
    with pytest.raises(InvalidInput, match="None of the 20 rows of 'points' is in the test part"):
        plan(Side, store, memory_share=0.9)


def test_a_split_that_the_source_must_give_refuses_rows_without_one(store: Store) -> None:
    with pytest.raises(InvalidInput, match="300 rows do not say which part they belong to"):
        plan(Told, store, memory_share=0.9)


def test_rows_over_the_share_of_memory_are_not_held(store: Store) -> None:
    assert plan(Side, store, memory_share=0.9).resident
    made = plan(Side, store, memory_share=0.0)
    assert not made.resident
    assert made.rows("test").resident
    assert Side.split == ByKey()


def test_a_sample_is_spread_over_its_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ingest_rows(labelled_points, points(200), store)
    made = plan(Side, store, memory_share=0.9)
    train = made.rows("train").whole()["point_id"].tolist()
    few = made.sample("train", 10)["point_id"].tolist()
    assert len(few) == 10
    assert few[0] == train[0]
    assert train.index(few[-1]) >= 0.8 * len(train)
    assert made.sample("train", 10_000)["point_id"].tolist() == train
