"""nlp.embed: every encoder, with labels and without, in English and in Chinese."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from nlp.embed import Config, Embed

SMALL = ["epochs=12", "batch_size=24", "precision=fp32", "vocabulary=600", "dim=16"]
ENGLISH = {
    "good": ("a wonderful warm film", "lovely acting and a great story", "I loved every minute"),
    "bad": ("a dull and stupid film", "awful acting and a poor story", "I hated every minute"),
}
CHINESE = {
    "好": ("这部电影非常精彩", "演员的表演太棒了", "我很喜欢这个故事"),
    "坏": ("这部电影非常无聊", "演员的表演太差了", "我讨厌这个故事"),
}


def rows(texts: Mapping[str, tuple[str, ...]], copies: int = 12) -> Batch:
    pairs = [(text, label) for label, group in texts.items() for text in group] * copies
    return {
        "text": objects(text for text, _ in pairs),
        "label": objects(label for _, label in pairs),
    }


def trained(shown: Batch, folder: Path, *knobs: str) -> Embed:
    task = Embed(Config.parse([*SMALL, *knobs]))
    task.fit(Resident(shown), Resident(shown), Run())
    task.save(folder)
    return Embed.load(folder)


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
@pytest.mark.parametrize(
    "encoder",
    [
        "auto",
        "bag",
        pytest.param("rnn", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
    ],
)
def test_texts_of_one_label_become_neighbours_in_any_script(
    tmp_path: Path, encoder: str, texts: Mapping[str, tuple[str, ...]]
) -> None:
    task = trained(rows(texts), tmp_path, f"encoder={encoder}")
    once = rows(texts, copies=1)  # so that no text finds itself
    assert task.evaluate(once).metrics["recall_at_1"] > 0.95


@pytest.mark.slow
def test_without_labels_texts_with_the_same_words_become_neighbours(tmp_path: Path) -> None:
    shown = rows({"x": ("red shoes for women", "a large red shoe"), "y": ("my card was stolen",)})
    task: Any = trained(shown, tmp_path, "method=selfsupervised")
    asked = objects(["red shoe", "large shoes", "a stolen card"])
    vectors = np.array([output.vector for output in task.predict({"text": asked})])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3


def test_a_text_without_a_known_word_has_a_vector_of_nothing(tmp_path: Path) -> None:
    task: Any = trained(rows(ENGLISH), tmp_path, "epochs=1")
    (output,) = task.predict({"text": objects(["漢字"])})
    assert output.vector == [0.0] * 16


def test_labels_that_are_all_one_are_only_learnt_from_without_labels() -> None:
    shown = Resident(rows({"x": ("one", "two")}))
    with pytest.raises(InvalidInput, match="All rows have the same label, 'x'"):
        Embed().fit(shown, shown, Run())
    assert Embed(Config(method="selfsupervised")).study(shown, Run())["labels"] == ["x"]


def test_the_reference_is_the_cosine_of_tf_idf() -> None:
    shown = rows({"x": ("red shoes", "a red shoe"), "y": ("my card was stolen", "a stolen card")})
    reference = Embed().reference(shown, shown)
    assert reference is not None
    assert reference.model == "the cosine of TF-IDF of words and word pairs"
    assert reference.metrics["recall_at_1"] == 1.0
