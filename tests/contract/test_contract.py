"""What every capability in the catalog owes: a new file there is tested here without an edit."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from cluster.base.batch import chunks, without
from cluster.base.code import ROOT
from cluster.contract import ByGroup, LeptonError, NotEnough, Objective, Run, Task, View, length
from cluster.contract.split import TEST, TRAIN, VALID, Split
from cluster.contract.task import AnyTask, sent
from cluster.media import Sound
from cluster.training.data import Plan
from cluster.training.embargo import ahead_of
from services.local import catalog
from tests.support import Stream, learner_of, plan_in, questions, stored, trained

SHAPES = sorted(
    f"tests.contract.{path.stem}"
    for path in Path(__file__).parent.glob("[!_]*.py")
    if not path.stem.startswith("test_")
)
NAMES = [*catalog.names(), "tests.toy", "tests.picky", *SHAPES]
WAV = "UklGR"  # how base64 of a WAV begins
ROWS = 160
SERVED_WITHOUT = ("torch", "ray", "mlflow", "sklearn", "transformers", "starlette")

# What a replica does, in a process of its own: load, ask, and say what was imported on the way.
REPLICA = f"""
import importlib, json, sys
from pathlib import Path
import numpy as np
from cluster.contract import Task

module = importlib.import_module(sys.argv[1])
(task,) = [
    kind for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Task) and kind.__module__ == sys.argv[1]
]
drawn = task.inputs.sample(5, np.random.default_rng(5))
asked = {{n: drawn[n] for n in (*task.Input.model_fields, "event_time") if n in drawn}}
outputs = task.load(Path(sys.argv[2])).predict(task.complete(asked))
imported = [name for name in {SERVED_WITHOUT!r} if name in sys.modules]
told = [
    str(output) if isinstance(output, Exception) else output.model_dump(mode="json")
    for output in outputs
]
print(json.dumps([told, imported]))
"""


def find(name: str) -> type[AnyTask]:
    if name in catalog.names():
        return catalog.find(name)
    module = importlib.import_module(name)
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Task) and kind.__module__ == name
    )


GROUPED = [name for name in NAMES if isinstance(find(name).split, ByGroup)]


@dataclass
class Artefact:
    """A capability that was trained on made-up rows, and the folder that it was saved in."""

    task: Any
    folder: Path
    plan: Plan


@pytest.fixture(scope="module")
def artefacts() -> dict[str, Artefact]:
    return {}


@pytest.fixture
def artefact(
    name: str, artefacts: dict[str, Artefact], tmp_path_factory: pytest.TempPathFactory
) -> Artefact:
    """The capability's artefact, made when the first test needs it."""
    if name not in artefacts:
        folder = tmp_path_factory.mktemp(name)
        kind = find(name)
        plan = plan_in(kind, stored(kind, folder / "features", rows=ROWS), rows=ROWS)
        task = trained(kind, plan, folder / "version")
        artefacts[name] = Artefact(task, folder / "version", plan)
    return artefacts[name]


def alike(one: object, other: object) -> bool:
    """Equal, with room for how a float is rounded when more rows are computed at once."""
    if isinstance(one, str) and isinstance(other, str) and {one[:5], other[:5]} == {WAV}:
        a, b = (Sound().read(sound).samples for sound in (one, other))
        return len(a) == len(b) and bool(np.allclose(a, b, atol=2**-15))
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(one[k], other[k]) for k in one)
        case list() | tuple(), list() | tuple():
            return len(one) == len(other) and all(map(alike, one, other))
        case float(), float():
            return one == pytest.approx(other, rel=1e-4, abs=1e-6)
    return one == other


def dumped(outputs: Sequence[BaseModel | LeptonError]) -> list[Any]:
    """The answers as they cross the network; of a row that was refused, the error."""
    return [
        str(output) if isinstance(output, LeptonError) else output.model_dump(mode="json")
        for output in outputs
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_declares_what_the_contract_asks_for(name: str) -> None:
    task = find(name)
    assert issubclass(task, Task)
    assert all(issubclass(kind, BaseModel) for kind in (task.Config, task.Input, task.Output))
    views = (task.inputs, task.examples, *task.features, *task.live, *task.tables, *task.outcomes)
    assert all(isinstance(view, View) for view in views)
    assert isinstance(task.split, Split)
    assert isinstance(task.objective, Objective)
    assert task.Config() == task.Config.parse()


@pytest.mark.parametrize("name", NAMES)
def test_its_path_is_its_name_and_its_docstring_says_what_it_does(name: str) -> None:
    task = find(name)
    assert task.name() == name
    assert task.summary().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_caller_must_send_are_columns_of_its_inputs(name: str) -> None:
    task = find(name)
    required = {field for field, info in task.Input.model_fields.items() if info.is_required()}
    assert required <= set(task.inputs.schema)
    assert not required & set(task.truth)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_learns_from_holds_its_truth(name: str) -> None:
    task = find(name)
    columns = {name for view in (task.examples, *task.features) for name in view.schema}
    names = task.feature_names()
    later = {name for view in ahead_of(task).views for name in names[view.name].values()}
    assert set(task.truth) <= columns | later


@pytest.mark.parametrize("name", NAMES)
def test_a_sent_row_and_a_stored_row_make_the_same_question(name: str) -> None:
    task = find(name)
    asked = {n: c for n, c in questions(task, 3).items() if n in task.Input.model_fields}
    rows = [{column: sent(asked[column][row]) for column in asked} for row in range(3)]
    made = task.batch([task.Input.model_validate(row) for row in rows])
    assert made.keys() == asked.keys()
    assert {c: column.dtype for c, column in made.items()} == {
        c: column.dtype for c, column in asked.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_is_measured_without_seeing_the_truth(name: str, artefact: Artefact) -> None:
    task, examples = artefact.task, artefact.plan.rows(TEST).whole()
    evaluation = task.evaluate(examples)
    assert task.objective.metric in evaluation.metrics
    assert evaluation.rows == length(task.questions(examples))
    hidden = without(task.complete(task.questions(examples)), task.truth)
    assert len(task.predict(hidden)) == evaluation.rows


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_five_answers_as_five_batches_of_one(name: str, artefact: Artefact) -> None:
    five = questions(find(name), 5)
    together = dumped(artefact.task.predict(five))
    alone = [dumped(artefact.task.predict(part))[0] for part in chunks(five, 1)]
    assert len(together) == 5
    assert alike(together, alone)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_saved_and_loaded_answers_the_same(name: str, artefact: Artefact) -> None:
    asked = questions(find(name), 5)
    loaded = find(name).load(artefact.folder)
    assert loaded.config == artefact.task.config
    assert dumped(loaded.predict(asked)) == dumped(artefact.task.predict(asked))


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_survive_json(name: str, artefact: Artefact) -> None:
    answers = artefact.task.predict(questions(find(name), 5))
    outputs = [output for output in answers if not isinstance(output, LeptonError)]
    assert outputs  # one that refuses every row would pass all that follows
    for output in outputs:
        assert isinstance(output, find(name).Output)
        again = find(name).Output.model_validate_json(output.model_dump_json())
        assert dumped([again]) == dumped([output])


@pytest.mark.parametrize("name", GROUPED)
def test_no_group_is_on_two_sides(name: str, artefact: Artefact) -> None:
    plan, split = artefact.plan, find(name).split
    assert isinstance(split, ByGroup)
    parts = [set(plan.rows(part).whole()[split.column]) for part in (TRAIN, VALID, TEST)]
    assert all(parts)
    assert len(set().union(*parts)) == sum(map(len, parts))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_answers(
    name: str, artefact: Artefact, tmp_path: Path
) -> None:
    asked = questions(find(name), 5)
    again = trained(find(name), artefact.plan, tmp_path / "again")
    assert dumped(again.predict(asked)) == dumped(artefact.task.predict(asked))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_teaches_what_rows_in_memory_teach(
    name: str, artefact: Artefact, tmp_path: Path
) -> None:
    learner, plan = learner_of(find(name)), artefact.plan
    run = Run(tables=plan.whole())
    try:
        learner.fit(Stream(plan.rows(TRAIN).whole()), plan.rows(VALID), run)
    except NotEnough:
        pytest.skip(f"{name} learns from rows in memory alone.")
    learner.save(tmp_path)
    asked = questions(find(name), 5)
    assert dumped(learner.predict(asked)) == dumped(artefact.task.predict(asked))


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_answers_the_same_and_imports_nothing_that_training_needs(
    name: str, artefact: Artefact
) -> None:
    asked = [sys.executable, "-c", REPLICA, name, str(artefact.folder)]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    outputs, imported = json.loads(done.stdout)
    assert imported == []
    here = artefact.task.predict(questions(find(name), 5))
    assert alike(outputs, dumped(here))
