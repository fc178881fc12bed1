"""Say whether two voices are one person's: pairs are asked, single rows are learnt from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import (
    ALWAYS,
    Arrays,
    Batch,
    ByGroup,
    Numbers,
    Objective,
    Rows,
    Run,
    Text,
    View,
    as_numbers,
    objects,
    take,
)
from cluster.neural import Ask, NeuralTask, State
from cluster.neural.embedding import EmbeddingConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE, PEOPLE = 4, 40


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Noisy recordings of some people."""
    who = np.arange(n) % PEOPLE
    means = np.random.default_rng(0).normal(size=(PEOPLE, SIZE))
    return {
        "voice_id": objects(f"v{row}" for row in range(n)),
        "voice": objects((means[who] + rng.normal(0, 0.2, (n, SIZE))).tolist()),
        "person": objects(f"person {number}" for number in who),
        "event_time": np.full(n, ALWAYS),
    }


def draw_pairs(n: int, rng: np.random.Generator) -> Batch:
    """A recording and another, every second one of the same person."""
    one, other = draw(n, rng), draw(n, rng)
    beside = np.arange(n) - np.arange(n) % 2
    return {
        "pair_id": one["voice_id"],
        "voice": one["voice"],
        "other": other["voice"][beside],
        "event_time": one["event_time"],
    }


voices = View("voices", ("voice_id",), {"voice": Numbers(), "person": Text()}, draw)
pairs = View("voice_pairs", ("pair_id",), {"voice": Numbers(), "other": Numbers()}, draw_pairs)


class Input(BaseModel):
    voice: list[float]
    other: list[float]


class Output(BaseModel):
    same: bool
    score: float


class Verify(NeuralTask[EmbeddingConfig, Input, Output]):
    """Say whether two voices are one person's."""

    inputs = pairs
    examples = voices
    truth: ClassVar[tuple[str, ...]] = ("person",)
    split = ByGroup(valid=0.2, test=0.2, column="person")
    objective = Objective("max", "accuracy")

    def study(self, train: Rows, run: Run) -> State:
        seen = {person for batch in train.batches(256) for person in batch["person"]}
        return {"people": sorted(set().union(*run.all_gather(seen)))}

    def network(self, state: State) -> "nn.Module":
        from torch import nn
        from torch.nn.functional import normalize

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.vector = nn.Linear(SIZE, 8)

            def forward(self, voice: Any) -> Any:
                return normalize(self.vector(voice), dim=1)

        return Net()

    def encode(self, batch: Batch) -> Arrays:
        return {"voice": np.array(batch["voice"].tolist(), np.float32)}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"person": as_numbers(batch["person"], self.state["people"])}

    def loss(self, network: Any, tensors: "dict[str, Tensor]", truth: Any) -> "Tensor":
        from cluster.neural.contrast import contrast

        return contrast(network(**tensors), truth["person"], self.config.temperature)

    def questions(self, examples: Batch) -> Batch:
        """Each recording beside the next in the order of people; the truth is who both are."""
        one = take(examples, np.argsort(examples["person"], kind="stable"))
        two = take(one, np.roll(np.arange(len(one["person"])), -1))
        both = objects(zip(one["person"], two["person"], strict=True))
        return {"voice": one["voice"], "other": two["voice"], "person": both}

    def answer(self, ask: Ask, batch: Batch) -> list[Output]:
        one = ask("model", **self.encode(batch))["output"]
        two = ask("model", **self.encode({"voice": batch["other"]}))["output"]
        least = self.state.get("threshold", 0.5)
        return [Output(same=score >= least, score=score) for score in (one * two).sum(1).tolist()]

    def settle(self, valid: Batch) -> State:
        scores = np.array([answer.score for answer in self.predict(valid)])
        same = np.array([one == two for one, two in valid["person"]])
        return {"threshold": float(max(scores, key=lambda t: ((scores >= t) == same).mean()))}

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        pairs = zip(outputs, batch["person"], strict=True)
        return {"accuracy": float(np.mean([o.same == (one == two) for o, (one, two) in pairs]))}
