"""The demo keeps apart from what is the user's."""

from pathlib import Path

import pytest

from cluster.base.settings import settings
from services.cli import demo


@pytest.mark.parametrize("folder", ["demo", "demo-data"])
def test_the_demo_has_a_home_and_a_tracking_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path))
    monkeypatch.setenv("LEPTON_TRACKING_URI", "http://ours")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs")
    monkeypatch.setenv("LEPTON_PORT", "9000")
    here = demo._apart(folder)
    assert settings() == here.model_copy(update={"tracking_uri": here.tracking})
    assert here.home == tmp_path / folder
    assert here.tracking == f"sqlite:///{tmp_path}/{folder}/tracking.db"
    assert here.port == 9000
