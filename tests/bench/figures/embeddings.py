"""Hold vision.embed and nlp.embed, as they come, to the cosine of raw pixels and of TF-IDF."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from cluster.base.batch import take
from cluster.contract.retrieval import retrieval
from cluster.contract.rows import Resident
from nlp import embed as texts
from tests.bench.data import stored
from tests.bench.figures.texts import Parts, Texts, banking, clinc, columns, fitted
from tests.bench.fitting import TalkingRun, exported, hold_threads
from tests.bench.report import Result, at_least, say
from vision import embed as pictures

PICTURES = {"clothes": "fashion-mnist", "hands": "sign-digits", "xrays": "pneumonia-mnist"}
SIZES = (300, 3_000, 30_000)


def results(home: Path) -> Iterator[Result]:
    """Recall@1 over that of the cosine, after learning from few rows and from many."""
    hold_threads()
    for name, source in PICTURES.items():
        yield from _pictures(name, source, home / name)
    for name, (train, test) in _intents().items():
        yield _texts(name, train, test)


def _pictures(name: str, source: str, home: Path) -> Iterator[Result]:
    """Each size that a set has rows for; the rows to watch are as large a share as by default."""
    plan = stored(pictures.Embed, source, home)
    train, valid, test = (plan.rows(part).whole() for part in ("train", "valid", "test"))
    order = np.random.default_rng(0).permutation(len(train["label"]))
    for size in SIZES:
        if size > len(order):
            return
        learned, task = take(train, order[:size]), pictures.Embed()
        watched = take(valid, slice(0, round(pictures.Embed.split.valid * size)))
        run = TalkingRun(f"{size:,} of {source}")
        task.fit(Resident(learned), Resident(watched), run)
        ours = exported(task, test)[1]["recall_at_1"]
        reference = task.reference(learned, test)
        assert reference is not None
        yield _over(f"{name}-{size:,}", ours, reference.metrics["recall_at_1"], reference.model)


def _intents() -> dict[str, Parts]:
    """Three sizes of the intents of customers."""
    (bank, bank_test), (clinc_train, clinc_test) = banking(), clinc()
    drawn = [bank[row] for row in np.random.default_rng(0).permutation(len(bank))]
    return {
        "300": (drawn[:300], bank_test),
        "3,000": (drawn[:3_000], bank_test),
        "25,003": (bank + clinc_train, bank_test + clinc_test),
    }


def _texts(name: str, train: Texts, test: Texts) -> Result:
    """The default beside the better of two cosines, of words and with pairs of words."""
    artefact, seconds = fitted(texts.Embed, train)
    say(f"Learned {len(train):,} texts in {seconds:.1f} s.")
    ours = artefact.evaluate(columns(test)).metrics["recall_at_1"]
    labels, cosines = [label for _, label in test], []
    for words in (1, 2):
        tfidf = TfidfVectorizer(ngram_range=(1, words), sublinear_tf=True)
        tfidf.fit(text for text, _ in train)
        vectors = tfidf.transform(text for text, _ in test).astype(np.float32)
        cosines.append(retrieval(vectors, labels)["recall_at_1"])
    return _over(f"intents-{name}", ours, max(cosines), "the cosine of TF-IDF")


def _over(name: str, ours: float, theirs: float, what: str) -> Result:
    say(f"{name}: recall@1 {ours:.3f}; {what} {theirs:.3f}.")
    return at_least(f"embeddings.{name}", ours / theirs, "x", 1.0, 1.1)
