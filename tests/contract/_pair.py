"""Train capabilities as one of two workers: `python -m tests.contract._pair RANK FOLDER TASK...`.

The two are processes that meet through a file, as those of Ray Train meet through Ray. Each leaves
a digest of what it learnt in `<folder>/<task>/<rank>`; the first also saves the version there.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

from cluster.contract import Run
from cluster.contract.split import TRAIN, VALID
from cluster.neural import NeuralTask
from tests.contract.test_contract import ROWS, find
from tests.support import learner_of, plan_in, stored


class Worker(Run):
    """One of two workers."""

    def all_gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.workers
        dist.all_gather_object(values, value)
        return values

    def all_reduce(self, array: Any) -> Any:
        return sum(self.all_gather(array))


def learn(name: str, rank: int, folder: Path) -> None:
    """Fit one capability on this worker's half of its made-up rows."""
    task = find(name)
    plan = plan_in(task, stored(task, folder / f"features-{rank}", rows=ROWS), rows=ROWS)
    learner = learner_of(task)
    run = Worker(rank=rank, workers=2, tables=plan.whole())
    learner.fit(plan.rows(TRAIN, rank=rank, workers=2), plan.rows(VALID), run)
    (folder / str(rank)).write_text(learnt(learner))
    if rank == 0:
        (folder / "version").mkdir()
        learner.save(folder / "version")


def learnt(learner: Any) -> str:
    """A digest of the weights, if there is a network; running means are each worker's own."""
    network = learner._trained if isinstance(learner, NeuralTask) else None
    if network is None:
        return "no network"
    weights = [weight.detach().numpy().tobytes() for weight in network.parameters()]
    return hashlib.sha256(b"".join(weights)).hexdigest()


if __name__ == "__main__":
    number, place = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", f"file://{place}/meet", rank=number, world_size=2)
    for each in sys.argv[3:]:
        (place / each).mkdir(exist_ok=True)
        learn(each, number, place / each)
        dist.barrier()
    dist.destroy_process_group()
