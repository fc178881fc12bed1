"""A crash or a full disk at any system call leaves the old rows or the new ones, and no litter."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.features.killed import ACTIONS, CALLS, NEW, OLD, told

AFTER = [["after", 0, "x", 1.0], ["after", 1, "x", 1.0]]


def swept(homes: Path, action: str, call: str, fault: str) -> list[dict[str, Any]]:
    if shutil.which("strace") is None:
        pytest.skip("Faults are injected by strace, which is not installed: apt install strace")
    homes.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.features.killed", homes, action, call, fault],
        cwd=Path(__file__).parents[2],
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
def test_killed_at_any_system_call_it_leaves_the_old_or_the_new(
    tmp_path: Path, action: str
) -> None:
    old = told(OLD)
    new = old if action == "compact" else told({**OLD, **NEW})
    steps = 0
    for call in CALLS:
        said = swept(tmp_path / call, action, call, "signal=SIGKILL")
        for line in said:
            assert line["end"] == -1
            assert line["rows"] in (old, new)
            assert line["after"] == sorted([*line["rows"], *AFTER])
            assert line["after_stray"] == []
        changes = [line["rows"] == new for line in said]
        assert changes == sorted(changes)  # once it is new it stays so
        steps += len(said)
    assert steps > 15


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_a_full_disk_at_any_write_is_said_and_nothing_is_half_written(
    tmp_path: Path, action: str
) -> None:
    for call in ("write", "openat", "link", "mkdir"):
        for line in swept(tmp_path / call, action, call, "error=ENOSPC"):
            if action != "ingest":  # of which a part was taken in before
                assert line["rows"] == told(OLD)
            assert line["end"] == 3
            assert line["stray"] == line["after_stray"] == []
            assert line["after"] == sorted([*line["rows"], *AFTER])


@pytest.mark.slow
@pytest.mark.parametrize("action", ["write", "append", "compact"])
def test_a_disk_that_fails_to_keep_what_it_was_given_is_told(tmp_path: Path, action: str) -> None:
    old = told(OLD)
    new = old if action == "compact" else told({**OLD, **NEW})
    said = swept(tmp_path / "fsync", action, "fsync", "error=EIO")
    assert len(said) >= 4
    for line in said:
        assert line["end"] == 4
        assert line["rows"] in (old, new)
        assert line["after"] == sorted([*line["rows"], *AFTER])
