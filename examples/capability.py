"""Write a whole capability in one file, with views of its own, and ask it."""

import numpy as np
from pydantic import BaseModel

from cluster.contract import Config, Number, Objective, Resident, Run, Task, View, objects


def made_up(n, rng):
    """Flats whose rent is 200 and 12 a square metre."""
    area, time = rng.uniform(20, 120, n), np.full(n, np.datetime64("2026-01-01", "us"))
    keys = objects([f"f{number}" for number in range(n)])
    return {"flat_id": keys, "area_m2": area, "rent": 200 + 12 * area, "event_time": time}


key, area = ("flat_id",), {"area_m2": Number()}
flats = View("flats", key=key, columns=area, sample=made_up)
rents = View("rents", key=key, columns={**area, "rent": Number()}, sample=made_up)


class Input(BaseModel):
    area_m2: float


class Output(BaseModel):
    rent: float


class Rent(Task[Config, Input, Output]):
    """Say what a flat costs a month."""

    inputs, examples, truth = flats, rents, ("rent",)
    objective = Objective("min", "absolute_error")

    def fit(self, train, valid, run):
        rows = train.whole()
        self.line = np.polyfit(rows["area_m2"], rows["rent"], deg=1)

    def predict(self, batch):
        return [Output(rent=round(rent, 2)) for rent in np.polyval(self.line, batch["area_m2"])]

    def score(self, batch, outputs):
        return {"absolute_error": float(np.abs([o.rent for o in outputs] - batch["rent"]).mean())}

    def save(self, folder):
        super().save(folder)
        np.save(folder / "line.npy", self.line)

    @classmethod
    def load(cls, folder):
        task = super().load(folder)
        task.line = np.load(folder / "line.npy")
        return task


if __name__ == "__main__":
    rows, rent = Resident(rents.sample(100, np.random.default_rng(0))), Rent()
    rent.fit(rows, rows, Run())
    print(rent.predict({"area_m2": np.array([50.0])})[0])
