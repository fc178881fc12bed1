"""Read and write a Lepton with Feast's own client; runs in an environment that has Feast.

`python feast_client.py URL FOLDER QUESTIONS` prints one JSON object: what was answered to each
question that the file QUESTIONS holds.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource
from feast.infra.online_stores.remote import RemoteOnlineStoreConfig
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Array, Float64, String
from feast.value_type import ValueType


def store(url: str, folder: Path) -> FeatureStore:
    """A feature store whose online side is the Lepton at the url; its definitions equal ours."""
    config = RepoConfig(
        project="lepton",
        provider="local",
        registry=RegistryConfig(path=str(folder / "registry.db")),
        online_store=RemoteOnlineStoreConfig(path=url),
        entity_key_serialization_version=3,
    )
    made = FeatureStore(config=config)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    file = FileSource(path=str(folder / "none.parquet"), timestamp_field="event_timestamp")
    items = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="title", dtype=String), Field(name="categories", dtype=Array(String))],
        source=PushSource(name="items", batch_source=file),
    )
    interactions = FeatureView(
        name="interactions",
        entities=[user, item],
        ttl=timedelta(0),
        schema=[Field(name="value", dtype=Float64)],
        source=file,
    )
    made.apply([item, user, items, interactions])
    return made


def main(url: str, folder: str, questions: str) -> None:
    """Write what there is to write, then ask."""
    made = store(url, Path(folder))
    asked = json.loads(Path(questions).read_text())
    for name, columns in asked.get("push", {}).items():
        made.push(name, frame(columns))
    for name, columns in asked.get("write", {}).items():
        made.write_to_online_store(name, frame(columns))
    answers = []
    for question in asked["read"]:
        answer = made.get_online_features(**question)
        statuses = [[int(s) for s in result.statuses] for result in answer.proto.results]
        answers.append({"values": answer.to_dict(), "statuses": statuses})
    sys.stdout.write(json.dumps(answers) + "\n")


def frame(columns: dict[str, list[object]]) -> pd.DataFrame:
    """Columns as Feast takes them, with times that are times."""
    made = pd.DataFrame(columns)
    return made.assign(event_timestamp=pd.to_datetime(made["event_timestamp"], utc=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
