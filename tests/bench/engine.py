"""Lend a row a Ray of its own, with Lepton's serving profile, on free ports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.base.settings import export
from cluster.engine.host import free_port
from services.cli import operate
from tests.bench.machine import CORES
from tests.bench.report import say


@contextmanager
def running(home: Path) -> Iterator[None]:
    """Lepton as `up` starts it, until the block ends.

    Args:
        home: becomes LEPTON_HOME of this process and of all that it starts.
    """
    export(
        LEPTON_HOME=str(home),
        LEPTON_PORT=str(free_port()),
        LEPTON_DASHBOARD_PORT=str(free_port()),
        LEPTON_NUM_CPUS=str(CORES),
        RAY_ADDRESS="",
    )
    try:
        operate.up(say)
        yield
    finally:
        _leave()
        operate.down(say)


def _leave() -> None:
    """Let this process be nobody's driver, so that it may join the next Ray."""
    import ray

    ray.shutdown()
