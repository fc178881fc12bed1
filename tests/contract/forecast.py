"""Say how much of a series comes in each of the next hours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cluster.contract import Arrays, Batch, ByTime, Number, Objective, View, objects
from cluster.contract.split import Split
from cluster.features.derived.aggregates import Last
from cluster.features.derived.outcomes import Next, outcomes
from cluster.features.derived.windows import windows
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import Tensor, nn

PAST, AHEAD, SERIES = 12, 4, 4
HOUR = np.timedelta64(3_600_000_000, "us")


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Waves of twelve hours, each series with a phase of its own."""
    hour, who = np.divmod(np.arange(n), SERIES)
    return {
        "series_id": objects(f"s{w}" for w in who),
        "value": 5 + np.sin(hour * np.pi / 6 + who) + rng.normal(0, 0.1, n),
        "event_time": np.datetime64("2026-01-01", "us") + hour * HOUR,
        "split": objects([""] * n),
    }


readings = View("readings", ("series_id",), {"value": Number()}, draw)
lately = windows(
    "readings_lately", over=readings, key=("series_id",), columns={"past": Last("value", n=PAST)}
)
next_hours = outcomes(
    "next_hours", over=readings, key=("series_id",), columns={"next": Next("value", n=AHEAD)}
)


class Config(NeuralConfig):
    epochs: int = 30
    batch_size: int = 16
    lr: float = 0.02


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    series_id: str
    horizon: int = Field(AHEAD, ge=1, le=AHEAD)


class Output(BaseModel):
    values: list[float]


class Forecast(NeuralTask[Config, Input, Output]):
    """Say how much of a series comes in each of the next hours."""

    inputs = readings
    examples = readings
    features: ClassVar[tuple[View, ...]] = (lately,)
    outcomes: ClassVar[tuple[View, ...]] = (next_hours,)
    truth: ClassVar[tuple[str, ...]] = ("next",)
    split: ClassVar[Split] = ByTime()
    series: ClassVar[tuple[str, ...]] = ("series_id",)
    objective = Objective("min", "mae")

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out = nn.Linear(PAST, AHEAD)

            def forward(self, past: Any) -> Any:
                return self.out(past)

        return Net()

    def encode(self, batch: Batch) -> Arrays:
        past = np.zeros((len(batch["past"]), PAST), np.float32)
        for row, values in enumerate(batch["past"]):
            past[row, : len(values)] = values
        return {"past": past}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"next": np.array(batch["next"].tolist(), np.float32)}

    def loss(
        self, network: "nn.Module", tensors: "Mapping[str, Tensor]", truth: "Mapping[str, Tensor]"
    ) -> "Tensor":
        loss: Tensor = (network(**tensors) - truth["next"]).abs().mean()
        return loss

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        asked = zip(outputs["output"], batch["horizon"].tolist(), strict=True)
        return [Output(values=values[:horizon].tolist()) for values, horizon in asked]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        pairs = zip(outputs, batch["next"], strict=True)
        errors = [np.abs(np.subtract(o.values, came[: len(o.values)])) for o, came in pairs]
        return {"mae": float(np.mean(np.concatenate(errors)))}
