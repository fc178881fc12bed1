"""What the tests share: the folder of real data, one Ray for the whole session."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from tests.toy import Side

# the same cases each time, however slow the machine: a failure is a change of the code
hypothesis.settings.register_profile("lepton", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lepton")

os.environ.setdefault("OMP_NUM_THREADS", "1")  # noqa: TID251 - threads of toys only wait


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; tests that need it skip where it is not."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LEPTON_TEST_DATA", beside))  # noqa: TID251 - the tests' own knob
    if not folder.is_dir():
        pytest.skip(f"There is no real data at {folder}; LEPTON_TEST_DATA names another folder.")
    return folder


@pytest.fixture(scope="session")
def side(tmp_path_factory: pytest.TempPathFactory) -> "Side":
    """The toy capability, trained and saved once for all tests that only ask it."""
    from tests.support import trained_side

    return trained_side(tmp_path_factory.mktemp("side"))
