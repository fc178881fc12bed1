"""Points of the toy, and the weather at them: what the tests of training data store."""

from typing import ClassVar

import numpy as np

from cluster.base.batch import Batch, objects
from cluster.contract.split import Given, Split
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.training.data import Plan
from tests.toy import Side, draw


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


def names(made: Plan, part: str, **shard: int) -> list[str]:
    return list(made.rows(part, **shard).whole()["point_id"])


def wet(who: list[str], *, hour: int, rain: float) -> Batch:
    return {
        "point_id": objects(who),
        "rain": np.full(len(who), rain),
        "sky": objects([f"seen at {hour}"] * len(who)),
        "event_time": np.full(len(who), moment(hour)),
    }
