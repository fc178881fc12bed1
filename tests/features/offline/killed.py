"""Write in processes whose n-th system call kills them or fails, one call later each time.

    python -m tests.features.offline.killed HOMES ACTION CALL FAULT

ACTION is one of `ACTIONS`; CALL one of `CALLS`; FAULT what strace injects.
Says per process, as a line of JSON, how it ended, what was there then, and after the next write.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from cluster.base.errors import Conflict, NotEnough
from cluster.base.writers import LOCK
from cluster.features.intake.ingest import ingest
from cluster.features.offline.bucket import MERGING
from cluster.features.offline.retire import retired
from cluster.features.offline.store import Store
from cluster.features.views.texts import labelled_texts
from tests.features.offline.shelf import Rows, batch, held, shelf

CALLS = ("openat", "mkdir", "write", "fsync", "link", "unlink")
"""The system calls that change what is on the disk, or what others see of it."""
OLD: Rows = {("a", 0): ("x", 1.0), ("b", 1): ("x", 2.0), ("c", 1): ("y", 3.0), ("d", 2): ("y", 4.0)}
NEW: Rows = {("b", 1): ("changed", 9.0), ("e", 3): ("new", 5.0)}
LEFT: Rows = {key: value for key, value in OLD.items() if key[0] != "a"}
"""What is left once a key was erased that is in two files."""
ENDS: dict[type[BaseException] | None, int] = {None: 0, NotEnough: 3, Conflict: 4}


def write(store: Store) -> None:
    store.write(shelf, batch(NEW))


def append(store: Store) -> None:
    store.append(shelf, batch(NEW))


def extend(store: Store) -> None:
    """Many rows, flushed in between: they are on the disk before they are compared."""
    with store.stage(shelf) as stage:
        stage.add(batch({("b", 1): ("changed", 9.0), ("c", 1): ("y", 3.0)}))
        stage.flush()
        stage.add(batch({("e", 3): ("new", 5.0)}))
        store.commit(stage)


def erase(store: Store) -> None:
    store.erase(shelf, {"id": "a"})


def take_in(store: Store) -> None:
    ingest(labelled_texts, [store.root.parent / "new.csv"], store, max_reject_share=0.5)
    write(store)


ACTIONS: dict[str, Callable[[Store], None]] = {
    "write": write,
    "append": append,
    "extend": extend,
    "ingest": take_in,
    "erase": erase,
    "compact": lambda store: None if store.compact(shelf).made else sys.exit(1),
}


def main(homes: str, action: str, call: str, fault: str) -> None:
    """Faults one call later each time, until an action ends before its turn."""
    step, met = 1, True
    (Path(homes) / "new.csv").write_text("text,label\nnew label,x\nnew,z\n,z\n")
    while met:
        home = Path(homes) / f"{action}-{call}-{step}"
        in_a_child(lambda home=home: prepare(Store(home, keep_s=0)))  # type: ignore[misc]
        met, end = faulted(home, ACTIONS[action], f"{call}:{fault}:when={step}")
        if met:
            in_a_child(lambda home=home, end=end: say(home, end))  # type: ignore[misc]
        step += 1


def prepare(store: Store) -> None:
    """Rows in several files, one of them superseded."""
    store.write(shelf, batch({**OLD, ("a", 0): ("earlier", 0.0)}))
    store.append(shelf, batch({("a", 0): OLD["a", 0]}))


def in_a_child(work: Callable[[], None]) -> None:
    """Works in a process of its own: this one uses no threads, so that it may fork."""
    child = os.fork()
    if not child:
        work()
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(1)


def faulted(home: Path, action: Callable[[Store], None], injected: str) -> tuple[bool, int]:
    """Acts in a child that strace watches: whether the fault came, and how the child ended."""
    child = os.fork()
    if not child:
        ctypes.CDLL(None).prctl(0x59616D61, -1, 0, 0, 0)  # anybody may trace it
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(act(Store(home, keep_s=0), action))
    os.waitpid(child, os.WUNTRACED)
    report = home.with_suffix(".trace")
    call = injected.partition(":")[0]
    options = ("-fqqy", "-o", report, "-p", str(child), f"-etrace={call}", f"-einject={injected}")
    tracer = subprocess.Popen(["strace", *options], stderr=subprocess.DEVNULL)  # noqa: S607
    while f"TracerPid:\t{tracer.pid}" not in Path(f"/proc/{child}/status").read_text():
        if tracer.poll() is not None:
            os.kill(child, signal.SIGKILL)
            sys.exit(2)  # it may not trace
        time.sleep(0.001)
    os.kill(child, signal.SIGCONT)
    status = os.waitpid(child, 0)[1]
    tracer.wait()
    killed = os.WIFSIGNALED(status)
    return killed or "INJECTED" in report.read_text(), -1 if killed else os.WEXITSTATUS(status)


def act(store: Store, action: Callable[[Store], None]) -> int:
    """Acts, and says in a number how that ended."""
    try:
        action(store)
    except (NotEnough, Conflict) as error:
        return ENDS[type(error)]
    return 0


def say(home: Path, end: int) -> None:
    """One line of JSON: the end, the rows, what nobody names, and all that after another write."""
    store = Store(home, keep_s=0)
    line: dict[str, Any] = {"end": end, "rows": told(held(store)), "stray": stray(store)}
    if home.name.startswith("erase"):
        store.erase(shelf, {"id": "a"})
        line["again"] = told(held(store)) == told(LEFT) and not about(home, "a")
    if home.name.startswith("ingest"):
        half = any(view.view == "texts" and view.rows != 2 for view in store.views())
        done = ingest(labelled_texts, [home.parent / "new.csv"], store, max_reject_share=0.5)
        line["whole"] = not half and done.new + done.same == 2
    store.write(shelf, batch({("after", 0): ("x", 1.0)}))
    store.compact(shelf)
    store.write(shelf, batch({("after", 1): ("x", 1.0)}))
    line |= {"after": told(held(Store(home))), "after_stray": stray(store)}
    sys.stdout.write(json.dumps(line) + "\n")


def about(home: Path, key: str) -> list[Path]:
    """The data files below a folder that hold a row of a key."""
    found = home.rglob("*.parquet")
    return [path for path in found if key in pq.read_table(path)["id"].to_pylist()]


def told(rows: Rows) -> list[Any]:
    """Rows as JSON has them."""
    return sorted([*key, *value] for key, value in rows.items())


def stray(store: Store) -> list[str]:
    """Files that no commit names, and commits that nobody made whole."""
    named = {path for snapshot in store.views() for path in snapshot.paths}
    files = [
        path
        for path in store.root.rglob("*")
        if path.is_file() and path.name not in (LOCK, MERGING)
    ]
    gone = retired(store.bucket, "shelf")
    return [
        str(path.relative_to(store.root))
        for path in files
        if path.name.startswith(".")
        or (path.suffix == ".parquet" and path not in named and gone_by(path) not in gone)
    ]


def gone_by(path: Path) -> str:
    """A data file's name as commits have it."""
    return f"{path.parent.name}/{path.name}"


if __name__ == "__main__":
    # pyarrow imports pandas at its first array: that is not among the calls that are counted.
    np.asarray(pd.Series([1]))
    main(*sys.argv[1:])
