"""Let Feast look up, in an environment of its own: `feast_online.py FOLDER KEYS` prints JSON."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType

COLUMNS = [f"f{number}" for number in range(8)]
ASKED, WARM, TIMES = 100, 10, 100


def main(folder: Path, keys: int) -> None:
    """Declares the view, fills it the first time, and times look-ups of 100 keys of it."""
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
    rng = np.random.default_rng(0)
    if not (folder / "online.db").exists():
        fill(store, folder, keys, rng)
    wanted = [f"stats:{name}" for name in COLUMNS]
    took = []
    for _ in range(WARM + TIMES):
        rows = [{"user_id": f"user_{number}"} for number in rng.integers(0, keys, ASKED)]
        began = time.perf_counter()
        found = store.get_online_features(features=wanted, entity_rows=rows).to_dict()
        took.append((time.perf_counter() - began) * 1e3)
        assert None not in found["f0"]
    sys.stdout.write(json.dumps({"ms": took[WARM:], "pandas": pd.__version__}) + "\n")


def fill(store: FeatureStore, folder: Path, keys: int, rng: np.random.Generator) -> None:
    """Writes a row for each key to the online store."""
    rows = pd.DataFrame({name: rng.random(keys) for name in COLUMNS})
    rows["user_id"] = [f"user_{number}" for number in range(keys)]
    rows["event_time"] = datetime.now(UTC)
    rows.to_parquet(folder / "stats.parquet")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(path=str(folder / "stats.parquet"), timestamp_field="event_time")
    schema = [Field(name=name, dtype=Float64) for name in COLUMNS]
    view = FeatureView(name="stats", entities=[user], schema=schema, source=source)
    store.apply([user, view])
    store.write_to_online_store("stats", rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
