"""The README stays a front page, and its worked example is a whole capability that answers so."""

import csv
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.code import domains, folders
from cluster.contract.rows import Resident
from cluster.contract.run import Run
from cluster.features.views.texts import labelled_texts
from services.local import catalog

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readme_fits_a_front_page() -> None:
    assert README.count("\n") < 200


def test_every_capability_that_the_readme_lists_exists() -> None:
    table = README.partition("## The capabilities")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)`", table, re.MULTILINE)) <= set(catalog.names())


def test_every_folder_stands_in_the_map() -> None:
    mapped = (ROOT / "docs" / "map.md").read_text()
    own = set(folders()) - set(domains())  # a new domain is a folder, with nothing else edited
    files = [file for folder in own for file in (ROOT / folder).rglob("*.py")]
    named = {f"{file.parent.relative_to(ROOT)}/" for file in files}
    assert {name for name in named if f"`{name}`" not in mapped} == set()


@pytest.fixture
def detect(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file that the README shows, as a module."""
    (code,) = re.findall(r"```python\n(\"\"\"Say which.*?)```", README, re.DOTALL)
    module = ModuleType("nlp.detect")
    monkeypatch.setitem(sys.modules, "nlp.detect", module)
    exec(compile(code, "nlp/detect.py", "exec"), module.__dict__)  # noqa: S102 - the README's own
    return module


def test_the_worked_example_learns_answers_and_comes_back(
    detect: ModuleType, tmp_path: Path
) -> None:
    task = detect.Detect()
    rows = labelled_texts.sample(200, np.random.default_rng(0))
    task.fit(Resident(rows), Resident(rows), Run())
    task.save(tmp_path)
    again = detect.Detect.load(tmp_path)
    assert again.name() == "nlp.detect"
    assert again.evaluate(rows).metrics == task.evaluate(rows).metrics


def test_the_worked_example_answers_as_the_readme_says(detect: ModuleType) -> None:
    with (ROOT / "examples" / "languages.csv").open() as file:
        rows = list(csv.DictReader(file))
    batch = {name: objects([row[name] for row in rows]) for name in ("text", "label")}
    task = detect.Detect()
    task.fit(Resident(batch), Resident(batch), Run())
    (asked,) = re.findall(r"curl -d '(.*)' \\\n *localhost:8000/v1/nlp/detect", README)
    (shown,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    texts = objects([row["text"] for row in json.loads(asked)["inputs"]])
    answers = [answer.model_dump() for answer in task.predict({"text": texts})]
    assert answers == json.loads(shown)["outputs"]
