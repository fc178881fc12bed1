"""What exists is what lies in the folders."""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.base.code import ROOT
from cluster.base.errors import NotFound
from cluster.base.settings import Settings
from cluster.features.online.redis_keeper import RedisKeeper
from cluster.features.online.sqlite_keeper import SqliteKeeper
from services.local import catalog


def test_every_file_that_does_not_begin_with_an_underscore_is_a_capability() -> None:
    names = catalog.names()
    assert "vision.classify" in names
    assert "recsys.recommend" in names
    assert names == [*dict.fromkeys(names)]
    assert not [name for name in names if "._" in name or "__" in name]
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in names)


def test_each_capability_is_found_by_its_path() -> None:
    assert {name: task.name() for name, task in catalog.capabilities().items()} == {
        name: name for name in catalog.names()
    }


@pytest.mark.parametrize("name", ["vision.clasify", "vision/classify", "classify"])
def test_a_wrong_name_offers_the_nearest(name: str) -> None:
    with pytest.raises(NotFound, match=r"There is no capability .*Did you mean '[a-z]+\.classify'"):
        catalog.find(name)


@pytest.mark.parametrize(
    "name", ["vision._images", "cluster.contract.task", "os.path", "", "vision."]
)
def test_what_is_no_capability_is_never_imported(name: str) -> None:
    with pytest.raises(NotFound, match="There is no capability"):
        catalog.find(name)


def test_every_view_that_a_capability_learns_from_can_be_ingested() -> None:
    views = catalog.views()
    assert {"images", "interactions", "items", "users"} <= views.keys()
    assert all(view.read is not None and view.name == name for name, view in views.items())
    for task in catalog.capabilities().values():
        for view in (task.examples, *task.features, *task.tables):
            if view.read is not None:
                assert set(view.columns) <= set(views[view.name].columns)


def test_a_wrong_view_offers_the_nearest() -> None:
    assert catalog.find_view("images").columns.keys() == {"image", "label"}
    with pytest.raises(NotFound, match=r"There is no view 'image'. Did you mean 'images'?"):
        catalog.find_view("image")


def test_names_are_listed_without_importing_a_capability() -> None:
    code = (
        "import sys; from services.local import catalog; print(*catalog.names()); "
        "sys.exit(any(name in sys.modules for name in catalog.names()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, catalog.names())


def test_rows_are_looked_up_where_the_settings_say(tmp_path: Path) -> None:
    file = catalog.online(Settings(home=tmp_path)).keeper
    assert isinstance(file, SqliteKeeper)
    assert file.path == tmp_path / "features" / "online.db"
    named = catalog.online(
        Settings(home=tmp_path, redis_url="redis://127.0.0.1:9/0", redis_wait_ms=20)
    ).keeper
    assert isinstance(named, RedisKeeper)
    assert (named.url, named.wait_s) == ("redis://127.0.0.1:9/0", 0.02)
