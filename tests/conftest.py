"""What the tests share: the folder of real data, one Ray for the whole session."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from cluster.engine.engine import Engine
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


@pytest.fixture(scope="session")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """This process's environment; what a test of Ray sets there is taken back at the end."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def engine(environment: pytest.MonkeyPatch) -> Iterator["Engine"]:
    """One running Lepton for all tests that need one, started and stopped as a user would."""
    from cluster.base.settings import settings
    from cluster.engine.engine import status
    from cluster.engine.host import free_port
    from services.cli import operate, show

    with TemporaryDirectory(prefix="lepton-") as home:
        for name, value in {
            "LEPTON_HOME": home,
            "LEPTON_PORT": str(free_port()),
            "LEPTON_DASHBOARD_PORT": str(free_port()),
            "LEPTON_NUM_CPUS": "2",
            "LEPTON_OBJECT_STORE_MB": "200",
            "LEPTON_TRACKING_URI": "",
            "RAY_ADDRESS": "",
            # a driver of Ray adds these to its environment: set here, they are taken back
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": f"{home}/token",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }.items():
            environment.setenv(name, value)
        try:
            operate.up(show.say)
            running = status(settings()).engine
            assert running
            yield running
        finally:
            import ray

            ray.shutdown()
            operate.down(show.say)
