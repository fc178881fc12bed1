"""Register a model that was made elsewhere as a version: checked, then measured where rows are."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from cluster.base.code import capability_digest
from cluster.base.errors import InvalidInput, NotFound
from cluster.contract.run import Run
from cluster.contract.split import TEST
from cluster.contract.task import AnyTask, Evaluation
from cluster.registry.card import write_card
from cluster.registry.versions import Manifest, Registry, now
from cluster.training.data import Plan
from cluster.training.steps import RECORDED, measure

PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin", ".sav"}


@dataclass(frozen=True)
class Import:
    """A model that was made elsewhere, and whose version it is to become.

    Args:
        task: whose Input and Output it is asked by.
        files: the model and what belongs to it.
        options: how its inputs are made.
        plan: the rows that it is measured on; None where no rows are stored.
        home: where Lepton keeps its state.
    """

    task: type[AnyTask]
    files: Sequence[Path]
    options: Mapping[str, str]
    plan: Plan | None
    home: Path
    source: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        files = [one for path in self.files for one in _contents(path)]
        object.__setattr__(self, "source", {path.name: _sha256(path) for path in files})

    @property
    def run(self) -> str:
        """A name that the same files, options, code and rows always give."""
        parts = [capability_digest(self.task), json.dumps([self.source, dict(self.options)])]
        parts += [self.plan.identity] if self.plan else []
        return (
            f"{self.task.name()}-import-{hashlib.sha256(''.join(parts).encode()).hexdigest()[:12]}"
        )


def register(wanted: Import, say: Callable[[str], None]) -> Manifest:
    """Check a model on sample rows and write it as a version; measure it where rows are stored.

    Raises:
        InvalidInput: it does not fit the capability; the sentence says why.
    """
    task, plan = wanted.task, wanted.plan

    def fill(folder: Path) -> Manifest:
        for sentence in task.import_model(wanted.files, wanted.options, folder):
            say(sentence)
        artefact = task.load(folder)
        evaluation = measure(plan, artefact, Run()) if plan else Evaluation({}, 0)
        reference = evaluation.reference
        manifest = Manifest(
            task=task.name(),
            version=0,
            created=now(),
            run=wanted.run,
            config=dict(wanted.options),
            metrics=evaluation.metrics,
            reference=reference.metrics if reference else {},
            objective=task.objective.metric,
            direction=task.objective.direction,
            rows={TEST: evaluation.rows},
            views={},  # it learnt from no rows of ours
            seed=0,
            workers=0,
            code=capability_digest(task),
            source=wanted.source,
            packages={
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in RECORDED},
            },
        )
        write_card(folder, manifest, evaluation, [], summary=task.summary())
        return manifest

    return Registry(wanted.home).write(task.name(), fill)


def files_of(given: Sequence[str]) -> list[Path]:
    """Paths of files that are there, none of which is a pickle.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is a pickle, which runs code when it is opened.
    """
    paths = [Path(one).expanduser() for one in given]
    for path in paths:
        if path.suffix.lower() in PICKLES:
            raise InvalidInput(
                f"{path.name} may be a pickle, which runs code when it is opened: it is not read.",
                hint="Export the model to ONNX, with torch.onnx.export(model, args, 'model.onnx', "
                "dynamo=True, external_data=False), skl2onnx or onnxmltools.",
            )
        if not path.exists():
            raise NotFound(f"There is no file {path}.", hint="Name an ONNX file.")
    return paths


def _contents(path: Path) -> list[Path]:
    """The file and those beside it that hold its weights, or the files of a folder."""
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.is_file())
    if path.suffix.lower() != ".onnx":
        return [path]
    from cluster.neural.foreign import external, parsed  # noqa: PLC0415 - onnx, only for a graph

    beside = [path.parent / name for name in external(parsed(path))]
    return [path, *(one for one in beside if one.is_file())]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
