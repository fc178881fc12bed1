"""What `pip install lepton` gives: the client and its command, and nothing of the cluster."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from lepton import __version__
from tests.e2e.steps import ROOT

pytestmark = pytest.mark.slow

NEEDS = {"httpx", "pydantic", "typer", "rich"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_client_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"lepton", f"lepton-{__version__}.dist-info"}


def test_the_wheel_asks_for_four_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"lepton-{__version__}.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)
    needed = {line.split("<")[0].split(">")[0] for line in metadata.get_all("Requires-Dist", [])}
    assert needed == NEEDS
    assert metadata["Requires-Python"] == ">=3.11"


def test_an_installed_wheel_is_the_client_and_its_command_without_ray(
    wheel: Path, tmp_path: Path
) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run(sys.executable, "-m", "venv", "venv").returncode == 0
    python, command = (str(tmp_path / "venv" / "bin" / name) for name in ("python", "lepton"))
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = run(*install, str(wheel))
    if installed.returncode and "No matching distribution" in installed.stderr:
        pytest.skip("pip reaches no package index, so the wheel cannot be installed.")
    assert installed.returncode == 0, installed.stderr
    told = run(python, "-c", "import lepton; print(lepton.Client('http://127.0.0.1:9'))")
    assert told.stdout == "Client('http://127.0.0.1:9')\n", told.stderr
    assert run(command, "--version").stdout == f"{__version__}\n"
    nobody = run(command, "tasks", "--url", "http://127.0.0.1:9")
    assert nobody.returncode == 1
    assert "No Lepton answers at http://127.0.0.1:9" in nobody.stderr
    for absent in ("ray", "torch", "numpy", "cluster", "services"):
        assert run(python, "-c", f"import {absent}").returncode == 1
