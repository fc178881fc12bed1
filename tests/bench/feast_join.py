"""Let Feast join, in its own environment: `feast_join.py FOLDER` prints seconds as JSON."""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

COLUMNS = [f"f{number}" for number in range(8)]


def main(folder: Path) -> None:
    """Declares the view, reads the examples, joins, and writes what came out."""
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "dask"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        path=str(folder / "events.parquet"),
        timestamp_field="event_time",
        created_timestamp_column="created",
    )
    view = FeatureView(
        name="events",
        entities=[user],
        ttl=timedelta(days=60),
        schema=[Field(name=name, dtype=Float64) for name in COLUMNS],
        source=source,
    )
    store.apply([user, view])
    began = time.perf_counter()
    examples = pd.read_parquet(folder / "examples.parquet").rename(
        columns={"event_time": "event_timestamp"}
    )
    joined = store.get_historical_features(
        entity_df=examples, features=[f"events:{name}" for name in COLUMNS]
    ).to_df()
    took = time.perf_counter() - began
    joined.sort_values("row").to_parquet(folder / "joined.parquet")
    sys.stdout.write(json.dumps({"seconds": took, "pandas": pd.__version__}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
