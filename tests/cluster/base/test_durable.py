from pathlib import Path

import pytest

from cluster.base.durable import make_folder, names_in, publish
from cluster.base.errors import Conflict
from cluster.features.offline.store import Store
from tests.features.offline.shelf import batch, shelf


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_home_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for home in (tmp_path / "file", Path("/proc/nobody"), tmp_path / ("n" * 300)):
        with pytest.raises(Conflict, match=f"{home} cannot be used: .*LEPTON_HOME"):
            make_folder(home / "features")
        with pytest.raises(Conflict, match="cannot be used"):
            Store(home).write(shelf, batch({("a", 0): ("x", 1.0)}))
    with pytest.raises(Conflict, match="cannot be used"):
        publish(Path("/proc/nothing.json"), b"x")


def test_what_is_not_there_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert names_in(tmp_path) == ["file"]
    assert names_in(tmp_path / "nothing") == names_in(tmp_path / "file") == []
