"""Turn a text into a vector: texts that are alike have vectors that are near."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cluster.contract import Arrays, Batch, Between, ByKey, Reference, Rows, Run, Serving, labels_of
from cluster.contract.retrieval import retrieval
from cluster.features.views.texts import labelled_texts, texts
from cluster.neural import State
from cluster.neural.embedding import EmbeddingConfig, EmbeddingTask
from nlp._projection import Projection, learn
from nlp._reading import (
    MOST_CHARACTERS,
    ReadingConfig,
    study_grams,
    study_tokens,
)
from nlp._task import ReadingTask
from nlp._tfidf import WORDS, TfIdf

if TYPE_CHECKING:
    from torch import nn


ONE_LABEL = "Where labels say nothing, learn without them: method=selfsupervised"


class Config(ReadingConfig, EmbeddingConfig):
    """How it learns (`supervised` by labels, `selfsupervised` without), and the encoder.

    The encoder is `auto`, `linear`, `bag`, `rnn`, `transformer`, or a transformers text model by
    name. `linear` is a projection of TF-IDF, by labels or by topics; `auto` is that, or `bag`, a
    network, without labels and where the rows are too many.
    """

    linear_knobs: ClassVar[tuple[str, ...]] = (*ReadingConfig.linear_knobs, "method", "dim")
    encoder: str = "auto"
    vocabulary: Annotated[int, Between(300, 1_000_000)] = 50_000
    min_epochs: Annotated[int, Between(1, 1_000)] = 10
    min_steps: Annotated[int, Between(1, 1_000_000)] = 400
    min_batch: Annotated[int, Between(1, 256)] = 256
    lr: Annotated[float, Between(1e-5, 10.0, log=True)] = 1e-2
    schedule: Literal["onecycle", "cosine", "constant"] = "cosine"
    warmup: Annotated[float, Between(0.0, 0.9)] = 0.1
    weight_decay: Annotated[float, Between(0.0, 1.0)] = 0.0
    dropout: Annotated[float, Between(0.0, 0.9)] = 0.5


class Input(BaseModel):
    """A text in any language."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)


class Output(BaseModel):
    """A vector of unit length: the inner product of two says how alike the texts are.

    It is all zeros for a text of which nothing is known.
    """

    vector: list[float]


class Embed(ReadingTask[Config, Input, Output], EmbeddingTask[Config, Input, Output]):
    """Turn a text into a vector: texts that are alike have vectors that are near."""

    inputs = texts
    examples = labelled_texts
    split = ByKey(valid=0.05, test=0.15)
    serving = Serving(max_batch=64)

    def fit_linear(self, train: Rows, run: Run) -> State | None:
        """A projection of TF-IDF; without labels only where the config names it."""
        c, supervised = self.config, self.config.method == "supervised"
        if c.encoder != "linear" and not (c.encoder == "auto" and supervised):
            return None
        return learn(c, self._labels(train, run), train, run, dim=c.dim, supervised=supervised)

    def linear_outputs(self, texts: Sequence[str]) -> NDArray[Any]:
        """Vectors `[n, dim]`."""
        return self._projection.vectors(texts)

    def _labels(self, train: Rows, run: Run) -> list[str]:
        labels = self.seen_labels(train, run)
        if self.config.method == "supervised":
            labels_of(labels, hint=ONE_LABEL)
        return labels

    def study(self, train: Rows, run: Run) -> State:
        """Labels, and the n-grams or the tokenizer that the training texts suggest."""
        labels = self._labels(train, run)
        if self.config.encoder != "bag":
            return {"labels": labels, **study_tokens(self.config, train, run)}
        buckets, held = study_grams(self.config, train, run)
        (count,) = run.all_reduce(np.array([train.count]))
        rarity = np.zeros(len(buckets) + 1, np.float32)
        rarity[1:] = np.log((1 + count) / held)
        return {"labels": labels, "buckets": buckets, "rarity": rarity}

    def network(self, state: State) -> "nn.Module":
        """The network that the config names, its output brought to unit length."""
        from nlp import _nets as nets  # noqa: PLC0415 - torch

        c = self.config
        if c.encoder == "bag":
            return nets.Unit(nets.RareBag(state["rarity"], dim=c.dim, dropout=c.dropout))
        size = self.reader.size
        match c.encoder:
            case "rnn":
                return nets.Unit(nets.Recurrent(size, c.dim, width=c.width, dropout=c.dropout))
            case "transformer":
                shape = {"longest": c.longest, "width": c.width, "depth": c.depth}
                return nets.Unit(nets.Transformer(size, c.dim, **shape, dropout=c.dropout))
            case name:
                shift = state["shift"]
                return nets.Unit(nets.Backbone(name, size, c.dim, shift=shift, dropout=c.dropout))

    def augment(
        self, arrays: Arrays, truth: Arrays, rng: np.random.Generator
    ) -> tuple[Arrays, Arrays]:
        """Each text twice `[2n, length]`, for the network drops words and states differently.

        That is SimCSE (Gao et al. 2021, arXiv:2104.08821): without labels, the two of a text belong
        together.
        """
        del rng
        return self.twice(arrays, arrays, truth)

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        """The cosine of TF-IDF."""
        tfidf = TfIdf.learn(WORDS, train["text"].tolist())
        vectors = tfidf.features(test["text"].tolist())
        metrics = retrieval(vectors, test["label"].tolist())
        return Reference("the cosine of TF-IDF of words and word pairs", metrics)

    @cached_property
    def _projection(self) -> Projection:
        return Projection.restore(self.config, self.state)
