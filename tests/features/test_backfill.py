"""What a model has said is kept while it goes on, so that a kill loses little of it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.features.backfill import PIECE_ROWS, Backfill, here
from cluster.features.derived import modelview
from cluster.features.layer import Layer
from cluster.features.schema.column import times
from cluster.registry.versions import Registry
from tests.features.killed_backfill import layer, side
from tests.support import filler, manifest
from tests.toy import Side, labelled_points

ROWS = 4 * PIECE_ROWS + 100


@pytest.fixture
def home(side: Side, tmp_path: Path) -> Path:
    """A folder with many points, and one version of the toy in production."""
    assert side._graphs
    files = {path.name: path.read_bytes() for path in side._graphs.folder.iterdir()}
    registry = Registry(tmp_path)
    registry.write("tests.toy", filler(manifest("tests.toy"), files))
    registry.point("production", "tests.toy", 1)
    rows = labelled_points.sample(ROWS, np.random.default_rng(0))
    layer(tmp_path).store.write(labelled_points, rows)
    return tmp_path


def made(of: Layer) -> dict[str, tuple[str, float]]:
    """What is stored of the model view, by key."""
    view = side.at(1).rows_of
    rows = of.store.head(view).read(view, [*view.key, *view.columns])
    names, values = rows["point_id"].tolist(), zip(rows["label"], rows["probability"], strict=True)
    assert len(set(names)) == len(names)
    return dict(zip(names, values, strict=True))


@pytest.mark.slow
def test_a_backfill_that_is_killed_goes_on_where_it_was(home: Path) -> None:
    command = [sys.executable, "-m", "tests.features.killed_backfill", str(home)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        for _ in range(3):
            assert process.stdout.readline() == "piece\n"
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline() == "piece\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(made(layer(home))) == 3 * PIECE_ROWS
    again = subprocess.run(command, input="\n" * 9, capture_output=True, text=True, check=True)
    assert again.stdout == "piece\n" * 2 + f"{ROWS - 3 * PIECE_ROWS}\n"
    found = layer(home)
    rows = found.store.head(labelled_points).read(labelled_points)
    _, whole = found.models.answer(side.at(1), rows)
    named = zip(whole["label"], whole["probability"], strict=True)
    assert made(found) == dict(zip(rows["point_id"].tolist(), named, strict=True))


def test_parts_are_stored_while_others_are_still_asked_about(home: Path) -> None:
    asked, seen = layer(home), list[int]()

    def watched(work: Backfill, models: modelview.Models) -> Iterator[Batch]:
        for rows in here(work, models):
            seen.append(layer(home).store.head(side.at(1).rows_of).rows)
            yield rows

    assert asked.backfill(side, watched, part_s=0) == ROWS
    assert seen == [number * PIECE_ROWS for number in range(5)]
    assert (asked.backfill(side), layer(home).backfill(side)) == (0, 0)


def test_a_row_that_is_replaced_meanwhile_is_asked_about_the_next_time(home: Path) -> None:
    asked = layer(home)

    def slow(work: Backfill, models: modelview.Models) -> Iterator[Batch]:
        for number, rows in enumerate(here(work, models)):
            if number == 1:  # the row is in a part that comes later
                asked.store.write(labelled_points, changed)
            yield rows

    last = {
        name: column[-1:]
        for name, column in asked.store.head(labelled_points).read(labelled_points).items()
    }
    changed = {**last, "x": -last["x"], "y": -last["y"]}
    assert asked.backfill(side, slow, part_s=0) == ROWS
    assert asked.backfill(side) == 1
    assert made(asked)[last["point_id"][0]][0] == (
        "above" if changed["x"] > changed["y"] else "below"
    )


def test_a_row_of_which_the_model_says_the_same_as_before_is_asked_about_once(home: Path) -> None:
    asked = layer(home)
    row = {"point_id": objects(["a"]), "x": np.array([0.9]), "y": np.array([0.1])}
    for label in ("first", "second"):
        rows = {**row, "label": objects([label]), "event_time": times([7])}
        asked.store.write(labelled_points, rows)
        assert asked.backfill(side) > 0
        assert asked.backfill(side) == 0


def test_a_row_whose_ingest_began_before_and_ended_after_is_asked_about_again(home: Path) -> None:
    asked = layer(home)
    rows = asked.store.head(labelled_points).read(labelled_points)
    last = {name: column[-1:] for name, column in rows.items()}
    with asked.store.stage(labelled_points) as stage:
        stage.add({**last, "x": -last["x"], "y": -last["y"]})
        assert asked.backfill(side) == ROWS
        asked.store.commit(stage)
    assert (asked.backfill(side), asked.backfill(side)) == (1, 0)
