"""Say what somebody wants of a shop, in the light of what they wanted before."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from cluster.contract import Batch, Config, Objective, Rows, Run, Task, Text, View, objects
from cluster.features.derived.aggregates import Last
from cluster.features.derived.windows import windows

WANTS = {
    "order": ("i want a coat", "send me boots", "i take the red hat"),
    "return": ("it does not fit", "take it back please", "the coat is torn"),
    "more": ("another one", "the same again", "and one more"),
}


def draw(n: int, rng: np.random.Generator) -> Batch:
    """What people say, each in a session of their own."""
    wants = rng.choice(list(WANTS), n)
    return {
        "session_id": objects(f"s{number}" for number in range(n)),
        "text": objects(str(rng.choice(WANTS[want])) for want in wants),
        "want": objects(wants.tolist()),
        "event_time": np.datetime64("2026-01-01", "us") + np.arange(n),
        "split": objects([""] * n),
    }


said = View("said", ("session_id",), {"text": Text(), "want": Text()}, draw)
turns = View("turns", ("session_id",), {"text": Text(), "want": Text()}, draw)
before = windows("before", over=turns, key=("session_id",), columns={"wanted": Last("want", n=8)})


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    session_id: str
    text: str


class Output(BaseModel):
    want: str
    turn: int


class Dialogue(Task[Config, Input, Output]):
    """Say what somebody wants, where "another one" is what they wanted last."""

    inputs = said.only("text")
    examples = said
    truth: ClassVar[tuple[str, ...]] = ("want",)
    live: ClassVar[tuple[View, ...]] = (before,)
    writes: ClassVar[tuple[View, ...]] = (turns,)
    objective = Objective("max", "accuracy")

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """Count the words of each want."""
        self.words: dict[str, Counter[str]] = {}
        for batch in train.batches(1_000):
            for text, want in zip(batch["text"], batch["want"], strict=True):
                self.words.setdefault(want, Counter()).update(text.split())

    def predict(self, batch: Batch) -> list[Output]:
        made = []
        for text, wanted in zip(batch["text"], batch["wanted"], strict=True):
            want = max(sorted(self.words), key=lambda one: self._likeness(text, one))
            if want == "more" and wanted:
                want = wanted[0]
            made.append(Output(want=want, turn=1 + len(wanted)))
        return made

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.want == want for o, want in zip(outputs, batch["want"], strict=True)]
        return {"accuracy": float(np.mean(right))}

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "words.json").write_text(json.dumps(self.words))

    @classmethod
    def load(cls, folder: Path) -> Self:
        task = super().load(folder)
        held = json.loads((folder / "words.json").read_text())
        task.words = {want: Counter(words) for want, words in held.items()}
        return task

    def _likeness(self, text: str, want: str) -> float:
        words = self.words[want]
        return sum(words[word] for word in text.split()) / max(1, words.total())
