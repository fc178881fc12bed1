"""A crash or a full disk at any system call leaves the old rows or the new ones, and no litter."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.features.offline.killed import ACTIONS, CALLS, LEFT, NEW, OLD, told

AFTERWARDS = {"compact": OLD, "erase": LEFT}
AFTER = [["after", 0, "x", 1.0], ["after", 1, "x", 1.0]]


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing of it, as of a disk's cache."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def swept(homes: Path, action: str, call: str, fault: str) -> list[dict[str, Any]]:
    if shutil.which("strace") is None:
        pytest.skip("Faults are injected by strace, which is not installed: apt install strace")
    homes.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.offline.killed", homes, action, call, fault],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 2:
        pytest.skip("Faults are injected by strace, which may not trace processes here.")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_killed_at_any_system_call_it_leaves_the_old_or_the_new(homes: Path, action: str) -> None:
    old = told(OLD)
    new = told(AFTERWARDS.get(action, {**OLD, **NEW}))
    steps = 0
    for call in CALLS:
        said = swept(homes / call, action, call, "signal=SIGKILL")
        for line in said:
            assert line["end"] == -1
            assert line.get("whole", True)
            assert line["rows"] in (old, new)
            assert line.get("again", True)
            after = told(LEFT) if action == "erase" else line["rows"]  # it was erased again
            assert line["after"] == sorted([*after, *AFTER])
            assert line["after_stray"] == []
        changes = [line["rows"] == new for line in said]
        assert changes == sorted(changes)  # once it is new it stays so
        steps += len(said)
    assert steps > 15


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_a_full_disk_at_any_write_is_said_and_nothing_is_half_written(
    homes: Path, action: str
) -> None:
    for call in ("write", "link", "mkdir"):
        for line in swept(homes / call, action, call, "error=ENOSPC"):
            assert line["rows"] == told(OLD)
            assert line["end"] == 3
            assert line["stray"] == line["after_stray"] == []
            after = told(LEFT) if action == "erase" else line["rows"]
            assert line["after"] == sorted([*after, *AFTER])


@pytest.mark.slow
@pytest.mark.parametrize("action", ["write", "append", "compact"])
def test_a_disk_that_fails_to_keep_what_it_was_given_is_told(homes: Path, action: str) -> None:
    old = told(OLD)
    new = old if action == "compact" else told({**OLD, **NEW})
    said = swept(homes / "fsync", action, "fsync", "error=EIO")
    assert said
    for line in said:
        assert line["end"] == 4
        assert line["rows"] in (old, new)
        assert line["after"] == sorted([*line["rows"], *AFTER])


@pytest.mark.slow
@pytest.mark.parametrize("action", ["write", "append", "compact"])
def test_a_commit_appears_when_all_it_names_is_on_the_disk(homes: Path, action: str) -> None:
    swept(homes / "order", action, "fsync,link", "delay_enter=1")
    synced: list[str] = []
    waiting: dict[str, str] = {}
    for line in (homes / "order" / f"{action}-fsync,link-1.trace").read_text().splitlines():
        process, _, said = line.partition(" ")
        if said.strip().startswith("link("):
            commits = Path(said.split('"')[1]).parent
            assert said.split('"')[1] in synced
            data = [path for path in synced if path.endswith(".parquet")]
            assert data
            assert all(str(Path(path).parent) in synced for path in data)
            synced = []
        if said.strip().startswith("fsync("):
            waiting[process] = said.partition("<")[2].partition(">")[0]
        if "= 0" in said and process in waiting:
            synced.append(waiting.pop(process))
    assert synced == [str(commits)]
