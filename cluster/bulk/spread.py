"""Spread a join over all nodes of a Ray cluster, with Ray Data: each task joins one part."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
import ray.data

TASKS_PER_CPU = 4


def over_cluster(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Does a piece of work for every item, some at a time on every node; Ray must be connected.

    It is the `each` of `join_files`: what the work makes are files, in a folder that all nodes see.
    """
    if not items:
        return
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    kept = ray.put(list(items))

    def done(row: dict[str, Any]) -> dict[str, Any]:
        work(ray.get(kept)[row["id"]])
        return row

    blocks = min(len(items), TASKS_PER_CPU * cpus)
    ray.data.range(len(items), override_num_blocks=blocks).map(done).materialize()
