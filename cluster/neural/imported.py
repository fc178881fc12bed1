"""Take a model in that was made elsewhere, after it has answered sample rows."""

import json
import tempfile
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
    name, array = _encoded(task, samples(task))
    (folder / f"{GRAPH}.onnx").write_bytes(graph.fitted(name, array, labels))
    task.save_state(folder)
    _ask_samples(kind, folder, path.name)
    return graph.says


def import_folder(
    kind: "type[NeuralTask[Any, Any, Any]]",
    given: Path,
    options: Mapping[str, str],
    folder: Path,
) -> Sequence[str]:
    """Write a network of ours, from a version's folder, or an image classifier of transformers.

    Raises:
        InvalidInput: the folder is none of these, or does not fit.
    """
    if (given / "weights.safetensors").is_file():
        if options:
            raise InvalidInput(
                f"{given.name} holds a network of ours, which takes no {next(iter(options))}=.",
                hint="Leave the options out.",
            )
        return _import_network(kind, given, folder)
    if not ((given / "config.json").is_file() and (given / "model.safetensors").is_file()):
        raise InvalidInput(
            f"{given.name} has neither weights.safetensors, as a version of ours, nor config.json "
            "and model.safetensors, as transformers writes them.",
            hint="Write one with save_pretrained(folder, safe_serialization=True), or give an ONNX "
            "file.",
        )
    from cluster.neural.backbone import export_classifier  # noqa: PLC0415 - torch

    with tempfile.TemporaryDirectory() as made:
        own = export_classifier(given, Path(made))
        files = [Path(made) / "model.onnx", Path(made) / "labels.json"]
        return import_graph(kind, files, {**own, **options}, folder)


def _import_network(
    kind: "type[NeuralTask[Any, Any, Any]]", given: Path, folder: Path
) -> Sequence[str]:
    try:
        task = kind.restored(given)
        task.save(folder)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InvalidInput(
            f"{given.name} does not hold a network of {kind.name()}: {str(error).splitlines()[0]}",
            hint="Give the folder of a version: config.json, state.json, state.safetensors and "
            "weights.safetensors.",
        ) from None
    _ask_samples(kind, folder, given.name)
    return [f"The network of {given.name} was exported anew from its weights."]


def _ask_samples(kind: "type[NeuralTask[Any, Any, Any]]", folder: Path, name: str) -> None:
    """Need an answer to each sample row."""
    task = kind.load(folder)
    for answer in task.answers(samples(task), batch_rows=SAMPLE_ROWS):
        if isinstance(answer, LeptonError) or not isinstance(answer, task.Output):
            raise InvalidInput(f"{name} does not answer sample rows: {answer}")


def samples(task: "NeuralTask[Any, Any, Any]") -> Batch:
    """Made-up rows as they are asked."""
    sample = task.inputs.sample(SAMPLE_ROWS, np.random.default_rng(0))
    sent = {name: sample[name] for name in task.Input.model_fields if name in sample}
    return without(task.complete(sent), task.truth)


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
