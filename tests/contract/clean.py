"""Clean a sound of its noise: a sound in, and a sound out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from cluster.contract import ALWAYS, Arrays, Batch, Objective, Rows, Run, View, objects
from cluster.media import Sound, Waveform
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import Tensor, nn

RATE_HZ, LENGTH = 8_000, 400
SOUND = Sound(rate_hz=RATE_HZ, max_seconds=10)


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Tones of some pitches, and the same with noise."""
    time = np.arange(LENGTH) / RATE_HZ
    tones = np.sin(2 * np.pi * rng.uniform(100, 900, (n, 1)) * time) / 2
    noisy = tones + rng.normal(0, 0.1, tones.shape)
    return {
        "take_id": objects(f"t{row}" for row in range(n)),
        "noisy": objects(Waveform(row.astype(np.float32), RATE_HZ) for row in noisy.clip(-1, 1)),
        "clean": objects(Waveform(row.astype(np.float32), RATE_HZ) for row in tones),
        "event_time": np.full(n, ALWAYS),
    }


takes = View("takes", ("take_id",), {"noisy": SOUND, "clean": SOUND}, draw)


class Input(BaseModel):
    noisy: Annotated[Any, SOUND]
    gain: float = Field(1.0, ge=0, le=1)


class Output(BaseModel):
    clean: Annotated[Any, SOUND]
    seconds: float


class Clean(NeuralTask[NeuralConfig, Input, Output]):
    """Clean a sound of its noise."""

    inputs = takes.only("noisy")
    examples = takes
    truth: ClassVar[tuple[str, ...]] = ("clean",)
    objective = Objective("min", "error")

    def study(self, train: Rows, run: Run) -> State:
        return {"length": LENGTH}

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        class Smooth(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.over = nn.Conv1d(1, 1, 9, padding=4)

            def forward(self, samples: "Tensor") -> "Tensor":
                smoothed: Tensor = self.over(samples[:, None])[:, 0]
                return smoothed

        return Smooth()

    def encode(self, batch: Batch) -> Arrays:
        return {"samples": self._rows(batch["noisy"])}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"samples": self._rows(batch["clean"])}

    def loss(self, network: "nn.Module", tensors: Any, truth: Any) -> Any:
        return ((network(**tensors) - truth["samples"]) ** 2).mean()

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        made = []
        for samples, sent, gain in zip(
            outputs["output"], batch["noisy"], batch["gain"], strict=True
        ):
            sound = Waveform(gain * samples[: len(sent.samples)], RATE_HZ)
            made.append(Output(clean=sound, seconds=sent.seconds))
        return made

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        cleaned = self._rows([output.clean for output in outputs])
        return {"error": float(((cleaned - self._rows(batch["clean"])) ** 2).mean())}

    def _rows(self, sounds: Sequence[Waveform] | Any) -> Any:
        """Sounds of one length, cut or filled with silence."""
        rows = np.zeros((len(sounds), self.state["length"]), np.float32)
        for row, sound in zip(rows, sounds, strict=True):
            heard = sound.samples[: len(row)]
            row[: len(heard)] = heard
        return rows
