"""Whatever ends the demo, everything is down afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from cluster.base.settings import settings
from cluster.engine import engine, host
from tests.e2e.steps import MARKS, ROOT, until

pytestmark = MARKS


def test_sigterm_in_a_training_that_comes_twice_takes_everything_down(tmp_path: Path) -> None:
    own = {
        "LEPTON_HOME": str(tmp_path),
        "LEPTON_PORT": str(host.free_port()),
        "LEPTON_DASHBOARD_PORT": str(host.free_port()),
        "LEPTON_NUM_CPUS": "2",
        "LEPTON_OBJECT_STORE_MB": "100",
        "RAY_ADDRESS": "",
    }
    here = settings(own)
    here = here.model_copy(update={"home": here.home / "demo"})
    said = tmp_path / "said"
    with said.open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "services", "demo"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **own},  # noqa: TID251 - a child gets ours and some more
            start_new_session=True,
        )
    try:
        until(lambda: "train vision" in said.read_text(), wait_s=400, what="starting to train")
        ray = engine.status(here).engine
        assert ray
        os.killpg(demo.pid, signal.SIGTERM)
        until(lambda: "Letting requests" in said.read_text(), wait_s=60, what="hearing the first")
        os.killpg(demo.pid, signal.SIGTERM)
        assert demo.wait(90) == 130, said.read_text()
        assert said.read_text().splitlines()[-1] == "Lepton is down."
        assert host.family(ray.pid, ray.born, ray.mark) == []
    finally:
        engine.down(here)
