"""Write a version's model card: what it learnt from, what it scored, its curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.base.markdown import table
from cluster.contract.task import AnyTask, Evaluation
from cluster.registry.versions import Manifest

Curves = Sequence[Mapping[str, float]]


def write_card(
    folder: Path,
    manifest: Manifest,
    evaluation: Evaluation,
    curves: Curves,
    *,
    summary: str,
    warnings: Sequence[str] = (),
) -> None:
    """Write `card.md`, and `curves.png` where there are curves.

    Args:
        folder: the version's folder.
        manifest: what the version is; its number is not known yet.
        evaluation: what the artefact scored on the test rows.
        curves: one point per epoch, with `epoch`, `loss` and the metrics watched.
        summary: what the capability does, in one sentence.
        warnings: what the scores cannot tell.
    """
    if curves:
        draw_curves(curves, folder / "curves.png", title=manifest.task)
    knobs = table(("knob", "value"), [(k, str(v)) for k, v in manifest.config.items()])
    data = table(("part", "rows"), [(k, f"{v:,}") for k, v in manifest.rows.items()])
    views = ", ".join(_view(name, held) for name, held in manifest.views.items())
    parted = f", parted by `{manifest.split}`" if manifest.split else ""
    learnt = f"View {views}{parted}." if views else "Which rows it learnt from is not known."
    refused = f" {evaluation.refused:,} of them were refused and not scored." * bool(
        evaluation.refused
    )
    picture = "\n![Loss and metrics by epoch](curves.png)\n" if curves else ""
    cautions = "".join(f"**Warning:** {sentence}\n\n" for sentence in warnings)
    (folder / "card.md").write_text(
        f"# {manifest.task}\n\n{summary}\n\nMade {manifest.created:%Y-%m-%d %H:%M} UTC by run "
        f"`{manifest.run}`{_how(manifest)}.\n\n"
        f"## Data\n\n{learnt}\n\n{data}\n"
        f"## Metrics\n\nOn {evaluation.rows:,} questions, by the files that are served."
        f"{refused}\n\n"
        f"{cautions}{_scores(evaluation)}{picture}\n{evaluation.details}\n\n"
        f"## Configuration\n\n{knobs}"
    )


def below_reference(task: AnyTask, evaluation: Evaluation) -> str:
    """A sentence where the reference scores better, else nothing."""
    reference, goal = evaluation.reference, task.objective
    if reference is None:
        return ""
    mine, simple = evaluation.metrics[goal.metric], reference.metrics[goal.metric]
    if goal.better(mine, simple):
        return ""
    return (
        f"{task.name()} scores {goal.metric} {mine:.4f}, worse than {reference.model} trained on "
        f"the same rows ({simple:.4f}). Try other settings: python -m services tasks {task.name()}"
    )


def _scores(evaluation: Evaluation) -> str:
    """The metrics as a table, those of the reference beside them."""
    reference = evaluation.reference
    if reference is None:
        return table(("metric", "test"), [(k, f"{v:.4f}") for k, v in evaluation.metrics.items()])
    beside = {name: f"{value:.4f}" for name, value in reference.metrics.items()}
    return table(
        ("metric", "test", f"reference: {reference.model}"),
        [(k, f"{v:.4f}", beside.get(k, "")) for k, v in evaluation.metrics.items()],
    )


def _how(manifest: Manifest) -> str:
    """How a version was made, or the files that it was imported from."""
    if not manifest.source:
        return f" with seed {manifest.seed} on {manifest.workers} worker(s)"
    files = ", ".join(f"`{name}` (SHA-256 {digest})" for name, digest in manifest.source.items())
    return f" from {files}"


def _view(name: str, held: Mapping[str, Any]) -> str:
    """A view and which rows of it, where any of its own are stored; of a model view its release."""
    release = f" of release {held['release']}" if "release" in held else ""
    commit = f" at commit {held['commit']}" if "commit" in held else ""
    return f"{name}{release}{commit}"


def draw_curves(curves: Curves, path: Path, *, title: str) -> None:
    """Plot the loss and the watched metrics by epoch as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, only when training ends
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    epochs = [point["epoch"] for point in curves]
    metrics = [n for n in curves[-1] if n not in {"step", "epoch", "loss", "lr"}]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [point["loss"] for point in curves], marker=".")
    left.set(xlabel="epoch", ylabel="training loss", title=title)
    for name in metrics:
        right.plot(epochs, [point[name] for point in curves], marker=".", label=name)
    right.set(xlabel="epoch", ylabel="on watched rows")
    if metrics:
        right.legend()
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=110)
