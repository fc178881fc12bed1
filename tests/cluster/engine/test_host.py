"""Memory that was freed does not stay with the process."""

import numpy as np
import psutil

from cluster.engine import host


def test_freed_memory_goes_back_to_the_system() -> None:
    parts = [np.ones(10_000) for _ in range(2_000)]  # 80 KB each: small enough for the heap
    pin = np.ones(10_000)  # above them, so that the heap cannot shrink from its end
    del parts
    before = host.resident_bytes(psutil.Process())
    host.trim_heap()
    assert before - host.resident_bytes(psutil.Process()) > 100 * 2**20
    assert pin.all()
