"""What answers write is pushed after them: at least once, in the way of none."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cluster.base.batch import objects
from cluster.base.errors import InvalidInput, Unavailable
from cluster.contract.run import Run
from cluster.features.derived.graph import Graph
from cluster.features.layer import Layer
from cluster.features.monitoring.requests import RequestLog
from cluster.features.offline.store import Store
from cluster.features.online.lookup import Online
from cluster.features.schema.view import View
from cluster.registry.model import Model
from cluster.registry.pool import Models
from cluster.registry.versions import Registry
from cluster.serving.answering import Answering
from cluster.serving.outbox import Outbox, Writer
from tests.contract.dialogue import Dialogue, Input, Output, before, draw, said, turns
from tests.contract.test_contract import NAMES, find
from tests.support import Stream, manifest

ROOT = Path(__file__).parents[3]
# A replica that is killed once it has answered, while the layer does not open.
KILLED = """
import os, signal, sys, threading
from pathlib import Path
from cluster.serving.outbox import Outbox, Writer
from tests.contract.dialogue import Dialogue, Input, Output

outbox = Outbox(Path(sys.argv[1]), lambda: threading.Event().wait())
asked = [Input(session_id=f"s{n}", text="a") for n in range(3)]
outbox.put(Writer(Dialogue).rows(asked, [Output(want="order", turn=1)] * 3))
print("answered", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def layer_in(home: Path) -> Layer:
    graph = Graph([said, turns, before])
    models = Models(Registry(home), lambda _: Dialogue)
    made = Layer(graph, Store(home / "features"), Online(home / "features" / "online.db"), models)
    made.materialize(["turns"])
    return made


def row(session: str, want: str, moment: str = "2026-03-01T00:00:00Z") -> dict[str, Any]:
    told = {"session_id": session, "text": "a", "want": want}
    return {"view": "turns", "event_time": moment, "row": told}


def wants(layer: Layer, *sessions: str) -> list[list[str]]:
    found = layer.lookup(["before"], {"session_id": objects(sessions)})
    return list(found["wanted"])


def test_what_was_answered_is_known_at_the_next_turn(tmp_path: Path) -> None:
    layer, task = layer_in(tmp_path), Dialogue()
    rows = Stream(draw(200, np.random.default_rng(0)))
    task.fit(rows, rows, Run())
    outbox = Outbox(tmp_path / "outbox", lambda: layer)
    log = RequestLog(tmp_path / "requests", share=0, limit_bytes=2**20)
    answering = Answering(Model(task, manifest("dialogue")), lambda: layer, log, outbox)

    def turn(text: str) -> Any:
        (answer,) = answering([Input(session_id="me", text=text)])
        with outbox._changed:
            assert outbox._changed.wait_for(lambda: not outbox._waiting, 20)
        return answer.output

    assert turn("take it back please").want == "return"
    second = turn("another one")
    assert (second.want, second.turn) == ("return", 2)
    assert outbox.close()
    assert wants(layer, "me", "other") == [["return", "return"], []]
    assert list((tmp_path / "outbox").iterdir()) == []


def test_an_answer_does_not_wait_for_a_layer_that_hangs(tmp_path: Path) -> None:
    opened = threading.Event()

    def slow() -> Layer:
        opened.wait()
        return layer_in(tmp_path)

    outbox = Outbox(tmp_path / "outbox", slow)
    began = time.monotonic()
    for number in range(100):
        outbox.put([row(f"s{number}", "order")])
    assert time.monotonic() - began < 0.5
    assert not outbox.close(wait_s=0)
    opened.set()
    outbox._thread.join(30)
    assert list((tmp_path / "outbox").iterdir()) == []  # it was only slow


def test_a_replica_that_is_killed_after_its_answer_loses_nothing(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", KILLED, str(tmp_path / "outbox")]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (-9, "answered\n"), done.stderr
    layer = layer_in(tmp_path)
    for _ in range(2):  # a third would find nothing: once pushed it is gone
        outbox = Outbox(tmp_path / "outbox", lambda: layer)
        outbox.put([row("last", "more")])
        assert outbox.close()
    assert wants(layer, "s0", "s1", "s2", "last") == [["order"], ["order"], ["order"], ["more"]]
    assert list((tmp_path / "outbox").iterdir()) == []


def test_what_a_living_replica_holds_is_left_to_it(tmp_path: Path) -> None:
    never = threading.Event()

    def late() -> Layer:
        never.wait()
        return layer_in(tmp_path)

    held = Outbox(tmp_path / "outbox", late)
    held.put([row("s", "order")])
    layer = layer_in(tmp_path)
    assert Outbox(tmp_path / "outbox", lambda: layer).close()
    assert wants(layer, "s") == [[]]
    never.set()
    assert held.close()
    assert wants(layer, "s") == [["order"]]


def test_the_same_row_twice_is_one_row(tmp_path: Path) -> None:
    layer = layer_in(tmp_path)
    for _ in range(2):
        outbox = Outbox(tmp_path / "outbox", lambda: layer)
        outbox.put([row("s", "order")])
        assert outbox.close()
    assert wants(layer, "s") == [["order"]]
    assert layer.store.head(turns).rows == 1


def test_a_row_that_no_view_holds_is_left_out_and_the_others_are_written(tmp_path: Path) -> None:
    layer = layer_in(tmp_path)
    outbox = Outbox(tmp_path / "outbox", lambda: layer)
    outbox.put([row("a", "order"), row("b", ""), row("c", "more")])
    assert outbox.close()
    assert wants(layer, "a", "b", "c") == [["order"], [], ["more"]]


def test_what_cannot_be_pushed_now_is_pushed_later(tmp_path: Path) -> None:
    layer, tries = layer_in(tmp_path), []

    def at_the_third_time() -> Layer:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("The store is away.")
        return layer

    outbox = Outbox(tmp_path / "outbox", at_the_third_time)
    outbox.put([row("s", "order")])
    assert outbox.close()
    assert wants(layer, "s") == [["order"]]


def test_more_than_may_wait_is_lost_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    never = threading.Event()
    outbox = Outbox(tmp_path / "outbox", lambda: never.wait() and None, limit_bytes=300)  # type: ignore[arg-type,return-value]
    for number in range(3):
        outbox.put([row(f"s{number}", "order")])
    assert "1 rows are lost: over " in caplog.text
    assert sum(os.path.getsize(path) for path in (tmp_path / "outbox").iterdir()) <= 300  # noqa: PTH202


def test_an_answer_with_a_field_that_is_none_writes_nothing() -> None:
    class Silent(Dialogue):
        """The same."""

    class Answer(Output):
        want: str | None = None  # type: ignore[assignment]

    writer = Writer(Silent)
    asked = Input(session_id="s", text="a")
    made = writer.rows([asked] * 3, [Answer(turn=1), Answer(turn=1, want="x"), ValueError("no")])
    assert [one["row"] for one in made] == [{"session_id": "s", "text": "a", "want": "x"}]


def test_rows_of_one_moment_are_kept_apart() -> None:
    asked, answer = Input(session_id="s", text="a"), Output(want="x", turn=1)
    made = Writer(Dialogue).rows([asked] * 50, [answer] * 50)
    assert len({one["event_time"] for one in made}) == 50


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View("w", ("session",), {}, draw), "whose column 'session' is a field neither of its Out"),
        (before, "writes view 'before', which is made from turns. Write a source view"),
    ],
)
def test_a_view_that_answers_cannot_fill_is_refused(view: View, words: str) -> None:
    class Wrong(Dialogue):
        """Writes elsewhere."""

        writes: ClassVar[tuple[View, ...]] = (view,)

    with pytest.raises(InvalidInput, match=words):
        Writer(Wrong)


@pytest.mark.parametrize("name", NAMES)
def test_every_capability_writes_only_what_its_answers_hold(name: str) -> None:
    assert Writer(find(name)).views == find(name).writes
