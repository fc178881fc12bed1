"""Push events, join them to past rows point in time, and look up what holds now."""

from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

import polars as pl

from cluster.base.settings import settings
from services.local import catalog
from services.local.layer import LocalLayer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def main() -> None:
    """Read what a user took last: as of two moments, and now."""
    with TemporaryDirectory() as home:  # `services.layer()` is the one of your LEPTON_HOME
        layer = LocalLayer(catalog.layer(settings({"LEPTON_HOME": home})))
        event = {"user_id": "7", "value": 1.0}
        lamp = {**event, "item_id": "lamp", "event_time": NOON}
        kite = {**event, "item_id": "kite", "event_time": NOON + 2 * HOUR}
        print("pushed:", layer.push("interactions", [lamp, kite]))

        asked = pl.DataFrame({"user_id": ["7", "7"], "event_time": [NOON + HOUR, NOON + 3 * HOUR]})
        joined = layer.join(asked, ["user_history"])
        print("joined:", joined["recent_items"].to_list())

        found = layer.lookup("user_history", {"user_id": "7"})
        print("online:", found["recent_items"], found["user_history_status"])


if __name__ == "__main__":
    main()
