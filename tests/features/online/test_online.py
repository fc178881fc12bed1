"""What is looked up in SQLite is the newest of what was stored, and what is wrong is told."""

import pickle  # noqa: TID251 - how Ray sends it to a worker
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cluster.base.batch import objects
from cluster.base.errors import Corrupt, NotEnough, NotFound, Unavailable
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.online.sqlite_keeper import SqliteKeeper
from tests.features.offline.shelf import batch, shelf
from tests.features.online.crowd_laws import CrowdLaws

ASKED = {"id": objects(["a"])}


class TestSqlite(CrowdLaws):
    @contextmanager
    def opened(self, folder: Path) -> Iterator[Online]:
        found = Online(folder / "online.db")
        yield found
        found.close()


def filled(folder: Path) -> tuple[Store, Online]:
    store, found = Store(folder / "store"), Online(folder / "online.db")
    store.write(shelf, batch({("a", 1): ("x", 1.0)}))
    found.materialize(shelf, store.head(shelf))
    return store, found


def test_a_writer_that_is_cut_off_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    store, found = Store(tmp_path / "store"), Online(tmp_path / "online.db")
    for day in (1, 2, 3):
        store.write(shelf, batch({(key, day): ("x", float(day)) for key in "ab"}))
    head = store.head(shelf)
    assert len(head.files) == 3
    head.path(head.files[2]).rename(tmp_path / "away")
    with pytest.raises(Exception, match="damaged or gone"):
        found.materialize(shelf, head)
    asked = {"id": objects(["a", "b"])}
    assert found.lookup([shelf], asked)["number"].tolist() == [2.0, 2.0]
    (tmp_path / "away").rename(head.path(head.files[2]))
    assert found.materialize(shelf, head) == 2
    assert found.lookup([shelf], asked)["number"].tolist() == [3.0, 3.0]
    with closing(sqlite3.connect(tmp_path / "online.db")) as read:
        assert read.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_damaged_is_told_in_a_sentence(tmp_path: Path) -> None:
    _, found = filled(tmp_path)
    found.close()
    (tmp_path / "online.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(Corrupt, match=r"online\.db is damaged: .*materialize"):
        found.lookup([shelf], ASKED)


def test_a_file_that_another_writes_to_is_read_and_waited_for(tmp_path: Path) -> None:
    filled(tmp_path)
    found = Online(SqliteKeeper(tmp_path / "online.db", wait_s=0.1))
    with closing(sqlite3.connect(tmp_path / "online.db")) as other:
        other.execute("begin exclusive")
        assert found.lookup([shelf], ASKED)["word"].tolist() == ["x"]
        with pytest.raises(Unavailable, match=r"online\.db cannot be used now: .*try again"):
            found.write(shelf, batch({("a", 2): ("y", 1.0)}))
    found.write(shelf, batch({("a", 2): ("y", 1.0)}))
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["y"]


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    _, found = filled(tmp_path)
    online = found.keeper._connection("rwc")  # type: ignore[attr-defined]
    pages = online.execute("pragma page_count").fetchone()[0]
    online.execute(f"pragma max_page_count = {pages}")  # what a full disk looks like to SQLite
    with pytest.raises(NotEnough, match=r"online\.db cannot grow: .* Make room on its disk"):
        found.write(shelf, batch({(f"k{row}", 1): ("x" * 90, 1.0) for row in range(9_000)}))
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["x"]
    found.write(shelf, batch({("a", 2): ("y", 1.0)}))
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["y"]


def test_a_file_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    store, found = filled(tmp_path)
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["x"]
    for path in tmp_path.glob("online.db*"):
        path.unlink()
    store.write(shelf, batch({("a", 2): ("y", 1.0)}))
    found.materialize(shelf, store.head(shelf))
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["y"]


def test_a_file_of_an_older_layout_is_made_anew(tmp_path: Path) -> None:
    store, found = filled(tmp_path)
    found.close()
    with closing(sqlite3.connect(tmp_path / "online.db")) as older:
        older.execute("pragma user_version = 2")
    with pytest.raises(NotFound, match=r"'shelf' is not online\. Bring it there: .* materialize"):
        found.lookup([shelf], ASKED)
    assert found.materialize(shelf, store.head(shelf)) == 1
    assert found.lookup([shelf], ASKED)["word"].tolist() == ["x"]


@pytest.mark.slow
def test_another_process_sees_what_was_written(tmp_path: Path) -> None:
    _, found = filled(tmp_path)
    found.write(shelf, batch({("a", 2): ("pushed", 1.0)}))
    code = (
        "import sys; from pathlib import Path; from tests.features.online.test_online import *\n"
        "print(Online(Path(sys.argv[1])).lookup([shelf], ASKED)['word'][0])"
    )
    place = tmp_path / "online.db"
    seen = subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, check=True
    )
    assert seen.stdout == "pushed\n"


def test_it_can_be_sent_to_another_process(tmp_path: Path) -> None:
    _, found = filled(tmp_path)
    sent = pickle.loads(pickle.dumps(found))  # noqa: S301 - made just now
    assert sent.lookup([shelf], ASKED)["word"].tolist() == ["x"]
