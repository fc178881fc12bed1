"""The README: what it names is there, and its worked example is a whole capability."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cluster.base.code import folders
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.features.views.texts import labelled_texts
from services.__main__ import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_every_command_of_the_readme_exists() -> None:
    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    } | {group.name for group in app.registered_groups}
    named = set(re.findall(r"python -m services (\w+)", README))
    assert named <= known


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", README)) <= targets


def test_every_folder_stands_in_the_map() -> None:
    mapped = README.partition("## The map")[2].partition("## Settings")[0]
    files = [file for folder in folders() for file in (ROOT / folder).rglob("*.py")]
    named = {f"{file.parent.relative_to(ROOT)}/" for file in files}
    assert {name for name in named if f"`{name}`" not in mapped} == set()


def test_the_worked_example_learns_answers_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "Detect" in block
    )
    module = ModuleType("nlp.detect")
    monkeypatch.setitem(sys.modules, "nlp.detect", module)
    exec(compile(code, "nlp/detect.py", "exec"), module.__dict__)  # noqa: S102 - the README's own
    task = module.Detect()
    rows = labelled_texts.sample(200, np.random.default_rng(0))
    task.fit(Resident(rows), Resident(rows), Run())
    task.save(tmp_path)
    again = module.Detect.load(tmp_path)
    assert again.name() == "nlp.detect"
    assert again.evaluate(rows).metrics == task.evaluate(rows).metrics
