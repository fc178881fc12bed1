"""A job that is sent to the running engine with its token trains and registers there."""

import re
import shutil
import sys
from pathlib import Path

from cluster.base.code import folders
from cluster.base.settings import settings
from cluster.engine.engine import Engine
from cluster.registry.versions import Registry
from tests.e2e.steps import MARKS, NLP, ROOT, TINY, objective, run, versions

pytestmark = MARKS


def test_a_submitted_job_trains_on_two_workers_and_registers(shop: Engine, tmp_path: Path) -> None:
    for package in folders():
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    before = versions(NLP)
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit"]
    submit += ["--address", shop.dashboard_url, "--working-dir", str(tmp_path), "--"]
    train = ["python", "-m", "services", "train", NLP, "--workers", "2", *TINY[NLP], "lr=0.011"]
    done = run(
        [*submit, *train],
        wait_s=300,
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(shop.token_file),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(rf"{NLP} version (\d+): accuracy 0\.\d+", done.stdout)
    assert found, done.stdout
    assert versions(NLP) == [*before, int(found[1])]
    made = Registry(settings().home).manifest(NLP, int(found[1]))
    assert made.workers == 2
    assert made.config["lr"] == 0.011
    assert objective(NLP, made) > 0.7


def test_a_job_without_the_token_is_refused(shop: Engine, tmp_path: Path) -> None:
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit"]
    submit += ["--address", shop.dashboard_url, "--", "true"]
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    refused = run(submit, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(wrong))
    assert refused.returncode != 0
    assert "succeeded" not in refused.stdout
