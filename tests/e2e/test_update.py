"""What is served changes under load, and its replica dies, and callers hardly notice."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

import services
from cluster.base.errors import Corrupt
from cluster.base.settings import settings
from cluster.engine.engine import Engine
from cluster.registry.versions import Manifest, Registry
from services.cli import operate, verbs
from services.http.schemas import path_of
from services.local import catalog
from tests.contract.test_contract import alike
from tests.e2e.steps import MARKS, NLP, replicas, train, until
from tests.support import questions

pytestmark = MARKS
log = logging.getLogger(__name__)

CLIENTS = 16
TEXTS = [str(text) for text in questions(catalog.find(NLP), CLIENTS)["text"]]
BACK_S = 30.0


@dataclass
class Load:
    """What many callers at once were told: each asks one text over and over."""

    answered: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    @property
    def versions(self) -> Counter[str]:
        """How many answers each version gave."""
        return Counter(body["version"] for _, body in self.answered)

    def ask(self, url: str, number: int, ended: threading.Event) -> None:
        """One caller, until the end."""
        with httpx.Client(base_url=url, timeout=30) as http:
            while not ended.is_set():
                try:
                    answer = http.post(path_of(NLP), json={"inputs": [{"text": TEXTS[number]}]})
                except httpx.HTTPError as error:
                    self.failed.append((time.monotonic(), repr(error)))
                    continue
                if answer.is_success:
                    self.answered.append((number, answer.json()))
                else:
                    self.failed.append((time.monotonic(), f"{answer.status_code} {answer.text}"))


@contextmanager
def callers(url: str) -> Iterator[Load]:
    """Sixteen callers who ask until the block ends; it begins when each may have had an answer."""
    load, ended = Load(), threading.Event()
    threads = [
        threading.Thread(target=load.ask, args=(url, number, ended)) for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(load.answered) > CLIENTS, wait_s=30, what="the first answers")
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def second(served: dict[str, Manifest]) -> Manifest:
    """Another version, which says other probabilities."""
    return train(NLP, "encoder=bag", "epochs=1", "precision=fp32", "lr=0.005", seed=2)


def expected(version: int) -> list[dict[str, Any]]:
    """What a version says of each text."""
    rows = [{"text": text} for text in TEXTS]
    return [output.model_dump(mode="json") for output in services.load(NLP, version).predict(rows)]


def serving() -> str:
    """The version that answers now."""
    answer = httpx.post(f"{settings().url}{path_of(NLP)}", json={"inputs": [{"text": "fine"}]})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["version"])


def test_a_new_version_and_the_way_back_fail_no_request_and_mix_no_answer(
    served: dict[str, Manifest], second: Manifest, engine: Engine
) -> None:
    old, new = served[NLP].version, second.version
    says = {str(version): expected(version) for version in (old, new)}
    assert not any(alike(a, b) for a, b in zip(says[str(old)], says[str(new)], strict=True))
    with callers(engine.url) as load:
        verbs.promote(NLP, str(new), force=True)
        operate.deploy(NLP, "production")
        until(lambda: load.answered[-1][1]["version"] == str(new), wait_s=10, what="the change")
        verbs.rollback(NLP)
        operate.deploy(NLP, "production")
        until(lambda: load.answered[-1][1]["version"] == str(old), wait_s=10, what="the way back")
    assert not load.failed, load.failed[:3]
    assert load.versions.keys() == says.keys()
    for number, body in load.answered:
        assert alike(body["outputs"], [says[body["version"]][number]])


def test_a_damaged_version_is_refused_by_name_and_the_old_one_goes_on(
    served: dict[str, Manifest], second: Manifest
) -> None:
    before = serving()
    path = Registry(settings().home).root / NLP / str(second.version) / "model.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        with pytest.raises(Corrupt, match=rf"model\.onnx of {NLP} version {second.version} is not"):
            operate.deploy(NLP, str(second.version))
        assert serving() == before
    finally:
        path.write_bytes(whole)


def test_a_killed_replica_is_back_within_half_a_minute(
    served: dict[str, Manifest], engine: Engine
) -> None:
    with callers(engine.url) as load:
        (replica,) = replicas(engine, NLP)
        began = time.monotonic()
        replica.kill()
        until(
            lambda: any(other.pid != replica.pid for other in replicas(engine, NLP)),
            wait_s=BACK_S,
            what="a new replica",
        )
        reached = len(load.answered)
        until(
            lambda: len(load.answered) > reached + CLIENTS, wait_s=BACK_S, what="its first answers"
        )
        back_s = time.monotonic() - began
    log.info("back after %.1f s, %d of the requests failed", back_s, len(load.failed))
    assert back_s < BACK_S
    assert serving() == str(served[NLP].version)
