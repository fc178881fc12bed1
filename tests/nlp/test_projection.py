"""encoder=linear of nlp.embed: vectors by labels and by topics, of every length asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from cluster.base.batch import Batch, objects
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from nlp._linear import Shown
from nlp._projection import _fitted
from nlp.embed import Config, Embed
from tests.nlp.test_linear import rows


def fitted(batch: Batch, *knobs: str) -> Any:
    task = Embed(Config.parse(list(knobs)))
    task.fit(Resident(batch), Resident(batch), Run())
    return task


def many_labels(count: int) -> Batch:
    texts = [f"{word} number{n}" for n in range(count) for word in ("the", "my", "a")]
    return {
        "text": objects(texts),
        "label": objects(f"l{n:03d}" for n in range(count) for _ in "abc"),
    }


@pytest.mark.parametrize("dim", [2, 3, 8, 64])
def test_vectors_are_of_unit_length_and_as_long_as_asked_for(dim: int, tmp_path: Path) -> None:
    shown = rows(90)
    task = fitted(shown, f"dim={dim}")
    task.save(tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    loaded: Any = Embed.load(tmp_path)
    vectors = np.array([output.vector for output in loaded.predict(shown)])
    assert vectors.shape == (90, dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert loaded.predict(shown) == task.predict(shown)


@pytest.mark.parametrize("count", [5, 60, 90])
def test_texts_of_one_label_are_near_whether_labels_are_fewer_or_more_than_numbers(
    count: int,
) -> None:
    shown = many_labels(count)
    assert fitted(shown).evaluate(shown).metrics["recall_at_1"] > 0.95


def test_labels_bring_texts_without_a_common_word_together() -> None:
    shown = rows(200)
    asked = {"text": objects(["the pizza", "a salad", "the bank", "a fee"])}
    pizza, salad, bank, fee = (np.array(o.vector) for o in fitted(shown).predict(asked))
    assert pizza @ salad > pizza @ bank + 0.5
    assert bank @ fee > salad @ fee + 0.5


@pytest.mark.parametrize("dim", [2, 8])
def test_a_label_of_which_no_row_is_learned_from_spoils_no_vector(dim: int) -> None:
    features = sparse.csr_matrix(np.random.default_rng(0).random((40, 30), np.float32))
    shown = Shown(features, np.arange(40) % 2, np.arange(40))
    speaks, topics = _fitted(shown, 3, dim, seed=0)
    assert np.isfinite(speaks.scores(features)).all()
    assert np.isfinite(topics).all()


def test_without_labels_topics_alone_are_learned() -> None:
    shown = {**rows(200), "label": objects(["one"] * 200)}
    task = fitted(shown, "method=selfsupervised", "encoder=linear", "dim=8")
    assert task.state["weights"].shape[1] == 0
    pizza, also, bank = (
        np.array(o.vector)
        for o in task.predict({"text": objects(["my pizza", "want pizza", "a bank"])})
    )
    assert pizza @ also > pizza @ bank


@pytest.mark.parametrize("text", ["漢字", "", "!!!"])
def test_a_text_of_which_nothing_is_known_is_a_vector_of_zeros(text: str) -> None:
    (output,) = fitted(rows(60), "dim=8").predict({"text": objects([text])})
    assert output.vector == [0.0] * 8
