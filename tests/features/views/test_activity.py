"""What stands in the views of activity is what the shop's customers did."""

import numpy as np

from cluster.features.derived.graph import Graph
from cluster.features.views.activity import item_activity, item_trend, user_activity, user_history
from cluster.features.views.interactions import interactions

GRAPH = Graph([user_history, user_activity, item_activity, item_trend, interactions])
EVENTS = interactions.sample(3_000, np.random.default_rng(0))


def test_a_history_begins_with_what_was_taken_last() -> None:
    drawn = user_history.sample(3_000, np.random.default_rng(0))
    user, recent = drawn["user_id"][0], drawn["recent_items"][0]
    mine = EVENTS["user_id"] == user
    assert recent == EVENTS["item_id"][mine][::-1][:50].tolist()  # the shop draws in order of time


def test_windows_count_less_the_shorter_they_are() -> None:
    drawn = user_activity.sample(3_000, np.random.default_rng(0))
    assert (drawn["events_7d"] <= drawn["events_28d"]).all()
    assert drawn["events_7d"].sum() < drawn["events_28d"].sum()
    assert (drawn["value_28d"] == drawn["events_28d"]).all()  # each purchase counts one


def test_a_trend_is_one_for_what_sells_evenly() -> None:
    drawn = GRAPH.sample(item_trend, 3_000, np.random.default_rng(0))
    assert 0.5 < np.median(drawn["trend"]) < 2
