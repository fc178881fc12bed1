"""Say how likely a loan is repaid late: numbers and words that may be missing, and moments."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import BaseModel

from cluster.contract import (
    ALWAYS,
    Arrays,
    Batch,
    Category,
    Number,
    Objective,
    Rows,
    Run,
    Text,
    Time,
    View,
    input_of,
    objects,
)
from cluster.neural import NeuralConfig, NeuralTask, State

if TYPE_CHECKING:
    from torch import nn

YEAR = np.timedelta64(365, "D")
FRONT = ["late", "in time"]


def draw(n: int, rng: np.random.Generator) -> Batch:
    """Loans of people who often do not say what they earn, or where."""
    income = rng.uniform(1, 9, n)
    late = income + rng.normal(0, 1, n) < 4
    return {
        "loan_id": objects(f"l{row}" for row in range(n)),
        "amount": rng.uniform(1, 9, n),
        "income": np.where(rng.random(n) < 0.3, np.nan, income),
        "branch": objects(rng.choice(["north", "south", ""], n).tolist()),
        "opened": ALWAYS + rng.integers(0, 40, n) * YEAR,
        "outcome": objects(FRONT[0] if one else FRONT[1] for one in late),
        "event_time": ALWAYS + 50 * YEAR + rng.integers(0, 24, n) * np.timedelta64(1, "h"),
    }


loans = View(
    "loans",
    ("loan_id",),
    {
        "amount": Number(),
        "income": Number(gaps=True),
        "branch": Category(gaps=True),
        "opened": Time(),
        "outcome": Text(),
    },
    draw,
)
asked = loans.only("amount", "income", "branch", "opened")
Input = input_of(asked)


class Output(BaseModel):
    outcome: str
    risk: float


class Risk(NeuralTask[NeuralConfig, Input, Output]):  # type: ignore[valid-type]
    """Say how likely a loan is repaid late."""

    inputs = asked
    examples = loans
    truth: ClassVar[tuple[str, ...]] = ("outcome",)
    objective = Objective("max", "accuracy")

    def study(self, train: Rows, run: Run) -> State:
        seen = {branch for batch in train.batches(256) for branch in batch["branch"]}
        return {"branches": sorted(set().union(*run.all_gather(seen)) - {""})}

    def network(self, state: State) -> "nn.Module":
        from torch import nn

        return nn.Sequential(nn.Linear(6 + len(state["branches"]), 16), nn.ReLU(), nn.Linear(16, 2))

    def encode(self, batch: Batch) -> Arrays:
        hour = (batch["event_time"] - batch["event_time"].astype("datetime64[D]")).astype(float)
        columns = [
            batch["amount"],
            batch["income"],  # zero in a gap, which the mask tells from an income of zero
            batch["income_gap"],
            batch["branch_gap"],
            (batch["event_time"] - batch["opened"]) / (10 * YEAR),
            hour / 86_400_000_000,
            *(batch["branch"] == branch for branch in self.state["branches"]),
        ]
        return {"input": np.stack(columns, axis=1).astype(np.float32)}

    def encode_truth(self, batch: Batch) -> Arrays:
        return {"late": (batch["outcome"] == FRONT[0]).astype(np.int64)}

    def decode(self, outputs: Arrays, batch: Batch) -> list[Output]:
        chances = 1 / (1 + np.exp(outputs["output"][:, 0] - outputs["output"][:, 1]))
        return [Output(outcome=FRONT[int(c < 0.5)], risk=c) for c in chances.tolist()]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        right = [o.outcome == said for o, said in zip(outputs, batch["outcome"], strict=True)]
        return {"accuracy": float(np.mean(right))}
