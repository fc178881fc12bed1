"""Every command and every piece of Python of the pages runs, or says why it is not run."""

import os
import re
import sys
from pathlib import Path

import pytest

from lepton.cli import app as client
from services.__main__ import app
from tests.docs.blocks import PAGES, ROOT, RUN, blocks, blocks_of, run_bash, run_python
from tests.docs.reader import write_files

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON, BASH = blocks(language="python", where="here"), blocks(language="bash", where="here")
REASON = re.compile(r"not run: \S+ .{10,}")


def test_every_block_names_its_language_and_where_it_is_run() -> None:
    for block in BLOCKS:
        where = f"{block.page}:{block.line}"
        assert block.language in {*RUN, "text", "json", "yaml"}, f"{where} has no known language"
        assert block.mark in {"", "run: served"} or REASON.fullmatch(block.mark), where
        if block.language not in RUN:
            assert not block.mark, f"{where} is never run: it needs no mark"


def test_every_test_that_a_mark_names_is_there() -> None:
    for block in BLOCKS:
        for name in re.findall(r"tests/[\w/.]*\w", block.mark):
            assert (ROOT / name).exists(), f"{block.page}:{block.line} names {name}"


@pytest.mark.parametrize(("program", "commands"), [("python -m services", app), ("lepton", client)])
def test_every_command_of_the_pages_exists(program: str, commands: object) -> None:
    from typer.main import get_command

    known = set(get_command(commands).commands)  # type: ignore[arg-type, attr-defined]
    for page in PAGES:
        named = set(re.findall(rf"(?:^|[`&|] *){program} (\w+)", page.read_text(), re.MULTILINE))
        assert named <= known, page.name


def test_every_make_target_of_the_pages_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make (\w+)", page.read_text())) <= targets, page.name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder, and a home of its own that knows a catalogue and some orders."""
    from services.local import rows

    write_files(tmp_path)
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    rows.ingest("items", [str(tmp_path / "catalog.csv")], "", 0.01)
    named = "user_id=customer,item_id=sku,event_time=at"
    rows.ingest("interactions", [str(tmp_path / "orders.parquet")], named, 0.01)
    return tmp_path


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_of_a_page_runs(page: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_python(PYTHON[page], monkeypatch, home)


@pytest.mark.slow
@pytest.mark.parametrize("page", BASH)
def test_the_commands_of_a_page_run_without_a_server(page: str, home: Path) -> None:
    (home / ".venv").symlink_to(sys.prefix)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # noqa: TID251 - a child's
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}  # noqa: TID251 - a child's
    for block in BASH[page]:
        run_bash(block, home, env)
