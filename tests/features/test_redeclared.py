"""A view whose columns were declared otherwise for a while loses nothing of what is online."""

from dataclasses import replace
from pathlib import Path

import pytest

from cluster.base.batch import objects
from cluster.base.errors import Conflict
from cluster.features.derived.aggregates import Last
from cluster.features.derived.graph import Graph
from cluster.features.derived.windows import windows
from cluster.features.layer import Layer
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, Text
from cluster.features.schema.view import View
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.local import catalog

shops = View("shops", ("shop_id",), {"city": Text()}, lambda n, rng: {})
mistaken = replace(shops, columns={"city": Number()})
REFUSED = (
    r"View 'shops' was stored as string: column 'city' is now double\. Give the view a new name, "
    "or ingest again from an empty home"
)


def layer(home: Path, view: View) -> Layer:
    lately = windows("lately", over=view, key=("shop_id",), columns={"last": Last("city", n=3)})
    online = Online(home / "online.db")
    models = Models(Registry(home), catalog.find)
    return Layer(Graph([view, lately]), Store(home / "features"), online, models)


def test_a_refused_materialize_leaves_the_online_side_as_it_was(tmp_path: Path) -> None:
    right, wrong = layer(tmp_path, shops), layer(tmp_path, mistaken)
    right.push("shops", {"shop_id": objects(["a"]), "city": objects(["Ghent"])})
    with pytest.raises(Conflict, match=REFUSED):
        wrong.materialize(["shops"])
    found = right.lookup(["shops", "lately"], {"shop_id": objects(["a"])})
    assert (found["city"].tolist(), found["last"].tolist()) == (["Ghent"], [["Ghent"]])


def test_a_look_up_with_other_columns_says_what_the_stored_rows_say(tmp_path: Path) -> None:
    right, wrong = layer(tmp_path, shops), layer(tmp_path, mistaken)
    right.push("shops", {"shop_id": objects(["a"]), "city": objects(["Ghent"])})
    for name in ("shops", "lately"):
        with pytest.raises(Conflict, match=REFUSED):
            wrong.lookup([name], {"shop_id": objects(["a"])})
        with pytest.raises(Conflict, match=REFUSED):
            wrong.lookup_anyway([wrong.view(name)], {"shop_id": objects(["a"])})
