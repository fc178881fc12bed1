"""What training rows have beside them: features as of their time, whole tables, no live view."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from cluster.base.batch import objects
from cluster.contract.run import Run
from cluster.features.derived.aggregates import Count
from cluster.features.derived.windows import windows
from cluster.features.intake.ingest import ingest_rows
from cluster.features.offline.store import Store
from cluster.features.schema.view import View
from cluster.training.data import plan
from tests.cluster.training.weather import Forecast, Wet, moment, names, points, weather, wet
from tests.toy import Side, labelled_points


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


def test_features_that_nobody_ingested_are_missing_from_every_row(store: Store) -> None:
    rows = plan(Wet, store, memory_share=0.9).rows("train").whole()
    assert rows["weather_missing"].all()


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
