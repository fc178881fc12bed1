"""Hold what users did lately and how items sell: windows over the interactions."""

from datetime import timedelta

import polars as pl

from cluster.features.derived.aggregates import Count, Distinct, Last, Since, Sum
from cluster.features.derived.computed import computed
from cluster.features.derived.windows import windows
from cluster.features.schema.column import Number
from cluster.features.views.interactions import interactions

WEEK, MONTH = timedelta(days=7), timedelta(days=28)
RECENT_ITEMS = 50

user_history = windows(
    "user_history",
    over=interactions,
    key=("user_id",),
    columns={
        "recent_items": Last("item_id", n=RECENT_ITEMS),
        "recent_values": Last("value", n=RECENT_ITEMS),  # 0 or less: returned or disliked
    },
    description="The items of a user's last events and their values, newest first.",
)
user_activity = windows(
    "user_activity",
    over=interactions,
    key=("user_id",),
    columns={
        "events_7d": Count(within=WEEK),
        "events_28d": Count(within=MONTH),
        "value_28d": Sum("value", within=MONTH),
        "items_28d": Distinct("item_id", within=MONTH),
        "idle_s": Since(),
    },
    description="How much a user did in the last days, and for how long nothing.",
)
item_activity = windows(
    "item_activity",
    over=interactions,
    key=("item_id",),
    columns={
        "events_7d": Count(within=WEEK),
        "events_28d": Count(within=MONTH),
        "users_28d": Distinct("user_id", within=MONTH),
    },
    description="How many took an item in the last days.",
)


@computed(key=("item_id",), columns={"trend": Number()}, defaults={"trend": 1.0})
def item_trend(item_activity: pl.DataFrame) -> pl.DataFrame:
    """Whether an item sells better than it did: its last week over a quarter of its last month."""
    week, month = pl.col("events_7d"), pl.col("events_28d")
    # one event more on both sides, so that what hardly sells at all is neither hot nor cold
    return item_activity.select(trend=(week + 1) / (month / 4 + 1))
