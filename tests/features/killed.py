"""Ingest in processes that are killed at a step they take on the disk, one step later each time.

    python -m tests.features.killed HOME SOURCE BESIDE

Says per kill, as a line of JSON, at which step it came and what stood there after the next ingest.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from cluster.features.ingest import ingest
from cluster.features.store import Store
from cluster.features.texts import labelled_texts
from cluster.writers import LOCK

STEPS = {"open", "os.mkdir", "os.link", "os.remove", "fcntl.flock"}


def main(home: str, source: str, beside: str) -> None:
    """Kills one step later each time, until an ingest ends before its turn to be killed."""
    step = 0
    while survives(step, Path(home) / str(step), Path(source), Path(beside)):
        step += 1


def survives(step: int, root: Path, source: Path, beside: Path) -> bool:
    """Kills one ingest over the rows of another, and runs it again; False where it ended before."""
    in_a_child(lambda: say({"before": took_in(root, beside)}))
    if not in_a_child(lambda: dies_at(step, root, source)):
        return False
    in_a_child(lambda: say({"step": step, **took_in(root, source)}))
    return True


def in_a_child(work: Any) -> bool:
    """Whether the child that did the work was killed. This process itself uses no threads."""
    child = os.fork()
    if not child:
        work()
        sys.stdout.flush()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(1)
    return os.WIFSIGNALED(status)


def dies_at(step: int, root: Path, source: Path) -> None:
    """Ingests until it touches the disk below `root` for that many times, and then is killed."""
    left = step

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in STEPS and (event == "fcntl.flock" or str(root) in str(arguments[0])):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    took_in(root, source)


def took_in(root: Path, source: Path) -> dict[str, Any]:
    """Ingests, and says what is there then: the rows, and files that nothing names."""
    store = Store(root)
    done = ingest(labelled_texts, [source], store, max_reject_share=0.5)
    rows = store.snapshot(labelled_texts).read(labelled_texts)
    commits = [store.snapshot(labelled_texts, n) for n in range(1, done.commit + 1)]
    named = {path for commit in commits for path in commit.paths}
    named |= {root / "texts" / "commits" / f"{commit.commit:010d}.json" for commit in commits}
    held = {path for path in root.rglob("*") if path.is_file() and path.name != LOCK}
    stray = [str(p) for p in held - named if p.parent != store.rejects or p.name.startswith(".")]
    said = zip(rows["text"].tolist(), rows["label"].tolist(), strict=True)
    return {"rows": sorted(said), "new": done.new, "stray": stray}


def say(line: dict[str, Any]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
