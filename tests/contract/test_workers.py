"""What learns on one worker learns on two: both end with the same weights, and one saves them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.base.batch import chunks
from cluster.base.code import ROOT
from cluster.contract.split import VALID
from cluster.features.offline.store import Store
from tests.contract.test_contract import NAMES, ROWS, alike, dumped, find
from tests.contract.verify import Verify
from tests.support import plan_in, questions

PARALLEL = [name for name in NAMES if find(name).parallel]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two workers trained every capability that learns in shards."""
    folder = tmp_path_factory.mktemp("two")
    program = [sys.executable, "-m", "tests.contract._pair"]
    loopback = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}  # noqa: TID251 - of a child
    workers = [
        subprocess.Popen(
            [*program, str(rank), str(folder), *PARALLEL],
            cwd=ROOT,
            env=loopback,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for worker in workers:
            _, said = worker.communicate(timeout=600)
            assert worker.returncode == 0, said
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return folder


@pytest.mark.parametrize("name", PARALLEL)
def test_two_workers_end_with_the_same_weights(name: str, learnt: Path) -> None:
    assert (learnt / name / "0").read_text() == (learnt / name / "1").read_text()


@pytest.mark.parametrize("name", PARALLEL)
def test_what_two_workers_learnt_answers_rows_alone_as_together(name: str, learnt: Path) -> None:
    task, five = find(name).load(learnt / name / "version"), questions(find(name), 5)
    together = dumped(task.predict(five))
    assert alike(together, [dumped(task.predict(part))[0] for part in chunks(five, 1)])


def test_two_workers_settle_a_threshold_by_all_validation_rows(learnt: Path) -> None:
    folder = learnt / "tests.contract.verify"
    task, plan = (
        Verify.load(folder / "version"),
        plan_in(Verify, Store(folder / "features-0"), rows=ROWS),
    )
    valid = task.asked(plan.rows(VALID).whole())
    assert task.settle(valid) == {"threshold": task.state["threshold"]}
