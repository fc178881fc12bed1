"""Describe a run completely, and derive its name from that: equal runs have equal names."""

import hashlib
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.base.code import capability_digest
from cluster.contract.config import Config
from cluster.contract.task import AnyTask
from cluster.training.data import Plan


@dataclass(frozen=True)
class Recipe:
    """All inputs of a run, sent to every worker; for `start` see `Run`."""

    task: type[AnyTask]
    config: Config
    plan: Plan
    home: Path
    seed: int = 0
    workers: int = 1
    checkpoint_s: float = 30.0
    nonce: str = ""
    mailbox: Any = None
    start: Path | None = None

    @property
    def run(self) -> str:
        """A name that the same task, code, config, data, seed and workers always give.

        So a run that was killed is found again, and one that ended is not repeated. A nonce makes
        it another run all the same.
        """
        what = [self.task.name(), capability_digest(self.task), self.plan.identity, self.nonce]
        how = [self.config.model_dump_json(), str(self.seed), str(self.workers)]
        how += [self.start.as_posix()] if self.start else []
        digest = hashlib.sha256("\n".join(what + how).encode()).hexdigest()
        return f"{self.task.name()}-{digest[:12]}"


def again(recipe: Recipe) -> Recipe:
    """The same recipe as a run of its own, though an equal one may have ended."""
    return replace(recipe, nonce=uuid.uuid4().hex)
