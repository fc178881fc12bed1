"""The picture of lineage names everything once, and goes from what is ingested to who reads it."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from cluster.base.errors import Corrupt, InvalidInput
from cluster.base.settings import Settings
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import model_view
from cluster.features.offline.store import Store
from cluster.features.schema.column import Text
from cluster.features.views.activity import item_activity, item_trend
from cluster.features.views.images import item_images, labelled_images
from cluster.features.views.interactions import interactions, items, users
from services.local import catalog, features
from services.local.lineage import draw, kind_of

TASKS = {"vision.classify": catalog.find("vision.classify")}
shown = model_view(
    "shown", "vision.classify@production", over=item_images, columns={"label": Text()}
)
GRAPH = Graph([shown, item_images, labelled_images, interactions, item_activity, item_trend])


def places(picture: str) -> dict[str, tuple[int, int]]:
    found = re.findall(r'class="name" x="(\d+)" y="(\d+)">([^<]+)<', picture)
    return {name: (int(x), int(y)) for x, y, name in found}


def test_everything_stands_once_to_the_right_of_what_it_is_made_from() -> None:
    picture = draw(GRAPH, TASKS)
    at = places(picture)
    assert sorted(at) == sorted([*(view.name for view in GRAPH.order), *TASKS])
    assert len(set(at.values())) == len(at)
    assert at["interactions"][0] < at["item_activity"][0] < at["item_trend"][0]
    assert at["images"][0] < at["vision.classify"][0] < at["shown"][0]
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    arrows = [p for p in root.iter() if p.get("marker-end")]
    assert [p.get("class") for p in arrows].count("makes") == 1
    assert len(arrows) == 5


def test_nothing_at_all_is_an_empty_picture() -> None:
    assert places(draw(Graph([]), {})) == {}


def test_views_are_of_four_sorts() -> None:
    kinds = [kind_of(view) for view in (items, users, item_activity, item_trend, shown)]
    assert kinds == ["source", "source", "windows", "computed", "model"]


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"not named as an SVG picture\. End its name in \.svg"):
        features.draw(tmp_path / "lineage.png")
    assert features.draw(tmp_path / "lineage.svg").read_text().startswith("<svg")


def test_a_damaged_commit_is_told_and_not_taken_for_no_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "features")
    store.write(items, items.sample(3, np.random.default_rng(0)))
    (commit,) = (tmp_path / "features" / "items" / "commits").glob("*.json")
    commit.write_bytes(commit.read_bytes()[:-20])
    with pytest.raises(Corrupt, match="items"):
        features.listed(catalog.layer(Settings(home=tmp_path)))
