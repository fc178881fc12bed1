"""What was served is held to what was learnt from, feature by feature."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.features.monitoring.drift import Statistics, compare, measured, plot, statistics
from cluster.features.schema.column import Number, Text, Texts, Vector
from cluster.features.schema.view import View
from cluster.media.picture import Picture

ROWS = 2_000


def drawn(rng: np.random.Generator, *, shift: float = 0.0, word: str = "red") -> Batch:
    words = rng.choice(["red", "blue", "green"], ROWS)
    return {
        "price": rng.normal(shift, 1, ROWS),
        "color": objects(word if one == "red" else str(one) for one in words),
        "story": objects(f"story number {n} " * rng.integers(1, 9) for n in range(ROWS)),
        "tags": objects(["a"] * int(n) for n in rng.integers(0, 5, ROWS)),
        "vector": rng.normal(size=(ROWS, 8)).astype(np.float32),
        "picture": objects(np.full((4, 4, 1), n % 250, np.uint8) for n in range(ROWS)),
        "goods_missing": rng.random(ROWS) < 0.1,
    }


goods = View(
    name="goods",
    key=("id",),
    columns={
        "price": Number(), "color": Text(), "story": Text(), "tags": Texts(), "vector": Vector(8),
        "picture": Picture(),
    },
    sample=lambda n, rng: {},
)  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> Statistics:
    return statistics([goods], drawn(np.random.default_rng(0)), {})


def served(of: Statistics, batch: Batch) -> list[dict[str, Any]]:
    columns = measured(of, batch)
    return [{name: column[row] for name, column in columns.items()} for row in range(ROWS)]


def test_each_kind_of_column_is_measured_in_its_own_way(trained: Statistics) -> None:
    assert {name: kept["measure"] for name, kept in trained.items()} == {
        "goods.price": "value",
        "goods.color": "word",
        "goods.story": "characters",
        "goods.tags": "length",
        "goods.vector": "norm",
        "goods.picture": "brightness",
    }
    assert set(trained["goods.color"]["words"]) == {"red", "blue", "green"}
    assert len(trained["goods.price"]["edges"]) == 9
    assert trained["goods.price"]["missing"] == pytest.approx(0.1, abs=0.03)


def test_the_same_distribution_is_steady_and_another_is_told(trained: Statistics) -> None:
    same = compare(trained, served(trained, drawn(np.random.default_rng(1))))
    assert {drift.verdict for drift in same} == {"steady"}
    moved = compare(trained, served(trained, drawn(np.random.default_rng(1), shift=1.0)))
    assert [drift.feature for drift in moved if drift.verdict != "steady"] == ["goods.price"]
    assert moved[0].psi == pytest.approx(0.9, abs=0.2)
    assert moved[0].verdict == "moved much"


def test_the_index_is_that_of_its_definition() -> None:
    kept = {"measure": "word", "column": "c", "missing": 0.0, "words": {"a": 60}, "rest": 40}
    rows = [{"v.c": "a"}] * 20 + [{"v.c": "b"}] * 80
    (drift,) = compare({"v.c": kept}, rows)
    q, p = np.array([60.5, 40.5]) / 101, np.array([20.5, 80.5]) / 101
    assert drift.psi == pytest.approx(float(np.sum((p - q) * np.log(p / q))))


def test_words_that_were_never_learnt_are_not_kept(trained: Statistics) -> None:
    rows = served(trained, drawn(np.random.default_rng(1), word="a secret"))
    assert {row["goods.color"] for row in rows} == {"blue", "green", "(other)", None}
    assert compare(trained, rows)[0].feature == "goods.color"


def test_of_few_rows_nothing_is_said(trained: Statistics) -> None:
    rows = served(trained, drawn(np.random.default_rng(1)))[:30]
    assert compare(trained, rows)[0].verdict == "too few to say: 30 rows, 200 are needed"


def test_values_that_are_missing_more_often_are_told_apart(trained: Statistics) -> None:
    batch = {**drawn(np.random.default_rng(1)), "goods_missing": np.arange(ROWS) % 2 == 0}
    for drift in compare(trained, served(trained, batch)):
        assert drift.missing[1] == 0.5
        assert drift.verdict == "steady"


@pytest.mark.slow
def test_the_plot_is_a_picture(trained: Statistics, tmp_path: Path) -> None:
    found = compare(trained, served(trained, drawn(np.random.default_rng(1))))
    plot(found, tmp_path / "drift.png", title="goods")
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")


def test_statistics_stay_small() -> None:
    import json

    batch = drawn(np.random.default_rng(0))
    assert len(json.dumps(statistics([goods], batch, {}))) < 6_000
