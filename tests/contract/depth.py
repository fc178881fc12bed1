"""Say how bright a picture of 16 bits is, by levels that 8 bits do not tell apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel

from cluster.contract import ALWAYS, Batch, Config, Objective, Rows, Run, Task, Text, View, objects
from cluster.media import DeepPicture

LEVELS = {"dim": 1_000, "bright": 1_040}


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Pictures around one of two levels."""
    labels = [tuple(LEVELS)[row % 2] for row in range(n)]
    return {
        "plate_id": objects(f"p{row}" for row in range(n)),
        "plate": objects(
            (LEVELS[label] + rng.integers(-5, 6, (6, 8))).astype(np.uint16) for label in labels
        ),
        "label": objects(labels),
        "event_time": np.full(n, ALWAYS),
    }


plates = View("plates", ("plate_id",), {"plate": DeepPicture(), "label": Text()}, draw)


class Input(BaseModel):
    plate: Annotated[Any, DeepPicture()]


class Output(BaseModel):
    label: str
    level: float


class Depth(Task[Config, Input, Output]):
    """Say how bright a picture of 16 bits is."""

    inputs = plates.only("plate")
    examples = plates
    truth: ClassVar[tuple[str, ...]] = ("label",)
    objective = Objective("max", "accuracy")

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        rows = train.whole()
        levels = np.array([plate.mean() for plate in rows["plate"]])
        self.levels = {
            label: float(levels[rows["label"] == label].mean()) for label in set(rows["label"])
        }

    def predict(self, batch: Batch) -> list[Output]:
        levels = [float(plate.mean()) for plate in batch["plate"]]
        labels, means = [*self.levels], np.array([*self.levels.values()])
        nearest = [labels[np.abs(means - level).argmin()] for level in levels]
        return [Output(label=la, level=lv) for la, lv in zip(nearest, levels, strict=True)]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.label == label for o, label in zip(outputs, batch["label"], strict=True)]
        return {"accuracy": float(np.mean(right))}

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "levels.json").write_text(json.dumps(self.levels))

    @classmethod
    def load(cls, folder: Path) -> Self:
        task = super().load(folder)
        task.levels = json.loads((folder / "levels.json").read_text())
        return task
