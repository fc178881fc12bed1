"""Classify texts by a linear model over TF-IDF whose kind and confidence cross-validation sets."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contract import Arrays, InvalidInput, Rows, Run, as_numbers
from cluster.learning.linear import Linear, fit_svm, folds_of, mean_of, temperature, two_sided
from cluster.neural import State
from nlp._grams import Grams, bayes_ratios
from nlp._reading import ROWS, ReadingConfig, frequent, say_unused
from nlp._tfidf import TfIdf, arrays_of, features_of

Kinds = Mapping[str, tuple[str, ...]]
PARTS: Mapping[str, float] = {"svm": 1.0, "firm svm": 0.3, "bayes svm": 0.2}
"""The linear models that are fitted, with their C; `firm` is for labels that are often wrong."""
KINDS: Kinds = {
    "svm + bayes svm": ("svm", "bayes svm"),
    "svm": ("svm",),
    "bayes svm": ("bayes svm",),
    "firm svm + bayes svm": ("firm svm", "bayes svm"),
    "firm svm": ("firm svm",),
}
"""What may be chosen: the mean of these parts. The first stays where no other is clearly better."""
ONLY_SVM: Kinds = {"svm": ("svm",)}
FEW_CLASSES = 20  # with more, an SVM alone was better on every set, and the others take minutes
MOST_ENTRIES = 40_000_000  # of the feature matrix: half a gigabyte, twice that while it learns
SEARCH = 1e8  # entries times classes that cross-validation fits: about five seconds of one core
MOST_WORK = 2_000_000_000  # entries times classes: about two minutes of one core
LARGEST = 1 << 24  # weights of each kind of n-gram: 64 MiB


@dataclass(frozen=True)
class Choice:
    """What cross-validation found.

    Args:
        kind: which of `KINDS`.
        accuracy: of every kind, on rows that it did not learn from.
        temperature: what scores are multiplied by, so that their softmax is calibrated.
    """

    kind: str
    accuracy: Mapping[str, float]
    temperature: float


@dataclass(frozen=True)
class Shown:
    """Rows to learn from.

    Args:
        features: `[n, size]`, sparse.
        numbers: the class of each row `[n]`.
        contents: the same for texts that differ by case and spaces alone `[n]`.
    """

    features: Any
    numbers: NDArray[np.int64]
    contents: NDArray[np.int64]

    @classmethod
    def of(cls, shards: Sequence["Shown"]) -> "Shown":
        """All rows of all shards."""
        from scipy import sparse  # noqa: PLC0415 - 14 MB that networks do without

        return cls(
            sparse.vstack([shard.features for shard in shards], format="csr"),
            np.concatenate([shard.numbers for shard in shards]),
            np.concatenate([shard.contents for shard in shards]),
        )

    def part(self, rows: NDArray[Any]) -> "Shown":
        """The rows of a mask or of numbers."""
        return Shown(self.features[rows], self.numbers[rows], self.contents[rows])


class LinearTexts:
    """A linear classifier and the features that it reads.

    Args:
        tfidf: of words, of characters, or of both.
        linear: over their columns side by side.
    """

    def __init__(self, tfidf: Sequence[TfIdf], linear: Linear) -> None:
        self.tfidf, self.linear = tfidf, linear

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores whose softmax are probabilities `[n, classes]`."""
        return self.linear.scores(features_of(self.tfidf, texts))

    def state(self) -> Arrays:
        """The arrays that `restore` needs."""
        model = {"weights": self.linear.weights, "bias": self.linear.bias}
        return {**model, **arrays_of(self.tfidf)}

    @classmethod
    def restore(cls, config: ReadingConfig, state: State) -> "LinearTexts":
        """The classifier of a state."""
        tfidf = TfIdf.restore(grams_of(config), state)
        return cls(tfidf, Linear(state["weights"], state["bias"]))


def learn(
    config: ReadingConfig,
    labels: Sequence[str],
    train: Rows,
    run: Run,
    *,
    most_entries: int = MOST_ENTRIES,
) -> State | None:
    """Learn from the rows of all workers: the state to save, the same on every worker.

    Where the features had more than `most_entries` entries that are not zero, or took more than
    `MOST_WORK`, it learns from every n-th row, or with `encoder=auto` not at all.
    """
    most = min(config.vocabulary, LARGEST // len(labels))
    tfidf, entries = weigh(config, train, run, most=most)
    step = step_for(entries, len(labels), config, run, most_entries=most_entries)
    if step is None:
        return None
    say_unused(config, run)
    shown = gather(tfidf, labels, train, run, step=step)
    fitted = _fitted(shown, len(labels), run.seed) if shown else None
    choice, linear = run.agree(fitted)
    run.say(f"Cross-validation chose {choice.kind}: {_told(choice)}.")
    chosen = {"kind": choice.kind, "accuracy": dict(choice.accuracy)}
    return {"labels": list(labels), "chosen": chosen, **LinearTexts(tfidf, linear).state()}


def chosen_details(state: State) -> str:
    """What cross-validation found, as Markdown for the model card."""
    chosen = state["chosen"]
    rows = (f"| {kind} | {value:.4f} |\n" for kind, value in chosen["accuracy"].items())
    return (
        f"## Linear classifier\n\nOf TF-IDF; cross-validation on training rows chose "
        f"{chosen['kind']}.\n\n| kind | accuracy |\n| --- | --- |\n{''.join(rows)}\n"
    )


def weigh(config: ReadingConfig, train: Rows, run: Run, *, most: int) -> tuple[list[TfIdf], int]:
    """TF-IDF of the `most` commonest n-grams of each kind, and how many entries features have.

    Raises:
        InvalidInput: no n-gram is in as many texts as `least` says.
    """
    (rows,) = run.all_reduce(np.array([train.count])).tolist()
    tfidf, entries = [], 0
    for grams in grams_of(config):
        buckets, held = frequent(grams, train, run, least=config.least, most=most)
        tfidf.append(TfIdf.of(grams, buckets, held, rows))
        entries += int(held.sum())
    if not entries:
        raise InvalidInput(
            f"None of the n-grams is in {config.least} of the {rows} training texts.",
            hint="Give a smaller least, or longer texts.",
        )
    return tfidf, entries


def step_for(
    entries: int, classes: int, config: ReadingConfig, run: Run, *, most_entries: int = MOST_ENTRIES
) -> int | None:
    """Every how many rows are learned from, so that time and memory suffice.

    With `encoder=auto` it is all of them or, as None, a network's turn.
    """
    step = max(1, -(-entries // min(most_entries, MOST_WORK // _fits(classes))))
    if step > 1 and config.encoder == "auto":
        run.say("The texts are too many for encoder=linear; a network, encoder=bag, learns.")
        return None
    if step > 1:
        run.say(f"The linear model learns from one row in {step}: all would take too long.")
    return step


def gather(
    tfidf: Sequence[TfIdf], labels: Sequence[str], train: Rows, run: Run, *, step: int = 1
) -> Shown | None:
    """Every `step`-th row of all workers, in the order that one worker would have, on rank 0.

    Only what is learned from leaves a worker, and no other rank than 0 receives it.
    """
    shards, places, start = [], [], run.rank
    for batch in train.batches(ROWS):
        # workers take rows in turn
        place = start + run.workers * np.arange(len(batch["text"]))
        start += run.workers * len(place)
        picked = np.flatnonzero(place % step == 0)
        texts = batch["text"][picked].tolist()
        contents = [zlib.crc32(_plain(text)) for text in texts]
        numbers = as_numbers(batch["label"][picked], labels)
        shards.append(Shown(features_of(tfidf, texts), numbers, np.array(contents, np.int64)))
        places.append(place[picked])
    gathered = run.gather((np.concatenate(places), Shown.of(shards)))
    if gathered is None:
        return None
    shown = Shown.of([shown for _, shown in gathered])
    return shown.part(np.argsort(np.concatenate([place for place, _ in gathered]), kind="stable"))


def _fitted(shown: Shown, classes: int, seed: int) -> tuple[Choice, Linear]:
    """Choose, then fit the choice on all rows."""
    kinds = KINDS if classes <= FEW_CLASSES else ONLY_SVM
    choice = choose(shown, classes, kinds, seed=seed)
    linear = mean_of([_fit(part, shown, classes, seed) for part in kinds[choice.kind]])
    return choice, linear.scaled(choice.temperature)


def choose(shown: Shown, classes: int, kinds: Kinds, *, seed: int) -> Choice:
    """Compare the kinds on rows that they did not learn from, and calibrate the best.

    The fewer the rows, the more folds; of many, a part is looked at.
    """
    parts = sorted({part for names in kinds.values() for part in names})
    cost = shown.features.nnz * len(parts) * _fits(classes)
    count = 5 if len(kinds) > 1 and 4 * cost < SEARCH else 3
    rows = np.random.default_rng(seed).permutation(len(shown.numbers))
    shown = shown.part(rows[: max(1_000, int(len(rows) * SEARCH / ((count - 1) * cost)))])
    fold = folds_of(shown.numbers, shown.contents, count, seed=seed)
    scores = {part: np.zeros((len(fold), classes)) for part in parts}
    for number in range(count):
        learned, rest = shown.part(fold != number), shown.part(fold == number)
        for part in parts:
            linear = _fit(part, learned, classes, seed)
            scores[part][fold == number] = linear.scores(rest.features)
    means = {k: np.mean([scores[part] for part in names], axis=0) for k, names in kinds.items()}
    right = {kind: mean.argmax(axis=1) == shown.numbers for kind, mean in means.items()}
    kind = _clearly_best(right)
    accuracy = {name: float(hits.mean()) for name, hits in right.items()}
    return Choice(kind, accuracy, temperature(means[kind], shown.numbers))


def _clearly_best(right: Mapping[str, NDArray[np.bool_]]) -> str:
    """The kind with most right answers, if it beats the first by more than a standard error."""
    first, best = next(iter(right)), max(right, key=lambda kind: right[kind].mean())
    gain = right[best].astype(float) - right[first]
    return best if gain.mean() > gain.std() / np.sqrt(len(gain)) else first


def _fit(part: str, shown: Shown, classes: int, seed: int) -> Linear:
    fit = _fit_bayes if part == "bayes svm" else fit_svm
    return fit(shown.features, shown.numbers, classes, c=PARTS[part], seed=seed)


def _fit_bayes(
    features: Any, numbers: NDArray[np.int64], classes: int, *, c: float, seed: int
) -> Linear:
    """An SVM for each class over features scaled by their naive-Bayes log-count ratio.

    After Wang and Manning 2012, "Baselines and Bigrams" (aclanthology.org/P12-2018), on TF-IDF in
    place of binary features.
    """
    from scipy import sparse  # noqa: PLC0415 - 14 MB that networks do without

    member = numbers == np.arange(classes)[:, None]
    counts: Any = (sparse.csr_matrix(member, dtype=np.float64) @ (features > 0)).toarray().T
    padding = np.zeros((1, classes))
    ratios = np.abs(bayes_ratios(np.concatenate([padding, counts])))[1:]
    ratios /= np.maximum(ratios.mean(axis=0), 1e-9)
    columns = []
    for number in range(classes) if classes > 2 else (1,):
        scale = ratios[:, number]
        scaled = features.multiply(scale).tocsr()
        linear = fit_svm(scaled, member[number].astype(np.int64), 2, c=c, seed=seed)
        (low, high), (out, into) = linear.weights.T, linear.bias
        columns.append((scale * (high - low), into - out))
    weights, bias = np.stack([w for w, _ in columns], axis=1), np.array([b for _, b in columns])
    return Linear(weights, bias.astype(np.float32)) if classes > 2 else two_sided(weights, bias)


def _fits(classes: int) -> int:
    """How many two-class problems make up one of so many classes."""
    return classes if classes > 2 else 1


def grams_of(config: ReadingConfig) -> list[Grams]:
    """Those of words, those of characters; a knob of 0 leaves one out."""
    words = [Grams((1, config.words), (1, 0))] if config.words else []
    chars = [Grams((1, 0), (min(2, config.chars), config.chars))] if config.chars else []
    return [*words, *chars]


def _plain(text: str) -> bytes:
    """The text without its case and its spaces' widths, so that copies are equal."""
    return " ".join(text.lower().split()).encode("utf-8", "surrogatepass")


def _told(choice: Choice) -> str:
    return ", ".join(f"{kind} {value:.4f}" for kind, value in choice.accuracy.items())
