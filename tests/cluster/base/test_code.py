"""Which code a training runs through: what it imports, and nothing beside it."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.base.code import ROOT, capability_digest, imports, reached
from tests.toy import Side

DOMAIN = {
    "__init__.py": '"""Capabilities that are made up."""\n',
    "say.py": "from tests.toy import Side\nfrom madeup import _near\n\n\nclass Say(Side):\n"
    "    def fit(self, *rows):\n        from madeup._late import fit\n",
    "_near.py": "from madeup._far import FAR\n",
    "_far.py": "FAR = 1\n",
    "_late.py": "def fit(): pass\n",
    "_alone.py": "NOBODY = 1\n",
}


@pytest.fixture
def domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "madeup"
    folder.mkdir()
    for name, source in DOMAIN.items():
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "madeup"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["say.py", "_near.py", "_far.py", "_late.py"])
def test_a_training_is_another_where_a_file_that_it_imports_is(domain: Path, name: str) -> None:
    task = importlib.import_module("madeup.say").Say
    before = capability_digest(task)
    assert before == capability_digest(task)
    (domain / name).write_text(DOMAIN[name] + "# another\n")
    assert capability_digest(task) != before


def test_a_helper_that_nobody_imports_changes_nothing(domain: Path) -> None:
    task = importlib.import_module("madeup.say").Say
    before = capability_digest(task)
    (domain / "_alone.py").write_text("NOBODY = 2\n")
    (domain / "other.py").write_text("from madeup import _near\n")
    assert capability_digest(task) == before


def test_a_training_runs_through_the_loop_and_not_through_what_serves() -> None:
    files = reached([Side.__module__, "cluster.training.train"], [ROOT], "tests")
    names = {file.relative_to(ROOT).as_posix() for file in files}
    assert {
        "cluster/neural/loop.py",
        "cluster/contract/split.py",
        "cluster/neural/task.py",
        "tests/toy.py",
    } <= names
    assert not names & {
        "cluster/serving/serve.py",
        "cluster/engine/engine.py",
        "cluster/features/online/found.py",
    }
    assert not any("/intake/" in name for name in names)


def test_imports_are_found_in_functions_and_relative_ones_too_but_not_those_for_types() -> None:
    source = """
from typing import TYPE_CHECKING
from . import _near
from ._far import FAR
from ..cluster import batch
def f():
    import nlp._nets
if TYPE_CHECKING:
    from cluster.serving.serve import Door
"""
    found = imports(source, "nlp.deep")
    assert {"nlp.deep._near", "nlp.deep._far", "nlp.cluster.batch", "nlp._nets"} <= set(found)
    assert not any("serve" in name for name in found)
