"""encoder=linear and auto: odd texts, copies, many rows, several workers, equal scores."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from cluster.base.batch import Batch, objects
from cluster.base.errors import InvalidInput
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.learning.linear import fit_svm
from nlp import _linear
from nlp._linear import PARTS
from nlp._tfidf import features_of
from nlp.classify import Classify, Config
from nlp.embed import Config as EmbedConfig

TOPICS = {
    "pay": ("card", "money", "bank", "cash", "fee", "transfer"),
    "trip": ("train", "hotel", "flight", "ticket", "luggage", "route"),
    "food": ("pizza", "soup", "cheese", "bread", "salad", "dinner"),
}


def rows(count: int, *, labels: int = 3, seed: int = 0) -> Batch:
    """Texts of a few words about their label and some that all share."""
    rng = np.random.default_rng(seed)
    names = list(TOPICS)[:labels]
    drawn = [names[number] for number in rng.integers(labels, size=count)]
    shared = ["please", "the", "my", "where", "is", "a", "want", "how"]
    return {
        "text": objects(
            " ".join([*rng.choice(TOPICS[label], 2), *rng.choice(shared, 4)]) for label in drawn
        ),
        "label": objects(drawn),
    }


class Noting(Run):
    """Notes what it is told to say."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


class Together(Noting):
    """One of several workers that are threads of this process."""

    def __init__(self, rank: int, slots: list[Any], barrier: threading.Barrier) -> None:
        super().__init__(rank=rank, workers=len(slots))
        self.slots, self.barrier = slots, barrier

    def all_gather(self, value: Any) -> list[Any]:
        self.slots[self.rank] = value
        self.barrier.wait()
        values = list(self.slots)
        self.barrier.wait()
        return values

    def all_reduce(self, array: Any) -> Any:
        return np.sum(self.all_gather(array), axis=0)


def shard(batch: Batch, run: Run) -> Batch:
    return {name: column[run.rank :: run.workers] for name, column in batch.items()}


def fitted(batch: Batch, *knobs: str, run: Run | None = None) -> Any:
    task = Classify(Config.parse(list(knobs)))
    task.fit(Resident(batch), Resident(batch), run or Run())
    return task


@pytest.mark.parametrize("labels", [2, 3])
def test_what_is_saved_scores_as_scikit_learn_does(labels: int, tmp_path: Path) -> None:
    shown = rows(200, labels=labels)
    task = fitted(shown)
    texts = shown["text"].tolist()
    features = features_of(task._linear.tfidf, texts)
    numbers = np.searchsorted(task.state["labels"], shown["label"].astype(str))
    theirs = LinearSVC(C=PARTS["svm"], tol=0.1, random_state=0).fit(features, numbers)
    linear = fit_svm(features, numbers, labels, c=PARTS["svm"], seed=0)
    mine, wanted = linear.scores(features), theirs.decision_function(features)
    if labels == 2:
        mine = mine[:, 1] - mine[:, 0]
    assert np.abs(mine - wanted).max() < 1e-6
    task.save(tmp_path)
    loaded = Classify.load(tmp_path)
    assert np.array_equal(loaded._linear.logits(texts), task._linear.logits(texts))


@pytest.mark.parametrize("text", ["", "!", "card", "\ud800", "漢字", "card " * 20_000], ids=len)
def test_any_text_is_answered(text: str) -> None:
    task = fitted(rows(60))
    (output,) = task.predict(task.complete({"text": objects([text])}))
    assert sum(guess.probability for guess in output.top) == pytest.approx(1)


def test_probabilities_are_as_sure_as_the_answers_are_right() -> None:
    shown, asked = rows(600), rows(600, seed=1)
    rng = np.random.default_rng(2)
    for batch in (shown, asked):  # a third of the labels say nothing
        wrong = rng.random(600) < 1 / 3
        batch["label"][wrong] = rng.choice(list(TOPICS), int(wrong.sum()))
    task = fitted(shown)
    outputs = task.predict(task.complete({"text": asked["text"]}))
    right = np.mean([o.label == label for o, label in zip(outputs, asked["label"], strict=True)])
    assert np.mean([output.probability for output in outputs]) == pytest.approx(right, abs=0.1)


def test_copies_do_not_flatter_the_cross_validation() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(TOPICS["pay"], 4)) + f" {n}" for n in range(60)]
    labels = rng.choice(["a", "b"], 60)  # the texts say nothing of them
    shown = {"text": objects(texts * 4), "label": objects(labels.tolist() * 4)}
    chosen = fitted(shown).state["chosen"]
    assert max(chosen["accuracy"].values()) < 0.75


def test_a_class_of_one_row_is_no_trouble() -> None:
    shown = rows(61, labels=2)
    shown["label"][0] = "rare"
    task = fitted(shown)
    assert task.state["labels"] == ["pay", "rare", "trip"]
    assert task.evaluate(shown).metrics["accuracy"] > 0.9


def test_two_rows_of_two_classes_are_enough() -> None:
    shown = {"text": objects(["good film", "bad film"]), "label": objects(["good", "bad"])}
    assert fitted(shown).evaluate(shown).metrics["accuracy"] == 1.0


def test_texts_without_an_n_gram_in_common_are_told_where_some_must_be() -> None:
    with pytest.raises(InvalidInput, match=r"None of the n-grams is in 100 of the 60 training"):
        fitted(rows(60), "least=100")


def together(work: Callable[[Together], Any], *, workers: int = 2) -> list[Any]:
    """What each of several workers comes to."""
    slots: list[Any] = [None] * workers
    barrier = threading.Barrier(workers, timeout=60)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda rank: work(Together(rank, slots, barrier)), range(workers)))


def test_two_workers_learn_what_one_learns() -> None:
    shown = rows(301)
    alone = fitted(shown)
    for task in together(lambda run: fitted(shard(shown, run), run=run)):
        assert task.state.keys() == alone.state.keys()
        assert np.array_equal(task.state["weights"], alone.state["weights"])


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_leave_out_the_rows_that_one_leaves_out(workers: int) -> None:
    shown, labels = rows(2_501), sorted(TOPICS)
    learn = partial(_linear.learn, Config(encoder="linear"), labels, most_entries=40_000)
    alone = Noting()
    state = learn(Resident(shown), alone)
    assert alone.said[0].startswith("The linear model learns from one row in 5")
    assert state is not None
    for other in together(lambda run: learn(Resident(shard(shown, run)), run), workers=workers):
        assert other.keys() == state.keys()
        assert np.array_equal(other["weights"], state["weights"])


def test_rows_to_learn_from_are_sent_to_one_worker_alone() -> None:
    shown, labels = rows(60), sorted(TOPICS)

    def work(run: Together) -> Any:
        mine = Resident(shard(shown, run))
        tfidf, _ = _linear.weigh(Config(), mine, run, most=1_000)
        return _linear.gather(tfidf, labels, mine, run)

    first, second = together(work)
    assert first.features.shape[0] == 60
    assert second is None


def test_more_n_grams_than_are_allowed_leave_rows_out_or_are_left_to_a_network() -> None:
    shown, run = Resident(rows(300)), Noting()
    labels = sorted(TOPICS)
    state = _linear.learn(Config(encoder="linear"), labels, shown, run, most_entries=10_000)
    assert state is not None
    assert run.said[0] == "The linear model learns from one row in 3: all would take too long."
    assert _linear.learn(Config(), labels, shown, run, most_entries=10_000) is None
    assert run.said[-1] == (
        "The texts are too many for encoder=linear; a network, encoder=bag, learns."
    )


def test_the_card_tells_what_cross_validation_chose() -> None:
    shown, run = rows(80), Noting()
    task = fitted(shown, run=run)
    details = task.evaluate(shown).details
    kind = task.state["chosen"]["kind"]
    assert f"cross-validation on training rows chose {kind}" in details
    assert "## Confusion matrix" in details
    assert any(said.startswith(f"Cross-validation chose {kind}: ") for said in run.said)


def test_settings_of_networks_alone_are_named_where_a_linear_model_learns() -> None:
    run = Noting()
    fitted(rows(60), "epochs=3", "words=1", "lr=0.1", run=run)
    assert run.said[0] == "encoder=linear does not use epochs, lr; encoder=bag, a network, does."
    run = Noting()
    task = fitted(rows(60), "words=1", run=run)
    assert not any("does not use" in said for said in run.said)
    assert task.config.used().keys() == {"encoder", "words", "chars", "least", "vocabulary"}
    assert "lr" in Config(encoder="bag").used()
    assert {"lr", "dim"} & EmbedConfig().used().keys() == {"dim"}
