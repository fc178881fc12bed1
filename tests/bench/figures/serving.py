"""Race vision.classify as we serve it against plain Ray Serve: one small PNG a request."""

import io
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from cluster.base.settings import environment, settings
from cluster.engine.host import free_port
from services.cli import operate
from tests.bench import load
from tests.bench.data import stored
from tests.bench.engine import running
from tests.bench.fitting import TalkingRun, hold_threads
from tests.bench.machine import CORES
from tests.bench.report import Result, at_least, say, spread, told
from vision.classify import Classify, Config

ROUNDS = 3
ROOT = Path(__file__).resolve().parents[3]
WARM_S, LOAD_S, START_S = 3.0, 8.0, 90.0

Served = Callable[[], AbstractContextManager[str]]
"""Starts a server for the length of a block; gives the address to post to."""


def results(home: Path) -> Iterator[Result]:
    """Requests a second of both, in turn, and their ratio.

    Each has the machine to itself while it is measured. The picture is the first test picture as
    Pillow writes it, and both must name the same label for it.
    """
    hold_threads()
    picture = _prepared(home)
    folder = home / "registry" / Classify.name() / "1"
    servers: dict[str, Served] = {"plain": lambda: plain(folder), "ours": lambda: ours(home)}
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for turn in range(ROUNDS):
        labels = set()
        for name, server in servers.items():
            with server() as url:
                labels.add(_label(url, picture))
                load.put(url, picture, seconds=WARM_S)
                bout = load.put(url, picture, seconds=LOAD_S)
            say(f"Round {turn + 1}, {name}: {bout}.")
            rates[name].append(bout.rate)
        if len(labels) != 1:
            raise RuntimeError(f"The servers disagree about the picture: {labels}")
    say(f"Plain Ray Serve: {spread(rates['plain'])} requests/s.")
    say(f"vision.classify: {spread(rates['ours'])} requests/s.")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    yield at_least("serving.ratio", medians["ours"] / medians["plain"], "x", 5.0, 8.0)
    yield told("serving.plain", medians["plain"], "requests/s")
    yield told("serving.ours", medians["ours"], "requests/s")


@contextmanager
def ours(home: Path) -> Iterator[str]:
    """What `up` and `deploy` give."""
    with running(home):
        say(operate.deploy(Classify.name(), "production"))
        yield f"{settings().url}/v1/vision/classify"


@contextmanager
def plain(folder: Path) -> Iterator[str]:
    """`plain_serve` in a process and an environment of its own, where nothing of ours tunes Ray."""
    port = free_port()
    untuned = {
        name: value
        for name, value in environment().items()
        if not name.startswith(("RAY_", "LEPTON_"))
    }
    command = [sys.executable, "-m", "tests.bench.plain_serve", str(folder), str(port), str(CORES)]
    log = folder.parent / "plain.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=untuned, cwd=ROOT, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}/"
        _wait(url, server, log)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # Ray takes its processes down on the way out
        server.wait(timeout=30)


def _prepared(home: Path) -> bytes:
    """Register a version of the default network, trained for one epoch, and draw the picture."""
    from cluster.registry.versions import Registry
    from cluster.training.recipe import Recipe
    from cluster.training.steps import learn

    plan = stored(Classify, "fashion-mnist", home)
    say("Training one epoch: the weights do not matter here, the network does.")
    manifest = learn(Recipe(Classify, Config(epochs=1), plan, home), TalkingRun(Classify.name()))
    assert manifest is not None
    Registry(home).point("production", Classify.name(), manifest.version)
    file = io.BytesIO()
    Image.fromarray(plan.rows("test").whole()["image"][0][..., 0]).save(file, "PNG")
    say(f"The picture is a PNG of {len(file.getvalue())} bytes.")
    return file.getvalue()


def _label(url: str, picture: bytes) -> str:
    """What the server says of the picture."""
    answer = httpx.post(
        url, content=picture, headers={"Content-Type": "image/png"}, trust_env=False
    )
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    output = body["outputs"][0] if "outputs" in body else body
    assert len(output["top"]) == 5
    return str(output["label"])


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the application answers: 405, for it takes posts only."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code == 405:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"Plain Ray Serve did not start:\n{log.read_text()[-2_000:]}")
