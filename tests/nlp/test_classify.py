"""nlp.classify: every encoder, in English and in Chinese."""

from pathlib import Path

import numpy as np
import pytest

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.contract.task import Reference
from nlp._grams import Grams
from nlp._tokens import PAD, Tokens, learn
from nlp.classify import Classify, Config

SMALL = ["epochs=12", "batch_size=16", "precision=fp32", "vocabulary=600"]
ENGLISH = {
    "good": ("a wonderful warm film", "lovely acting and a great story", "I loved every minute"),
    "bad": ("a dull and stupid film", "awful acting and a poor story", "I hated every minute"),
}
CHINESE = {
    "好": ("这部电影非常精彩", "演员的表演太棒了", "我很喜欢这个故事"),
    "坏": ("这部电影非常无聊", "演员的表演太差了", "我讨厌这个故事"),
}


def rows(texts: dict[str, tuple[str, ...]], copies: int = 12) -> Batch:
    pairs = [(text, label) for label, group in texts.items() for text in group] * copies
    return {
        "text": objects(text for text, _ in pairs),
        "label": objects(label for _, label in pairs),
    }


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
@pytest.mark.parametrize(
    "encoder",
    [
        "auto",
        "linear",
        "bag",
        pytest.param("rnn", marks=pytest.mark.slow),
        pytest.param("transformer", marks=pytest.mark.slow),
    ],
)
def test_an_encoder_learns_what_it_is_shown_in_any_script(
    tmp_path: Path, encoder: str, texts: dict[str, tuple[str, ...]]
) -> None:
    shown = rows(texts)
    task = Classify(Config.parse([*SMALL, f"encoder={encoder}"]))
    task.fit(Resident(shown), Resident(shown), Run())
    task.save(tmp_path)
    assert (tmp_path / "model.onnx").exists() == (encoder not in {"auto", "linear"})
    assert Classify.load(tmp_path).evaluate(shown).metrics["accuracy"] > 0.95


def test_n_grams_hash_alike_alone_and_together() -> None:
    texts = ["The rock isn't  a rock.", "", "这部电影", "naïve café 😀", "x\ny", "\ud800 odd"]
    together_row, together = Grams().hash(texts)
    for number, text in enumerate(texts):
        _, alone = Grams().hash([text])
        assert sorted(alone) == sorted(together[together_row == number])


def test_padding_and_batching_leave_the_ids_of_a_text_alone() -> None:
    table = np.arange(1 << 22, dtype=np.int32)
    long, short = "a long text with many words in it", "short"
    both = Grams().encode([long, short], table, 1_024)
    alone = Grams().encode([short], table, 1_024)
    assert both[1][both[1] > 0].tolist() == alone[0].tolist()


def test_a_tokenizer_is_learnt_the_same_way_twice_and_knows_every_script() -> None:
    corpus = [text for group in (*ENGLISH.values(), *CHINESE.values()) for text in group]
    assert learn(corpus, 500) == learn(corpus, 500)
    tokens = Tokens(learn(corpus, 500), longest=32)
    ids = tokens.encode(["Ωmega [PAD] 好", ""])
    assert (ids[0] > PAD).sum() > 3
    assert (ids[1] > PAD).sum() == 1  # the start mark


def test_a_knob_that_is_given_wins_over_the_encoders_own() -> None:
    assert Config.parse(["encoder=rnn"]).batch_size == 64
    assert Config.parse(["encoder=rnn", "batch_size=8"]).batch_size == 8
    assert Config.parse().batch_size is None
    assert Config.parse(["encoder=bag"]).words == 3


def test_no_n_grams_at_all_are_refused() -> None:
    with pytest.raises(InvalidInput, match="words=0 and chars=0 leave no n-grams to learn from"):
        Config.parse(["words=0", "chars=0"])


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_the_reference_is_a_linear_svm_that_learns_any_script(
    texts: dict[str, tuple[str, ...]],
) -> None:
    reference = Classify().reference(rows(texts), rows(texts, copies=1))
    assert reference == Reference(
        "a linear SVM on TF-IDF of words and word pairs", {"accuracy": 1.0, "macro_f1": 1.0}
    )
