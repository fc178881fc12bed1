"""The blocks of the pages that ask a running Lepton run beside one."""

import os
import sys
from pathlib import Path

import polars as pl
import pytest

from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest
from services.local import rows
from tests.docs.blocks import ROOT, blocks, run_bash, run_python
from tests.docs.reader import write_files
from tests.e2e.steps import MARKS

pytestmark = MARKS

BASH, PYTHON = blocks(language="bash", where="served"), blocks(language="python", where="served")


@pytest.fixture(scope="module", autouse=True)
def online(served: dict[str, Manifest]) -> None:
    """The rows that the pages look up."""
    rows.materialize(["items", "users", "interactions"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A reader's folder, with the examples in it."""
    write_files(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    texts = pl.DataFrame({"text": ["a wonderful film", "dull"] * 8})
    texts.write_parquet(tmp_path / "asked_texts.parquet")
    return tmp_path


@pytest.mark.parametrize("page", BASH)
def test_the_commands_of_a_page_run_beside_a_server(
    page: str, folder: Path, engine: Engine
) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - a child's
    more = {"PATH": path, "PYTHONPATH": str(ROOT), "LEPTON_URL": engine.url}
    for block in BASH[page]:
        run_bash(block, folder, {**os.environ, **more}, engine.url)  # noqa: TID251 - a child's


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs_beside_a_server(
    page: str, folder: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_python(PYTHON[page], monkeypatch, folder, engine.url)
