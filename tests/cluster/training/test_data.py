"""Which stored rows a worker gets: fixed at the start, each once, features as of their time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput, LeptonError, NotEnough
from cluster.contract.run import Run
from cluster.contract.split import ByGroup, ByKey, Given, Split
from cluster.features.derived.aggregates import Count
from cluster.features.derived.modelview import model_view
from cluster.features.derived.windows import windows
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.quality.copies import plain
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.features.views.texts import labelled_texts, texts
from cluster.training.data import Plan, plan
from cluster.training.stream import SHUFFLE_ROWS, Streamed, streamed
from tests.toy import Side, draw, labelled_points


def no_sample(count: int, rng: np.random.Generator) -> Batch:
    raise AssertionError("these tests bring their own rows")


weather = View(
    "weather",
    key=("point_id",),
    columns={"rain": Number(), "sky": Text(blank=True)},
    sample=no_sample,
)


class Wet(Side):
    """The toy, with what the weather was at each point."""

    features: ClassVar[tuple[View, ...]] = (weather,)


wind = View("wind", key=("point_id",), columns={"label": Text(blank=True)}, sample=no_sample)


class Windy(Side):
    """The toy, with the weather and the wind, which has a column of the points' name."""

    features: ClassVar[tuple[View, ...]] = (weather, wind)


class Forecast(Side):
    """The toy, which reads the weather whole."""

    tables: ClassVar[tuple[View, ...]] = (weather,)


class Told(Side):
    """The toy, whose split only the source decides."""

    split: ClassVar[Split] = Given()


def points(count: int, *, start: int = 0, hour: int = 12) -> Batch:
    rows = dict(draw(count, np.random.default_rng(start)))
    rows["point_id"] = objects(f"p{start + number}" for number in range(count))
    return {**rows, "event_time": np.full(count, moment(hour))}


def moment(hour: int) -> np.datetime64:
    return np.datetime64("2026-01-01", "us") + np.timedelta64(hour, "h")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.write(labelled_points, points(300))
    return made


def names(made: Plan, part: str, **shard: int) -> list[str]:
    return list(made.rows(part, **shard).whole()["point_id"])


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


def wet(who: list[str], *, hour: int, rain: float) -> Batch:
    return {
        "point_id": objects(who),
        "rain": np.full(len(who), rain),
        "sky": objects([f"seen at {hour}"] * len(who)),
        "event_time": np.full(len(who), moment(hour)),
    }


def test_features_are_the_newest_of_each_rows_own_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    known = [f"p{number}" for number in range(200)]
    store.write(labelled_points, {**points(200), "split": objects(["train", "test"] * 100)})
    store.write(labelled_points, {**points(200, hour=6), "split": objects(["train"] * 200)})
    for hour in (3, 9, 15):
        store.write(weather, wet(known[:100], hour=hour, rain=float(hour)))
    rows = plan(Wet, store, memory_share=0.9).rows("train").whole()
    assert len(rows["x"]) > 200
    for name, when, rain, sky, missing in zip(
        *(rows[c] for c in ("point_id", "event_time", "rain", "sky", "weather_missing")),
        strict=True,
    ):
        hour = 9 if when == moment(12) else 3
        told = int(name[1:]) < 100
        assert (rain, sky) == ((hour, f"seen at {hour}") if told else (0.0, ""))
        assert missing == (not told)


def test_a_table_is_the_newest_row_of_every_key_that_no_example_mentions_either(
    store: Store,
) -> None:
    store.write(weather, wet(["p0", "nowhere"], hour=9, rain=9.0))
    store.write(weather, wet(["p1", "p0"], hour=3, rain=3.0))
    made = plan(Forecast, store, memory_share=0.9)
    assert set(made.views) == {"points", "weather"}
    known = Run(tables=made.whole()).table(weather)
    assert set(known) == {"point_id", "rain", "sky", "event_time"}
    rain = dict(zip(known["point_id"], known["rain"].tolist(), strict=True))
    assert rain == {"p0": 9.0, "nowhere": 9.0, "p1": 3.0}


def test_a_table_of_windows_is_made_of_the_rows_that_are_trained_on_alone(store: Store) -> None:
    store.write(labelled_points, {**points(4, hour=9), "split": objects(["train", "test"] * 2)})
    seen = windows("seen", over=labelled_points, key=("point_id",), columns={"often": Count()})
    made = plan(Side, store, memory_share=0.9, tables=(seen,))
    assert made.tables == (seen,)
    assert made.views["seen"] == {"version": seen.version}
    known = Run(tables=made.whole()).table(seen)
    trained = names(made, "train")
    assert dict(zip(known["point_id"], known["often"].tolist(), strict=True)) == {
        name: trained.count(name) for name in trained
    }
    assert set(known["event_time"]) == {moment(12)}
    assert max(known["often"]) == 2


def test_a_table_without_rows_has_its_columns(store: Store) -> None:
    made = plan(Forecast, store, memory_share=0.9)
    known = Run(tables=made.whole()).table(weather)
    assert {name: (len(c), c.dtype) for name, c in known.items()} == {
        "point_id": (0, np.dtype(object)),
        "rain": (0, np.dtype(float)),
        "sky": (0, np.dtype(object)),
        "event_time": (0, np.dtype("M8[us]")),
    }


def test_nothing_stored_is_refused_with_the_way_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(LeptonError, match="services ingest points PATH"):
        plan(Side, Store(tmp_path), memory_share=0.9)


def test_features_that_nobody_ingested_are_missing_from_every_row(store: Store) -> None:
    rows = plan(Wet, store, memory_share=0.9).rows("train").whole()
    assert rows["weather_missing"].all()


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


def test_a_live_view_is_named_and_joined_to_no_row(tmp_path: Path) -> None:
    class Watched(Side):
        live: ClassVar[tuple[View, ...]] = (weather,)

    store = Store(tmp_path)
    ingest_rows(labelled_points, points(40), store)
    made = plan(Watched, store, memory_share=0.9)
    assert made.views["weather"] == {"version": weather.version}
    assert "rain" not in made.rows("train").whole()
    store.write(weather, wet(["p1"], hour=1, rain=3.0))
    later = plan(Watched, store, memory_share=0.9)
    assert later.identity == made.identity
    told = later.lived({"point_id": objects(["p1", "p2"])})["weather"]
    assert told["rain"].tolist() == [3.0, 0.0]
    assert told["weather_missing"].tolist() == [False, True]
    assert later.lived({"owner_id": objects(["o1"])}) == {}


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


def test_labels_that_no_test_row_has_are_a_warning(tmp_path: Path) -> None:
    rows = points(300)
    rows = {**rows, "label": objects(["above"] * 299 + ["below"])}
    rows["split"] = objects(["train"] * 200 + ["test"] * 99 + ["train"])
    store = Store(tmp_path)
    ingest_rows(labelled_points, rows, store)
    made = plan(Side, store, memory_share=0.9)
    imbalance, *alone, untested = made.warnings(("label",))
    assert "'above' has 299 rows and 'below' has 1, a ratio of 299:1" in imbalance
    assert alone[-1] == "All 99 rows of the test part have the label 'above'."
    assert untested == (
        "1 of 2 labels has no row in the test part, so no score says how well a model knows it: "
        "'below'."
    )
    assert made.warnings(("point_id", "x")) == []


def test_rows_that_their_source_puts_in_one_part_are_refused_with_that_reason(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    ingest_rows(labelled_points, {**points(30), "split": objects(["test"] * 30)}, store)
    with pytest.raises(InvalidInput, match="Their source puts all of them in test, by the name"):
        plan(Side, store, memory_share=0.9)


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


class Words(Side):
    """The toy, asked by words."""

    inputs = texts
    examples = labelled_texts
    split: ClassVar[Split] = ByKey(valid=0.1, test=0.3)


def said(count: int, copies: int, split: str = "") -> Batch:
    """Texts of which each comes as often, in another case and with other spaces."""
    words = [f"text  number {row % count}" for row in range(count * copies)]
    turned = [
        word.upper() if row % 2 else word.replace("  ", " ") for row, word in enumerate(words)
    ]
    return {
        "text_id": objects(f"t{row}" for row in range(count * copies)),
        "text": objects(turned),
        "label": objects("ab"[row % 2] for row in range(count * copies)),
        "split": objects([split] * (count * copies)),
    }


def test_copies_of_a_text_are_in_one_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(labelled_texts, said(51, 4))
    made = plan(Words, store, memory_share=0.9)
    assert min(made.counts.values()) > 0
    parts = [set(map(plain, made.rows(part).whole()["text"])) for part in made.counts]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 51
    assert made.warnings(("label",)) == []


def test_copies_that_the_source_puts_on_both_sides_are_counted_and_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(labelled_texts, said(40, 2, "train"))
    tested = said(50, 1, "test")
    store.write(labelled_texts, {**tested, "text_id": objects(f"u{row}" for row in range(50))})
    made = plan(Words, store, memory_share=0.9)
    copied = replace(made, split=ByKey(valid=0.0)).warnings(("label",))[0]
    assert copied.startswith("40 of the 50 test rows are copies of training rows")
    assert "their source puts them there" in copied
