"""What NeuralTask gives a capability: exported parts, options in training, settled thresholds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, take
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.neural import NeuralConfig, State
from cluster.neural.embedding import EmbeddingConfig
from cluster.neural.graphs import Ask
from tests.contract.sketch import Sketch
from tests.contract.sketch import draw as sketches
from tests.contract.translate import Translate
from tests.contract.translate import draw as texts
from tests.contract.verify import Verify
from tests.contract.verify import draw as voices
from tests.toy import Config, Side, draw

ONE_PASS: Any = {"epochs": 1, "batch_size": 16, "precision": "fp32"}


def fitted(task: Any, rows: Batch, valid: Batch | None = None) -> Any:
    task.fit(Resident(rows), Resident(take(rows, slice(0, 0)) if valid is None else valid), Run())
    return task


class Noting(Verify):
    """Notes what it is settled by."""

    def settle(self, valid: Batch) -> State:
        self.settled_by = valid
        return super().settle(valid)


def test_a_threshold_is_settled_by_exported_graphs_on_validation_rows_alone(tmp_path: Path) -> None:
    rows = voices(120, np.random.default_rng(0))
    known, unseen = (take(rows, slice(first, None, 2)) for first in (0, 1))
    task = fitted(Noting(EmbeddingConfig(**ONE_PASS)), known, unseen)
    assert "threshold" not in task.state
    task.save(tmp_path)
    people = {person for pair in task.settled_by["person"] for person in pair}
    assert people == set(unseen["person"])
    assert Noting.load(tmp_path).state["threshold"] == task.state["threshold"]


def test_without_validation_rows_nothing_is_settled(tmp_path: Path) -> None:
    task = fitted(Noting(EmbeddingConfig(**ONE_PASS)), voices(80, np.random.default_rng(0)))
    task.save(tmp_path)
    assert "threshold" not in Noting.load(tmp_path).state


def test_each_part_is_a_graph_of_its_own_and_weights_stand_once(tmp_path: Path) -> None:
    task = fitted(Translate(NeuralConfig(**ONE_PASS)), texts(60, np.random.default_rng(0)))
    task.save(tmp_path)
    assert {path.name for path in tmp_path.glob("*.onnx")} == {"encoder.onnx", "decoder.onnx"}
    assert (tmp_path / "weights.safetensors").exists()


def test_a_decoder_that_is_asked_in_a_loop_is_watched_as_it_answers(tmp_path: Path) -> None:
    config = NeuralConfig(epochs=60, batch_size=32, precision="fp32", lr=0.02)
    rows = texts(200, np.random.default_rng(0))
    task = fitted(Translate(config), rows, rows)
    task.save(tmp_path)
    measured = Translate.load(tmp_path).evaluate(rows).metrics["exact"]
    assert task.curves[-1]["exact"] == pytest.approx(measured, abs=0.02)
    assert measured > 0.3


def test_options_of_a_call_are_columns_of_training_rows_too() -> None:
    task = fitted(Sketch(NeuralConfig(**ONE_PASS)), sketches(40, np.random.default_rng(0)))
    assert task.encode(task.complete(sketches(2, np.random.default_rng(1))))["noise"].shape == (
        2,
        4,
    )


class Forgetful(Translate):
    """Names a graph that nobody asks."""

    def graphs(self, network: Any) -> Mapping[str, Any]:
        return {**super().graphs(network), "scorer": network["encoder"]}


class Misspelt(Side):
    """Asks a graph that there is not."""

    def answer(self, ask: Ask, batch: Batch) -> Any:
        return self.decode(ask("modell", **self.encode(batch)), batch)


def test_a_graph_that_is_not_asked_cannot_be_exported_and_that_is_said(tmp_path: Path) -> None:
    task = fitted(Forgetful(NeuralConfig(**ONE_PASS)), texts(40, np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"answer\(\) asked 'decoder', 'encoder' .* not 'scorer'"):
        task.save(tmp_path)


def test_a_graph_that_is_not_there_is_named() -> None:
    rows = draw(40, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"graphs\(\) gives 'model'; answer\(\) asks 'modell'"):
        fitted(Misspelt(Config(precision="fp32", epochs=1)), rows, rows)


def test_a_task_that_was_not_saved_says_what_comes_first() -> None:
    task = fitted(Side(Config(precision="fp32", epochs=1)), draw(40, np.random.default_rng(0)))
    with pytest.raises(RuntimeError, match=r"predict\(\) comes after save\(\) or load\(\)"):
        task.predict(task.complete(draw(2, np.random.default_rng(0))))
