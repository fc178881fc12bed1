import json
import subprocess
import sys
from pathlib import Path

import pytest

OLD = [["new label", "y"], ["old", "x"]]
NEW = [["new", "z"], ["new label", "x"], ["old", "x"]]


@pytest.mark.slow
def test_an_ingest_killed_at_any_step_leaves_all_or_nothing_and_no_litter(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("text,label\nold,x\nnew label,y\n")
    (tmp_path / "new.csv").write_text("text,label\nnew label,x\nnew,z\n,z\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.features.killed"),
            *(str(tmp_path / name) for name in ("homes", "new.csv", "old.csv")),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    before = [line["before"] for line in said if "before" in line]
    after = [line for line in said if "step" in line]
    assert all(found["rows"] == OLD for found in before)
    assert len(after) > 15
    assert all(line["rows"] == NEW and not line["stray"] for line in after)
    # killed before the commit was made, all of it is new; killed after, none of it
    news = [line["new"] for line in after]
    assert news == sorted(news, reverse=True)
    assert set(news) == {1, 0}
