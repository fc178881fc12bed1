"""Hold nlp.classify, as it comes, to a linear SVM on TF-IDF."""

import csv
import gzip
import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from cluster.base.batch import Batch, objects
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.contract.task import AnyTask
from nlp.classify import Classify
from tests.bench.data import folder
from tests.bench.fitting import hold_threads
from tests.bench.report import Result, at_least, at_most, say

Texts = list[tuple[str, str]]
Parts = tuple[Texts, Texts]
SENTENCES, DOCUMENTS = 30, 2_000


def results(home: Path) -> Iterator[Result]:
    """Accuracy less that of the SVM in points, and seconds."""
    del home
    hold_threads()
    for name, draws in classified().items():
        measured = [compared(train, test) for train, test in draws]
        ours, svm, seconds = (statistics.mean(column) for column in zip(*measured, strict=True))
        rows = len(draws[0][0])
        say(f"{name}: {ours:.2f}% of {rows:,} rows in {seconds:.1f} s; the SVM {svm:.2f}%.")
        yield at_least(f"texts.{name}", ours - svm, "points over the SVM", -0.3, 0.5)
        if name == "amazon":
            yield at_most("texts.seconds", seconds / rows * 1_000, "s for 1,000 rows", 30.0, 15.0)


def classified() -> dict[str, list[Parts]]:
    """Each set in the draws that it is measured on; small ones in five folds."""
    rt = rt_polarity()
    sms_file = folder("sms-spam") / "SMSSpamCollection.tsv.gz"
    sms = [(text, label) for label, text in _pairs(gzip.decompress(sms_file.read_bytes()))]
    labelled = {
        name: _pairs((folder("sentiment-labelled") / f"{file}_labelled.txt").read_bytes())
        for name, file in (("amazon", "amazon_cells"), ("imdb", "imdb"), ("yelp", "yelp"))
    }
    return {
        **{name: [fold(rows, 5, number) for number in range(5)] for name, rows in labelled.items()},
        "sms-spam": [fold(sms, 5, number) for number in range(2)],
        "rt-polarity": [fold(rt, 10, number) for number in range(3)],
        "documents": [documents(*fold(rt, 7, 0))],
        "banking77": [banking()],
        "clinc150": [clinc()],
    }


def compared(train: Texts, test: Texts) -> tuple[float, float, float]:
    """Accuracy of the default and of the SVM in percent, and the seconds of the default."""
    truth = [label for _, label in test]
    artefact, seconds = fitted(Classify, train)
    ours = artefact.evaluate(columns(test)).metrics["accuracy"]
    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    svm = LinearSVC().fit(_features(tfidf.fit_transform, train), [label for _, label in train])
    theirs = np.mean(svm.predict(_features(tfidf.transform, test)) == np.array(truth))
    return 100 * ours, 100 * float(theirs), seconds


def fitted(task: type[AnyTask], train: Texts) -> tuple[AnyTask, float]:
    """What a training with the default settings saves, loaded; and the seconds it took."""
    learner = task()
    began = time.perf_counter()
    rows = Resident(columns(train))
    learner.fit(rows, Resident(columns(train[:0])), Run())
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="lepton-bench-") as files:
        learner.save(Path(files))
        return task.load(Path(files)), seconds


def columns(rows: Texts) -> Batch:
    """Pairs as a batch."""
    return {"text": objects(t for t, _ in rows), "label": objects(label for _, label in rows)}


def fold(rows: Texts, count: int, number: int) -> Parts:
    """One of `count` parts to measure and the rest to learn from; copies are left out first."""
    once = list({text: (text, label) for text, label in rows}.values())
    order = np.random.default_rng(0).permutation(len(once))
    train = [once[row] for place, row in enumerate(order) if place % count != number]
    return train, [once[row] for row in order[number::count]]


def rt_polarity() -> Texts:
    """The sentences of rt-polarity."""
    rows = []
    with zipfile.ZipFile(folder("rt-polarity") / "sentence_polarity.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith((".pos", ".neg")):
                lines = archive.read(name).decode(errors="replace").splitlines()
                rows += [(line, name[-3:]) for line in lines if line.strip()]
    return rows


def documents(train: Texts, test: Texts) -> Parts:
    """Documents of thirty sentences of one label; no sentence is on both sides."""
    rng = np.random.default_rng(0)

    def joined(rows: Texts, count: int) -> Texts:
        by_label = {label: [t for t, mine in rows if mine == label] for label in ("neg", "pos")}
        return [
            (" ".join(rng.choice(texts, SENTENCES, replace=False)), label)
            for label, texts in by_label.items()
            for _ in range(count // 2)
        ]

    return joined(train, round(DOCUMENTS * 0.85)), joined(test, round(DOCUMENTS * 0.15))


def banking() -> Parts:
    """banking77 in the parts of its publisher."""
    train, test = (_intents(f"{part}.csv.gz") for part in ("train", "test"))
    return train, test


def clinc() -> Parts:
    """clinc150 in the parts of its publisher, without what is out of scope."""
    packed = (folder("clinc150") / "data_full.json.gz").read_bytes()
    parts = json.loads(gzip.decompress(packed))
    return [tuple(row) for row in parts["train"]], [tuple(row) for row in parts["test"]]


def _intents(name: str) -> Texts:
    packed = (folder("banking77") / name).read_bytes()
    rows = csv.DictReader(gzip.decompress(packed).decode().splitlines(keepends=True))
    return [(row["text"], row["category"]) for row in rows]


def _pairs(content: bytes) -> Texts:
    """Lines of two parts between which the last, or only, tab stands."""
    lines = content.decode().split("\n")
    return [(a, b) for a, _, b in (line.rpartition("\t") for line in lines if line.strip())]


def _features(make: Any, rows: Sequence[tuple[str, str]]) -> Any:
    return make([text for text, _ in rows])
