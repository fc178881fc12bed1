"""Windows through fewer columns are looked up though the others need events that came later."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cluster.base.batch import objects
from cluster.features.derived.aggregates import Sum
from cluster.features.derived.graph import Graph
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from tests.features.online.online_laws import LATE, always, visit, visits


def test_a_narrowed_view_needs_nothing_of_a_column_that_was_added(tmp_path: Path) -> None:
    online, store = Online(tmp_path / "online.db"), Store(tmp_path / "store")
    store.write(visit, visits([("a", "x", 1, 2.5, "", 4)]))
    online.materialize(visit, store.head(visit), Graph([visit, always]))
    grown = replace(
        always,
        columns={**always.columns, "spent": visit.columns["spent"]},
        aggregates={**always.aggregates, "spent": Sum("spent")},
    )
    found = online.lookup([grown.only("steps")], {"where": objects(["x"])}, at=LATE)
    np.testing.assert_array_equal(found["steps"], [4])
    online.close()
