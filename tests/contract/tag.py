"""Tag each word of a text: the truth is as long as the row."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import ALWAYS, Arrays, Batch, Objective, Rows, Run, Text, Texts, View, objects
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import Tensor, nn

UNKNOWN = 1  # zero pads
PLACES, NAMES = ["Rome", "Oslo", "Lima"], ["Ada", "Kurt", "Emmy"]


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Names that go to places."""
    texts, tags = [], []
    for row in range(n):
        names = [str(name) for name in rng.choice(NAMES, 1 + row % 3)]
        texts.append(f"{' and '.join(names)} went to {rng.choice(PLACES)}")
        kinds = {"and": "", "went": "", "to": "", **dict.fromkeys(NAMES, "person")}
        tags.append([kinds.get(word, "place") or "none" for word in texts[-1].split()])
    return {
        "text_id": objects(f"t{row}" for row in range(n)),
        "sentence": objects(texts),
        "tags": objects(tags),
        "event_time": np.full(n, ALWAYS),
    }


tagged = View("tagged", ("text_id",), {"sentence": Text(), "tags": Texts()}, draw)


class Input(BaseModel):
    sentence: str


class Span(BaseModel):
    word: str
    tag: str


class Output(BaseModel):
    words: list[Span]


class Tag(NeuralTask[NeuralConfig, Input, Output]):
    """Say of each word of a text what it names."""

    inputs = tagged.only("sentence")
    examples = tagged
    truth: ClassVar[tuple[str, ...]] = ("tags",)
    objective = Objective("max", "accuracy")
    varying: ClassVar[Mapping[str, tuple[int, ...]]] = {"ids": (1,)}

    def study(self, train: Rows, run: Run) -> State:
        words, tags = set[str](), set[str]()
        for batch in train.batches(256):
            words |= {word for text in batch["sentence"] for word in text.split()}
            tags |= {tag for row in batch["tags"] for tag in row}
        seen, kinds = zip(*run.all_gather((words, tags)), strict=True)
        return {"words": sorted(set().union(*seen)), "tags": sorted(set().union(*kinds))}

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words = nn.Embedding(len(state["words"]) + 2, 16, padding_idx=0)
                self.out = nn.Linear(16, len(state["tags"]))

            def forward(self, ids: Any) -> Any:
                return self.out(self.words(ids))  # [n, words, tags]

        return Net()

    def encode(self, batch: Batch) -> Arrays:
        place = {word: number + 2 for number, word in enumerate(self.state["words"])}
        texts = batch["sentence"]
        return {"ids": padded([[place.get(w, UNKNOWN) for w in text.split()] for text in texts])}

    def encode_truth(self, batch: Batch) -> Arrays:
        place = {tag: number for number, tag in enumerate(self.state["tags"], 1)}
        return {"tags": padded([[place[tag] for tag in row] for row in batch["tags"]])}

    def lengths(self, arrays: Arrays) -> Arrays:
        return {name: np.count_nonzero(array, axis=1) for name, array in arrays.items()}

    def loss(self, network: Any, tensors: "dict[str, Tensor]", truth: Any) -> "Tensor":
        from torch.nn.functional import cross_entropy

        tags = truth["tags"] - 1
        return cross_entropy(network(**tensors).transpose(1, 2), tags, ignore_index=-1)

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        best, tags = outputs["output"].argmax(2), self.state["tags"]
        return [
            Output(words=[Span(word=w, tag=tags[t]) for w, t in zip(text.split(), row)])  # noqa: B905 - the row is padded
            for text, row in zip(batch["sentence"], best.tolist(), strict=True)
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        said = [[span.tag for span in output.words] for output in outputs]
        right = [
            a == b
            for s, t in zip(said, batch["tags"], strict=True)
            for a, b in zip(s, t, strict=True)
        ]
        return {"accuracy": float(np.mean(right))}


def padded(rows: list[list[int]]) -> Any:
    """Lists of numbers with zeros after them, as long as the longest."""
    longest = max(1, *map(len, rows))
    return np.array([row + [0] * (longest - len(row)) for row in rows])
