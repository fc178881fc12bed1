"""Turn texts into the ids that a network reads: of n-grams, or of sub-words."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from cluster.contract import Between, Rows, Run
from cluster.neural import NeuralConfig, State, backbone
from nlp._grams import Grams
from nlp._tokens import Tokens, learn

R = TypeVar("R", bound="ReadingConfig")

MOST_CHARACTERS = 100_000
LEARNT_FROM = 200_000  # texts that a tokenizer is learnt from; more change little
ROWS = 1_024
OWN: Mapping[str, Mapping[str, Any]] = {
    "auto": {}, "linear": {}, "bag": {"words": 3, "least": 2},
    "rnn": {
        "min_epochs": 8, "min_steps": 800, "batch_size": 64, "lr": 3e-3, "clip_norm": 1.0,
        "weight_decay": 0.01,
    },
    "transformer": {
        "min_epochs": 8, "min_steps": 800, "batch_size": 64, "lr": 1e-3, "clip_norm": 1.0,
        "weight_decay": 0.01, "dropout": 0.2,
    },
    "backbone": {
        "min_epochs": 3, "min_steps": 300, "batch_size": 32, "lr": 5e-5, "clip_norm": 1.0,
        "weight_decay": 0.01, "dropout": 0.1,
    },
}  # fmt: skip
"""What an encoder's knobs are where they are not given."""
LINEAR = ("auto", "linear")
GRAMS = (*LINEAR, "bag")


class ReadingConfig(NeuralConfig):
    """The encoder, by name, and the n-grams or sub-words that it reads."""

    linear_knobs: ClassVar[tuple[str, ...]] = ("encoder", "words", "chars", "least", "vocabulary")
    """Those that a linear model reads."""

    encoder: str = "bag"
    longest: Annotated[int, Between(8, 8_192)] = 1_024
    words: Annotated[int, Between(0, 5)] = 2
    chars: Annotated[int, Between(0, 8)] = 5
    least: Annotated[int, Between(1, 100)] = 1
    vocabulary: Annotated[int, Between(300, 1_000_000)] = 200_000
    width: Annotated[int, Between(8, 2_048)] = 96
    depth: Annotated[int, Between(1, 24)] = 2

    @model_validator(mode="before")
    @classmethod
    def _own_defaults(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        encoder = given.get("encoder", cls.model_fields["encoder"].default)
        own = OWN.get(encoder, OWN["backbone"])
        short = {} if encoder in GRAMS else {"longest": 128, "vocabulary": 8_000}
        return {**short, **own, **given}

    @model_validator(mode="after")
    def _some_grams(self) -> Self:
        if self.encoder in GRAMS and not self.words and not self.chars:
            raise ValueError("words=0 and chars=0 leave no n-grams to learn from")
        return self

    def used(self) -> dict[str, Any]:
        """All knobs of a network, of a linear model those that it reads."""
        knobs = super().used()
        linear = self.encoder in LINEAR  # `auto` names the network where it took one
        return {name: knobs[name] for name in self.linear_knobs} if linear else knobs


def say_unused(config: ReadingConfig, run: Run) -> None:
    """Tell which settings were given that a linear model has no use for."""
    unused = sorted(config.model_fields_set.difference(config.linear_knobs))
    if unused:
        run.say(f"encoder=linear does not use {', '.join(unused)}; encoder=bag, a network, does.")


def as_network(config: R) -> R:
    """The settings of the network that takes the place of `auto`: those given, and its defaults."""
    if config.encoder != "auto":
        return config
    given = config.model_dump(include=config.model_fields_set - {"encoder"})
    return type(config).model_validate({**given, "encoder": "bag"})


class Reader:
    """Encodes texts as one version of a capability does.

    Args:
        config: of the capability.
        state: what was studied: `buckets`, or `tokenizer`, `longest` and `shift`.
    """

    def __init__(self, config: ReadingConfig, state: State) -> None:
        self.config, self.state = config, state

    @property
    def size(self) -> int:
        """How many ids there are, padding included."""
        bag = self.config.encoder == "bag"
        return len(self.state["buckets"]) + 1 if bag else self._tokens.size

    def encode(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Ids `[n, length]`, zeros after them."""
        if self.config.encoder == "bag":
            ids: NDArray[np.int32] = _grams(self.config).encode(
                texts, self._table, self.config.longest
            )
            return ids
        return self._tokens.encode(texts)

    @cached_property
    def _table(self) -> NDArray[np.int32]:
        buckets = self.state["buckets"]
        table = np.zeros(1 << _grams(self.config).bits, np.int32)
        table[buckets] = np.arange(1, len(buckets) + 1)
        return table

    @cached_property
    def _tokens(self) -> Tokens:
        return Tokens(self.state["tokenizer"], self.state["longest"], self.state["shift"])


def study_grams(
    config: ReadingConfig, train: Rows, run: Run
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The buckets of the n-grams that enough texts hold, and how many texts hold each."""
    grams = _grams(config)
    return frequent(grams, train, run, least=config.least, most=config.vocabulary)


def frequent(
    grams: Grams, train: Rows, run: Run, *, least: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `most` buckets that most texts hold, ascending, and how many texts hold each.

    Those that fewer than `least` texts hold are left out.
    """
    counts = np.zeros(1 << grams.bits, np.int64)
    for batch in train.batches(ROWS):
        counts += grams.count(batch["text"].tolist())
    counts = run.all_reduce(counts)
    kept = np.flatnonzero(counts >= least)
    kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:most]])
    return kept, counts[kept]


def study_tokens(config: ReadingConfig, train: Rows, run: Run) -> State:
    """A tokenizer learnt from the texts, or the one that comes with pretrained weights."""
    name, longest = config.encoder, config.longest
    if name not in OWN:
        weights = backbone.weights_of(name)
        run.say(f"{name} starts from {weights} weights.")
        if weights == backbone.PRETRAINED:
            return {"tokenizer": backbone.tokenizer_of(name), "longest": longest, "shift": 1}
    most = -(-LEARNT_FROM // run.workers)
    mine = [text for batch in train.batches(ROWS) for text in batch["text"]][:most]
    corpus = sorted(text for texts in run.all_gather(mine) for text in texts)
    return {"tokenizer": learn(corpus, config.vocabulary), "longest": longest, "shift": 0}


def _grams(config: ReadingConfig) -> Grams:
    return Grams((1, config.words), (min(2, config.chars), config.chars))
