"""Translate a text: an encoder that is asked once, and a decoder that is asked word by word."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from cluster.contract import ALWAYS, Arrays, Batch, Objective, Rows, Run, Text, View, objects
from cluster.neural import Ask, NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import Tensor, nn

PAD, START, END, WIDTH = 0, 1, 2, 16
WORDS = ["one", "two", "three", "four", "five"]


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Some words, and each of them backwards."""
    said = [rng.choice(WORDS, rng.integers(1, 5)).tolist() for _ in range(n)]
    return {
        "pair_id": objects(f"s{row}" for row in range(n)),
        "text": objects(" ".join(words) for words in said),
        "translation": objects(" ".join(word[::-1] for word in words) for words in said),
        "event_time": np.full(n, ALWAYS),
    }


pairs = View("pairs", ("pair_id",), {"text": Text(), "translation": Text()}, draw)


class Input(BaseModel):
    text: str
    longest: int = Field(6, ge=1, le=16, description="How many words to answer at most.")


class Output(BaseModel):
    text: str


class Translate(NeuralTask[NeuralConfig, Input, Output]):
    """Translate a text."""

    inputs = pairs.only("text")
    examples = pairs
    truth: ClassVar[tuple[str, ...]] = ("translation",)
    objective = Objective("max", "exact")
    varying: ClassVar[Mapping[str, tuple[int, ...]]] = {"ids": (1,)}

    def study(self, train: Rows, run: Run) -> State:
        texts = [text for batch in train.batches(256) for n in pairs.columns for text in batch[n]]
        seen = {word for text in texts for word in text.split()}
        return {"words": ["", "", "", *sorted(set().union(*run.all_gather(seen)))]}

    def network(self, state: State) -> "nn.Module":
        import torch
        from torch import nn

        class Encoder(nn.Module):
            def __init__(self, words: Any) -> None:
                super().__init__()
                self.words = words

            def forward(self, ids: Any) -> Any:
                return torch.tanh(self.words(ids).sum(1))

        class Decoder(nn.Module):
            def __init__(self, words: Any) -> None:
                super().__init__()
                self.words = words
                self.cell = nn.Linear(2 * WIDTH, WIDTH)
                self.out = nn.Linear(WIDTH, len(state["words"]))

            def forward(self, last: Any, memory: Any) -> Any:
                memory = torch.tanh(self.cell(torch.cat([self.words(last), memory], 1)))
                return {"logits": self.out(memory), "memory": memory}

        words = nn.Embedding(len(state["words"]), WIDTH, padding_idx=PAD)
        return nn.ModuleDict({"encoder": Encoder(words), "decoder": Decoder(words)})

    def encode(self, batch: Batch) -> Arrays:
        return {"ids": self._ids(batch["text"])}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"said": self._ids(batch["translation"])}

    def _ids(self, texts: Any) -> Any:
        place = {word: number for number, word in enumerate(self.state["words"])}
        rows = [[START, *(place.get(w, PAD) for w in t.split()), END] for t in texts]
        return np.array([row + [PAD] * (max(map(len, rows)) - len(row)) for row in rows])

    def loss(self, network: Any, tensors: "dict[str, Tensor]", truth: Any) -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy

        memory, logits = network["encoder"](**tensors), []
        for last in truth["said"][:, :-1].T:  # the words that are told, not those that it says
            answer = network["decoder"](last, memory)
            memory = answer["memory"]
            logits.append(answer["logits"])
        return cross_entropy(torch.stack(logits, 2), truth["said"][:, 1:], ignore_index=PAD)

    def graphs(self, network: Any) -> "Mapping[str, nn.Module]":
        return dict(network)

    def answer(self, ask: Ask, batch: Batch) -> list[Output]:
        memory, said = ask("encoder", **self.encode(batch))["output"], []
        last = np.full(len(memory), START)
        for _ in range(batch["longest"].max()):
            told = ask("decoder", last=last, memory=memory)
            memory, last = told["memory"], told["logits"].argmax(1)
            said.append(last)
        rows = zip(np.stack(said, 1).tolist(), batch["longest"], strict=True)
        return [Output(text=self._text(row[:longest])) for row, longest in rows]

    def _text(self, ids: list[int]) -> str:
        until = ids.index(END) if END in ids else len(ids)
        return " ".join(filter(None, (self.state["words"][number] for number in ids[:until])))

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.text == text for o, text in zip(outputs, batch["translation"], strict=True)]
        return {"exact": float(np.mean(right))}
