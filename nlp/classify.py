"""Say what a text is about, or how it is meant."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cluster.contract import (
    Arrays,
    Batch,
    Between,
    ByKey,
    Objective,
    Reference,
    Rows,
    Run,
    Serving,
    as_numbers,
    classification_scores,
    confusion,
    guesses,
    labels_of,
)
from cluster.features.views.texts import labelled_texts, texts
from cluster.neural import State
from nlp._grams import bayes_ratios, count_by_class
from nlp._linear import LinearTexts, chosen_details, learn
from nlp._reading import (
    LINEAR,
    MOST_CHARACTERS,
    ROWS,
    ReadingConfig,
    study_grams,
    study_tokens,
)
from nlp._task import ReadingTask
from nlp._tfidf import svm_reference

if TYPE_CHECKING:
    from torch import nn


class Config(ReadingConfig):
    """The encoder (`auto`, `linear`, `bag`, `rnn`, `transformer`, a transformers model by name).

    `linear` is an SVM over TF-IDF of n-grams whose kind cross-validation chooses; `auto` is that,
    or `bag`, a network, where the rows are too many for it.
    """

    encoder: str = "auto"
    dim: Annotated[int, Between(0, 1_024)] = 0
    lean: Annotated[float, Between(0.0, 2.0)] = 0.4
    gain: Annotated[float, Between(0.01, 20.0, log=True)] = 2.0
    min_epochs: Annotated[int, Between(1, 1_000)] = 4
    min_steps: Annotated[int, Between(1, 1_000_000)] = 300
    lr: Annotated[float, Between(1e-5, 10.0, log=True)] = 2e-2
    schedule: Literal["onecycle", "cosine", "constant"] = "cosine"
    warmup: Annotated[float, Between(0.0, 0.9)] = 0.1
    weight_decay: Annotated[float, Between(0.0, 1.0)] = 0.0
    dropout: Annotated[float, Between(0.0, 0.9)] = 0.5
    label_smoothing: Annotated[float, Between(0.0, 0.5)] = 0.1


class Input(BaseModel):
    """A text in any language."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    top_k: int = Field(5, ge=1, le=1_000, description="How many labels to name.")


class Guess(BaseModel):
    """A label and how likely it is."""

    label: str
    probability: float


class Output(BaseModel):
    """The likeliest label, and the `top_k` likeliest with their probabilities."""

    label: str
    probability: float
    top: list[Guess]


class Classify(ReadingTask[Config, Input, Output]):
    """Say what a text is about, or how it is meant."""

    inputs = texts
    examples = labelled_texts
    truth: ClassVar[tuple[str, ...]] = ("label",)
    split = ByKey(valid=0.05, test=0.15)
    objective = Objective("max", "accuracy")
    serving = Serving(max_batch=64)

    def fit_linear(self, train: Rows, run: Run) -> State | None:
        """SVMs over TF-IDF, chosen by cross-validation."""
        if self.config.encoder not in LINEAR:
            return None
        return learn(self.config, labels_of(self.seen_labels(train, run)), train, run)

    def linear_outputs(self, texts: Sequence[str]) -> NDArray[Any]:
        """Logits `[n, classes]`."""
        return self._linear.logits(texts)

    def study(self, train: Rows, run: Run) -> State:
        """Labels, and the n-grams or the tokenizer that the training texts suggest."""
        self.state = {"labels": labels_of(self.seen_labels(train, run))}
        if self.config.encoder == "bag":
            return self.state | self._study_grams(train, run)
        return self.state | study_tokens(self.config, train, run)

    def _study_grams(self, train: Rows, run: Run) -> State:
        """The n-grams that enough texts hold, and how much each speaks for each label."""
        kept, _ = study_grams(self.config, train, run)
        self.state |= {"buckets": kept}
        encoded = (
            (self.encode(batch)["ids"], self.encode_truth(batch)["label"])
            for batch in train.batches(ROWS)
        )
        held = count_by_class(encoded, len(kept) + 1, len(self.state["labels"]))
        return {"buckets": kept, "ratios": bayes_ratios(run.all_reduce(held))}

    def network(self, state: State) -> "nn.Module":
        """The network that the config names."""
        from nlp import _nets as nets  # noqa: PLC0415 - torch

        c, classes = self.config, len(state["labels"])
        if c.encoder == "bag":
            ratios = state["ratios"]
            return nets.Bag(ratios, dim=c.dim, dropout=c.dropout, lean=c.lean, gain=c.gain)
        size = self.reader.size
        match c.encoder:
            case "rnn":
                return nets.Recurrent(size, classes, width=c.width, dropout=c.dropout)
            case "transformer":
                shape = {"longest": c.longest, "width": c.width, "depth": c.depth}
                return nets.Transformer(size, classes, **shape, dropout=c.dropout)
            case name:
                shift = state["shift"]
                return nets.Backbone(name, size, classes, shift=shift, dropout=c.dropout)

    def encode_truth(self, batch: Batch) -> Arrays:
        """Labels as numbers `[n]`."""
        return {"label": as_numbers(batch["label"], self.state["labels"])}

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        """Logits as the likeliest labels."""
        return [
            Output(
                label=top[0][0],
                probability=top[0][1],
                top=[Guess(label=label, probability=chance) for label, chance in top],
            )
            for top in guesses(outputs["output"], self.state["labels"], batch["top_k"])
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        """Accuracy, and F1 averaged over labels."""
        return classification_scores(list(batch["label"]), [output.label for output in outputs])

    def reference(self, train: Batch, test: Batch) -> Reference | None:
        """A linear SVM on TF-IDF."""
        texts = (train["text"].tolist(), train["label"].tolist(), test["text"].tolist())
        model, answers = svm_reference(*texts)
        return Reference(model, classification_scores(list(test["label"]), answers))

    def details(self, batch: Batch, outputs: Sequence[Any]) -> str:
        """What cross-validation chose, and the confusion matrix."""
        matrix = confusion(list(batch["label"]), [output.label for output in outputs])
        return chosen_details(self.state) + matrix if self.is_linear else matrix

    @cached_property
    def _linear(self) -> LinearTexts:
        return LinearTexts.restore(self.config, self.state)
