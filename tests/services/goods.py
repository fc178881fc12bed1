"""A small shop for tests of the feature layer over HTTP: its views, and rows of them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
import numpy as np

from cluster.base.batch import Batch, objects
from cluster.features.derived.computed import computed
from cluster.features.schema.column import Number, Text, Texts, Time, Vector, Whole
from cluster.features.schema.view import View
from cluster.media.picture import Picture
from lepton.wire import Lookup

Post = Callable[..., httpx.Response]
PICTURE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def none(n: int, rng: np.random.Generator) -> Batch:
    """No view here is sampled for its values."""
    return {"event_time": np.full(n, np.datetime64(0, "us"))}


def sample_goods(n: int, rng: np.random.Generator) -> Batch:
    """Made-up rows on which the function over them is tried."""
    words = {name: objects(["a"] * n) for name in ("item_id", "title")}
    numbers = {"price": np.ones(n), "stock": np.ones(n, dtype=np.int64)}
    times = np.full(n, np.datetime64(0, "us"))
    return {**words, **numbers, "words": objects([["a"]] * n), "seen": times, "event_time": times}


goods = View(
    "goods",
    ("item_id",),
    {"title": Text(), "price": Number(), "stock": Whole(), "words": Texts(), "seen": Time()},
    sample_goods,
    defaults={"price": 9.5},
    description="What is on sale.",
    owner="shop",
    tags=("catalogue",),
)
shots = View("shots", ("item_id",), {"shot": Picture()}, none)
places = View("places", ("item_id",), {"vector": Vector(2)}, none)
visits = View(
    "visits",
    ("user_id", "item_id"),
    {"title": Text()},
    none,
    ttl=timedelta(days=1),
)


@computed(key=("item_id",), columns={"double": Number()})
def doubled(goods: Any) -> Any:
    """Twice the price."""
    return goods.select(double=goods["price"] * 2)


def good(item_id: object = "42", **changes: Any) -> dict[str, Any]:
    """A row of `goods`."""
    held = {"title": "Boots", "price": 2.5, "stock": 3, "words": ["red", "warm"]}
    return {"item_id": item_id, **held, "seen": "2026-01-02T03:04:05+01:00", **changes}


def looked_up(post: Post, views: list[str], *keys: Mapping[str, object]) -> Lookup:
    answer = post("/v1/features/lookup", {"views": views, "keys": list(keys)})
    assert answer.status_code == 200, answer.text
    return Lookup.model_validate_json(answer.content)
