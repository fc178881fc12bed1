"""What the tests of the store share: one small view, and a writer for processes of their own."""

import sys
from pathlib import Path

import numpy as np

from cluster.base.batch import Arrays, objects
from cluster.features.offline.store import Store
from cluster.features.schema.column import Number, Text, times
from cluster.features.schema.view import View

Rows = dict[tuple[str, int], tuple[str, float]]
"""Word and number by key and day: what a store should hold, as a dictionary."""


def sample(n: int, rng: np.random.Generator) -> Arrays:
    return batch({(f"k{row}", 0): ("word", float(rng.integers(9))) for row in range(n)})


shelf = View(name="shelf", key=("id",), columns={"word": Text(), "number": Number()}, sample=sample)


def batch(rows: Rows) -> Arrays:
    """A dictionary as rows."""
    return {
        "id": objects(key for key, _ in rows),
        "word": objects(word for word, _ in rows.values()),
        "number": np.array([number for _, number in rows.values()], dtype=np.float64),
        "event_time": times([day * 86_400_000_000 for _, day in rows]),
    }


def held(store: Store) -> Rows:
    """What the store holds, as a dictionary; a row that is there twice is an error."""
    if not store.views():
        return {}
    read = store.snapshot(shelf).read(shelf)
    days = read["event_time"].astype("int64") // 86_400_000_000
    keys = list(zip(read["id"].tolist(), days.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    values = zip(read["word"].tolist(), read["number"].tolist(), strict=True)
    return dict(zip(keys, values, strict=True))


def main(root: str, writer: str, times_over: str, rows: str) -> None:
    """Writes many times; says each time how far it came, once that is on the disk."""
    for turn in range(int(times_over)):
        # Every writer owns its rows and shares one; each turn replaces all that it wrote.
        own = {(f"{writer}-{row}", 0): ("turn", float(turn)) for row in range(int(rows))}
        Store(Path(root)).write(shelf, batch({**own, ("shared", turn): (writer, 1.0)}))
        sys.stdout.write(f"{turn}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
