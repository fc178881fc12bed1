"""A file of somebody's own that cannot be loaded is a sentence with its line, on every way in."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.base.code import DOMAIN, ROOT, folders

HEAD = '"""Somebody\'s own."""\n\n'


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lepton as somebody has checked it out."""
    made = tmp_path_factory.mktemp("tree")
    for folder in folders():
        shutil.copytree(ROOT / folder, made / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return made


@pytest.mark.slow
def test_a_new_domain_is_a_folder_with_a_file(tree: Path) -> None:
    new = tree / "analytics"
    new.mkdir()
    (new / "__init__.py").write_text(f'{DOMAIN}count: one file each."""\n')
    (new / "detect.py").write_text(worked_example())
    try:
        done = run(tree, "-m", "services", "tasks", "analytics.detect")
        listed = run(tree, "-c", "from services.local import catalog; print(catalog.names())")
    finally:
        shutil.rmtree(new)
    assert done.returncode == 0, done.stderr
    assert "analytics.detect" in listed.stdout


def worked_example() -> str:
    """The whole capability that the README shows."""
    (code,) = re.findall(
        r"```python\n(\"\"\"Say which.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return str(code)


@contextmanager
def holding(tree: Path, name: str, text: str) -> Iterator[Path]:
    """A file of one's own, while it is looked at."""
    path = tree / name
    path.write_text(text)
    try:
        yield path
    finally:
        path.unlink()


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=tree, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("cluster/features/views/mine.py", "def f(:\n", "line 3: invalid syntax"),
        ("cluster/features/views/mine.py", "import nothere\n", "line 3: No module named 'nothere'"),
        ("nlp/mine.py", "x = {}\ny = x['z']\n", "line 4: KeyError: 'z'"),
    ],
)
def test_on_the_command_line_the_line_is_named(
    tree: Path, name: str, text: str, words: str
) -> None:
    with holding(tree, name, HEAD + text) as path:
        done = run(tree, "-m", "services", "features")
    module = name.removesuffix(".py").replace("/", ".")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert " ".join(done.stderr.split()) == (
        f"Error: {module} cannot be loaded: {path}, {words}. Mend that line, or move the file away."
    )


@pytest.mark.slow
def test_over_http_it_is_a_conflict_with_the_same_sentence(tree: Path, tmp_path: Path) -> None:
    asked = (
        "import sys; from pathlib import Path; from starlette.testclient import TestClient; "
        "from services.http import door; "
        "app = door.build(Path(sys.argv[1]), dict); "
        "answer = TestClient(app).get('/v1/features'); "
        "print(answer.status_code, answer.json()['detail'])"
    )
    with holding(tree, "cluster/features/views/mine.py", HEAD + "a = b\n") as path:
        done = run(tree, "-c", asked, str(tmp_path))
    assert done.stdout == (
        f"409 cluster.features.views.mine cannot be loaded: {path}, line 3: NameError: name 'b' is "
        "not defined. Mend that line, or move the file away.\n"
    )
