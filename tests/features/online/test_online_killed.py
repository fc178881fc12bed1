"""Whoever is killed while rows are brought online leaves whole files, and the next one goes on."""

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from cluster.base.batch import objects
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from tests.features.online.online_laws import LATE, always, graph, visit, visits

KILLS = 5
BRING = """
import sys; from pathlib import Path
from cluster.features.online import bring
from cluster.features.online.lookup import Online
from cluster.features.offline.store import Store
from tests.features.online.online_laws import graph, visit
bring.TOGETHER_ROWS = 1  # a transaction for each file
print("ready", flush=True)
store = Store(Path(sys.argv[1]) / "store")
Online(Path(sys.argv[1]) / "online.db").materialize(visit, store.head(visit), graph)
"""


@pytest.mark.slow
def test_what_a_killed_process_brought_is_whole_and_the_rest_follows(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for day in range(60):
        store.append(visit, visits([("a", "x", day, 1.0, "", 1), ("b", "x", day, 1.0, "", 1)]))
    draw = random.Random(0)  # noqa: S311 - moments to kill at
    for _ in range(KILLS):
        bringing = subprocess.Popen(
            [sys.executable, "-c", BRING, tmp_path], stdout=subprocess.PIPE, text=True
        )
        with bringing:
            assert bringing.stdout
            bringing.stdout.readline()
            time.sleep(draw.uniform(0.02, 0.3))
            bringing.kill()
        with closing(sqlite3.connect(tmp_path / "online.db")) as read:
            assert read.execute("pragma integrity_check").fetchone() == ("ok",)
    with closing(Online(tmp_path / "online.db")) as found:
        found.materialize(visit, store.head(visit), graph)
        got = found.lookup([always], {"where": objects(["x"])}, at=LATE)
        assert got["steps"].tolist() == [120]
        assert found.materialize(visit, store.head(visit), graph) == 0
