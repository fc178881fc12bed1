"""One version, asked from a notebook: any holder of rows, and errors that say where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch
from cluster.base.errors import Corrupt, InvalidInput
from cluster.registry.model import Model, as_rows
from cluster.registry.versions import Registry
from tests.support import manifest
from tests.toy import Input, Output, Side

ROWS = [{"x": 0.5, "y": -0.5}, {"x": -0.5, "y": 0.5, "margin": 0.25}]
COLUMNS: Batch = {"x": np.array([0.5, -0.5]), "y": np.array([-0.5, 0.5])}


def predicted(model: Model, rows: Any) -> list[str]:
    outputs = model.predict(rows)
    assert all(isinstance(output, Output) for output in outputs)
    return [output.label for output in outputs if isinstance(output, Output)]


@pytest.fixture(scope="module")
def model(side: Side) -> Model:
    return Model(side, manifest())


def test_dicts_inputs_and_columns_are_rows(model: Model) -> None:
    asked = predicted(model, ROWS)
    assert len(asked) == 2
    assert predicted(model, [Input(x=0.5, y=-0.5), Input(x=-0.5, y=0.5)]) == asked
    assert predicted(model, COLUMNS) == asked


def test_data_frames_are_rows(model: Model) -> None:
    import pandas as pd
    import polars as pl

    asked = predicted(model, ROWS)
    assert predicted(model, pd.DataFrame(dict(COLUMNS))) == asked
    assert predicted(model, pl.DataFrame(dict(COLUMNS))) == asked


def test_more_rows_than_a_batch_are_answered_in_order(model: Model) -> None:
    rows = [{"x": x, "y": 0.0} for x in np.linspace(-1, 1, 101)]
    assert len(rows) > model.task.serving.max_batch
    assert predicted(model, rows) == [predicted(model, [row])[0] for row in rows]
    assert model.predict([]) == []


@pytest.mark.parametrize(
    ("row", "sentence", "pointer"),
    [
        ({"x": "far", "y": 0}, "x is 'far'; it must be a number.", "/inputs/1/x"),
        ({"x": 1.0}, "y is missing; it is required.", "/inputs/1/y"),
        ({"x": np.nan, "y": 0}, "x is nan; it must be a finite number.", "/inputs/1/x"),
        (Input(x=0, y=np.inf), "y is inf; it must be a finite number.", "/inputs/1/y"),
        (3, "The input is 3; it must be an object of fields: x, y, margin.", "/inputs/1"),
    ],
)
def test_a_wrong_row_is_named_with_its_field(
    model: Model, row: Any, sentence: str, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        model.predict([ROWS[0], row])
    assert str(refused.value) == f"Row 1: {sentence}"
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("rows", [{"x": 1.0, "y": 2.0}, "0.5,0.5", b"x", 7, None])
def test_what_holds_no_rows_is_refused_with_what_does(rows: Any) -> None:
    with pytest.raises(InvalidInput, match=r"does not hold rows. Give a list of dicts"):
        as_rows(rows)


def test_a_version_is_opened_from_its_folder_and_a_damaged_one_is_not(
    side: Side, tmp_path: Path
) -> None:
    def fill(folder: Path) -> Any:
        for path in side_folder.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return manifest("tests.toy")

    assert side._graphs is not None
    side_folder = side._graphs.folder
    registry = Registry(tmp_path)
    registry.write("tests.toy", fill)
    folder = registry.folder("tests.toy", 1)
    opened = Model.open(Side, folder)
    assert opened.manifest.version == 1
    assert opened.predict(ROWS) == side.predict(side.batch([Input(**row) for row in ROWS]))
    graph = bytearray((folder / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "model.onnx").write_bytes(graph)
    with pytest.raises(Corrupt, match=r"model\.onnx of tests\.toy version 1"):
        Model.open(Side, folder)
