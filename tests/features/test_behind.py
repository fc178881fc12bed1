"""What is stored and not online is known, told, and brought where it is little."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.features.derived.aggregates import Count
from cluster.features.derived.graph import Graph
from cluster.features.derived.windows import windows
from cluster.features.layer import Layer
from cluster.features.offline.store import WRITES, Store
from cluster.features.online.lag import EVERY_S, FEW_ROWS, GRACE_S, Lag
from cluster.features.online.lookup import Online
from cluster.features.schema.column import Number, times
from cluster.features.schema.view import View
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from services.local import catalog

sales = View("sales", ("user_id",), {"value": Number()}, lambda n, rng: {})
activity = windows(
    "activity", over=sales, key=("user_id",), columns={"sales": Count(within=timedelta(days=7))}
)
ASKED = {"user_id": objects(["u1"])}
SOON_S = 10.0  # the tests share two cores with others


def opened(home: Path) -> Layer:
    """The layer as another process opens it."""
    online, models = Online(home / "online.db"), Models(Registry(home), catalog.find)
    return Layer(Graph([sales, activity]), Store(home / "features"), online, models)


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return opened(tmp_path)


def rows(count: int, *, ago_s: float = 60.0) -> Batch:
    """Sales of one user, a second apart."""
    now = time.time() - ago_s
    moments = times([int((now - second) * 1e6) for second in range(count)])
    values = np.ones(count)
    return {"user_id": objects(["u1"] * count), "value": values, "event_time": moments}


def seen(layer: Layer) -> int:
    return int(layer.lookup(["activity"], ASKED)["sales"][0])


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it holds within some seconds."""
    until = time.monotonic() + SOON_S
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def settle() -> None:
    """Waits until nobody can still be bringing what was written."""
    time.sleep(max(GRACE_S, EVERY_S) + 0.05)


@pytest.mark.slow
def test_what_was_pushed_is_not_behind_however_the_files_were_merged(layer: Layer) -> None:
    for number in range(2 * WRITES + 5):
        layer.push("sales", rows(1, ago_s=float(number)))
        if number % WRITES == 0:
            settle()  # as a day would
            layer.behind(["sales"])
    settle()
    assert soon(lambda: layer.behind(["activity"]) == {})
    settle()
    assert soon(lambda: opened(layer.store.root.parent).behind(["activity"]) == {})
    assert layer.materialize(["sales"]) == {"sales": 0}
    names = layer.online.keeper.files("sales")
    head = layer.store.head(sales)
    kept = {name for file in head.files for name in (file.name, *file.parents)}
    assert names <= kept  # the notes of files that are no more go


@pytest.mark.parametrize("merges", [2, 4])
def test_rows_that_came_by_files_that_were_merged_again_are_not_behind(
    layer: Layer, merges: int
) -> None:
    layer.push("sales", rows(1, ago_s=0.0))
    for merge in range(merges):
        for number in range(3):
            new = rows(1, ago_s=60.0 * (1 + 3 * merge + number))
            done = layer.store.append(sales, new)
            files = [file.name for file in done.files]
            layer.online.write(sales, {**new, "created": done.created}, layer.graph, files=files)
        assert layer.store.compact(sales).made == 1
    assert layer.lag(sales) == Lag("sales", unnoted=True)
    assert layer.materialize(["sales"]) == {"sales": 0}
    assert layer.lag(sales) == Lag("sales")
    (file,) = layer.store.head(sales).files
    assert layer.online.keeper.files("sales") <= {file.name, *file.parents}


@pytest.mark.slow
def test_rows_that_came_by_another_way_are_told_of_and_then_brought(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.store.write(sales, rows(16, ago_s=3_600.0))
    lag = layer.lag(sales)
    assert lag is not None
    assert lag.told == (
        "16 rows of sales are stored and not online yet. "
        "Bring them: python -m services materialize sales"
    )
    settle()
    behind = opened(layer.store.root.parent).behind(["activity", "sales"])
    assert {name: one.rows for name, one in behind.items()} == {"activity": 16, "sales": 16}
    assert soon(lambda: layer.behind(["activity"]) == {} and seen(layer) == 17)


@pytest.mark.slow
def test_a_push_brings_what_others_left_offline(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.store.append(sales, rows(3, ago_s=3_600.0))  # of a process that ended too soon
    settle()
    opened(layer.store.root.parent).push("sales", rows(1, ago_s=1.0))
    assert soon(lambda: seen(layer) == 5)


def test_what_another_process_brought_is_not_marked_for_ever(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.online.behind.add("sales")  # as after a push that the store missed
    assert layer.missed("sales")
    assert layer.behind(["activity"])["activity"].told.startswith("Some rows of sales are stored")
    assert soon(lambda: layer.behind(["activity"]) == {})
    assert not layer.missed("sales")


def test_how_far_views_are_behind_is_known_once_somebody_asked(layer: Layer) -> None:
    assert not layer.knows_behind(["activity"])
    layer.behind(["activity"])
    assert layer.knows_behind(["activity", "sales"])
    assert not opened(layer.store.root.parent).knows_behind(["sales"])


@pytest.mark.slow
def test_many_rows_wait_for_materialize(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.store.write(sales, rows(FEW_ROWS + 1, ago_s=3_600.0))
    settle()
    assert soon(lambda: "activity" in layer.behind(["activity"]))
    for _ in range(3):
        assert layer.behind(["activity"])["activity"].rows == FEW_ROWS + 1
        settle()
    assert seen(layer) == 1
    layer.materialize()
    assert soon(lambda: layer.behind(["activity"]) == {})
    assert seen(layer) == FEW_ROWS + 2


@pytest.mark.slow
def test_many_rows_that_have_just_come_are_not_brought_with_a_few_older_ones(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.store.append(sales, rows(3, ago_s=3_600.0))
    settle()
    layer.store.write(sales, rows(FEW_ROWS + 1, ago_s=7_200.0))
    found = layer.online.catch_up(sales, partial(layer.store.head, sales), layer.graph)
    assert found is not None
    assert found.rows == FEW_ROWS + 4
    assert seen(layer) == 1


@pytest.mark.slow
def test_a_push_brings_what_was_missed_if_that_is_little(layer: Layer) -> None:
    layer.push("sales", rows(1))
    layer.online.behind.add("sales")  # as after a push that the store missed
    layer.store.append(sales, rows(3, ago_s=3_600.0))
    layer.push("sales", rows(1, ago_s=1.0))
    assert (seen(layer), layer.missed("sales")) == (5, False)
    layer.online.behind.add("sales")
    layer.store.write(sales, rows(FEW_ROWS + 1, ago_s=7_200.0))
    layer.push("sales", rows(1, ago_s=2.0))
    assert (seen(layer), layer.missed("sales")) == (6, True)


@pytest.mark.slow
def test_a_view_that_a_killed_materialize_left_in_part_is_behind(layer: Layer) -> None:
    layer.store.write(sales, rows(FEW_ROWS + 1))
    empty = Store(layer.store.root.parent / "none")
    layer.online.materialize(sales, empty.head(sales), layer.graph)  # declared, and nothing brought
    settle()
    assert opened(layer.store.root.parent).behind(["sales"])["sales"].rows == FEW_ROWS + 1


@pytest.mark.slow
def test_a_view_that_was_never_online_is_not_behind(layer: Layer) -> None:
    layer.store.write(sales, rows(3))
    settle()
    assert layer.behind(["activity"]) == {}
    assert layer.lag(sales) is None


def test_a_row_is_told_of_in_words() -> None:
    assert Lag("sales").told.startswith("Some rows of sales are stored and not online yet.")
