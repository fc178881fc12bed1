"""Take a model in that was made elsewhere, after it has answered sample rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cluster.base.batch import Batch, without
from cluster.base.errors import InvalidInput, LeptonError
from cluster.neural.fitting import Fitting
from cluster.neural.foreign import ForeignGraph
from cluster.neural.graphs import GRAPH

if TYPE_CHECKING:
    from cluster.neural.task import NeuralTask

SAMPLE_ROWS = 5


def import_graph(
    kind: "type[NeuralTask[Any, Any, Any]]",
    files: Sequence[Path],
    options: Mapping[str, str],
    folder: Path,
) -> Sequence[str]:
    """Write an ONNX graph, and labels where there are any, as `kind.load` reads them.

    Args:
        kind: whose version it becomes.
        files: `model.onnx`, and `labels.json` or `labels.txt`.
        options: see `Fitting`.
        folder: where the files go; it exists.

    Returns:
        Sentences on how the graph is asked.

    Raises:
        InvalidInput: it does not fit; the sentence says what was found and what is needed.
    """
    path, named = _picked(files)
    labels = labels_of_file(named) if named else []
    graph = ForeignGraph(path, Fitting.parse(options))
    task = kind()
    task.state = task.import_state(graph, labels)
    sample = task.inputs.sample(SAMPLE_ROWS, np.random.default_rng(0))
    sent = {name: sample[name] for name in task.Input.model_fields if name in sample}
    asked = without(task.complete(sent), task.truth)
    name, array = _encoded(task, asked)
    (folder / f"{GRAPH}.onnx").write_bytes(graph.fitted(name, array, labels))
    task.save_state(folder)
    answers = kind.load(folder).answers(asked, batch_rows=SAMPLE_ROWS)
    for answer in answers:
        if isinstance(answer, LeptonError) or not isinstance(answer, task.Output):
            raise InvalidInput(f"{graph.path.name} does not answer sample rows: {answer}")
    return graph.says


def _picked(files: Sequence[Path]) -> tuple[Path, Path | None]:
    """The graph and the file of labels among some files."""
    graphs = [path for path in files if path.suffix.lower() == ".onnx"]
    named = [path for path in files if path.suffix.lower() in {".json", ".txt"}]
    if len(graphs) != 1 or len(named) > 1 or len(files) != len(graphs) + len(named):
        given = ", ".join(path.name for path in files) or "none"
        raise InvalidInput(
            f"One ONNX file is needed, and at most one file of labels; given: {given}.",
            hint="Write: import TASK model.onnx labels.json",
        )
    return graphs[0], named[0] if named else None


def _encoded(task: "NeuralTask[Any, Any, Any]", asked: Batch) -> tuple[str, NDArray[Any]]:
    """The only array that rows are encoded as, and its name."""
    try:
        arrays = task.encode(asked)
    except KeyError as error:
        raise InvalidInput(
            f"{task.name()} cannot encode rows for a graph alone: it needs {error}.",
            hint=f"Train it instead: python -m services train {task.name()}",
        ) from None
    if len(arrays) != 1:
        raise InvalidInput(
            f"{task.name()} encodes rows as {len(arrays)} arrays ({', '.join(arrays)}); a graph "
            "made elsewhere is given one.",
            hint=f"Train it instead: python -m services train {task.name()}",
        )
    ((name, array),) = arrays.items()
    return name, array


def labels_of_file(path: Path) -> list[str]:
    """Labels in the order of a model's outputs: a JSON list, `{"0": "cat"}`, or lines of text.

    Raises:
        InvalidInput: it holds none, or one twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        held = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except ValueError as error:
        raise InvalidInput(f"{path.name} cannot be read: {error}.") from None
    if isinstance(held, dict):
        if {*held} != {str(number) for number in range(len(held))}:
            raise InvalidInput(
                f"The keys of {path.name} are not 0 to {len(held) - 1}.",
                hint='Write {"0": "cat", "1": "dog"}, or a list.',
            )
        held = [held[str(number)] for number in range(len(held))]
    if not isinstance(held, list) or not all(isinstance(one, str) and one for one in held):
        raise InvalidInput(
            f"{path.name} is no list of labels.",
            hint='Write ["cat", "dog"], in the order of outputs.',
        )
    if doubled := sorted({label for label in held if held.count(label) > 1}):
        raise InvalidInput(
            f"{path.name} has the label {doubled[0]!r} {held.count(doubled[0])} times.",
            hint="Give every output a label of its own.",
        )
    return held
