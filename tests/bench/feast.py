"""Give Feast an environment of its own: it needs an older pandas than Lepton."""

import subprocess
import sys
from pathlib import Path

from tests.bench.data import Absent
from tests.bench.report import say

RELEASE = "0.67.0"
FOLDER = Path(__file__).resolve().parents[2] / "build" / "feast-venv"
INSTALL_S = 900


def environment_of_feast(folder: Path = FOLDER) -> Path:
    """The Python that has Feast; made the first time, which takes a minute and a network.

    Args:
        folder: where the environment is kept.

    Raises:
        Absent: it cannot be installed here.
    """
    python, ready = folder / "bin" / "python", folder / f"feast-{RELEASE}"
    if ready.exists():
        return python
    say(f"Feast {RELEASE} is installed into {folder}.")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", f"feast=={RELEASE}"],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise Absent(f"Feast cannot be installed here: {said[-1] if said else error}") from None
    ready.touch()  # written last: its existence means that all of it is there
    return python
