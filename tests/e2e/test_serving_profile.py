"""What is served stays small while nobody asks, and keeps to this machine."""

import logging

import psutil

from cluster.engine import host
from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest
from tests.e2e.steps import MARKS, processes, until

pytestmark = MARKS
log = logging.getLogger(__name__)

MIB = 2**20
REPLICA_MIB, ALL_MIB = 200, 700
"""More than an idle replica takes, and three with the door; what they share is left out."""


def test_idle_replicas_and_the_door_are_small(served: dict[str, Manifest], engine: Engine) -> None:
    def sizes() -> dict[str, float]:
        return {
            process.cmdline()[0]: host.resident_bytes(process) / MIB
            for process in processes(engine, "ray::ServeReplica")
        }

    def are_small() -> bool:
        return max(sizes().values()) < REPLICA_MIB and sum(sizes().values()) < ALL_MIB

    assert len(sizes()) == len(served) + 1
    until(are_small, wait_s=30, what="replicas have given back what requests took")
    log.info("idle replicas, MiB: %s", sizes())


def test_every_port_of_the_services_listens_on_loopback(
    served: dict[str, Manifest], engine: Engine
) -> None:
    abroad = {
        (process.name(), connection.laddr.ip, connection.laddr.port)
        for process in host.family(engine.pid, engine.born, engine.mark)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.ip.removeprefix("::ffff:") not in {"127.0.0.1", "::1"}
    }
    assert not abroad
