"""Supply fit, predict, save and load for any capability that is a torch network.

A replica never trains, so nothing here imports torch until `fit` does: what is served is the ONNX
graph in ONNX Runtime, and what is evaluated is that same graph.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from pydantic import BaseModel

from cluster.base.batch import Arrays, Batch, length, load_arrays, save_arrays, without
from cluster.base.errors import LeptonError
from cluster.contract.rows import Rows, mapped
from cluster.contract.run import Run
from cluster.contract.task import Task
from cluster.neural.config import NeuralConfig
from cluster.neural.graphs import GRAPH, Ask, Graphs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cluster.neural.foreign import ForeignGraph

State = dict[str, Any]
"""What must be known before a network is made: labels, tokenizer, normalisation. NumPy arrays are
kept in `state.safetensors`, lists and dicts each in a `<name>.json`, the rest in `state.json`."""

SETTLED_ROWS = 2_048
EXPORTED_ROWS = 64  # that `answer` is asked when graphs are exported: questions may regroup them

C = TypeVar("C", bound=NeuralConfig)
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - the letters of Config, Input, Output
O = TypeVar("O", bound=BaseModel)  # noqa: E741


class Turn(NamedTuple):
    """A part of a network that is trained while all else is frozen, and the loss it minimises.

    Attributes:
        part: the module whose weights are trained.
        loss: called as `NeuralTask.loss` is, with the whole network.
    """

    part: "nn.Module"
    loss: "Callable[[Any, dict[str, Tensor], dict[str, Tensor]], Tensor]"


class NeuralTask(Task[C, I, O], Generic[C, I, O]):
    """A capability whose model is a network.

    A subclass supplies `study`, `network`, `encode`, `encode_truth`, `decode` and `score`; the rest
    has defaults. The network's `forward` takes what `encode` gives, by name, and returns a tensor
    or a dict of tensors with the rows along the first axis. One that is asked otherwise, such as a
    decoder in a loop, has `graphs` and `answer` in place of `decode`.

    Training curves, evaluation and serving call `answer` on `questions(rows)`: with the torch
    network while it learns, with the exported graphs from then on.

    Attributes:
        state: what `study` found.
        varying: axes of what graphs are asked with, beside the first, whose length differs between
            batches: `{"ids": (1,)}`. Say in `lengths` how long rows are, or they are encoded anew
            whenever a batch of them is learnt from.
    """

    varying: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    parallel = True  # the loop sums gradients over workers; `study` agrees through `run`

    def __init__(self, config: C | None = None) -> None:
        super().__init__(config)
        self.state: State = {}
        self.curves: list[dict[str, float]] = []
        self._trained: nn.Module | None = None
        self._sample: Batch = {}
        self._valid: Batch = {}
        self._graphs: Graphs | None = None

    def study(self, train: Rows, run: Run) -> State:
        """Find what must be known before a network is made; workers agree through `run`."""
        del train, run
        return {}

    @abstractmethod
    def network(self, state: State) -> "nn.Module":
        """The untrained network."""

    @abstractmethod
    def encode(self, batch: Batch) -> Arrays:
        """Rows to arrays; training, evaluation and serving alike."""

    @abstractmethod
    def encode_truth(self, batch: Batch) -> Arrays:
        """The truth of the rows as arrays."""

    def lengths(self, arrays: Arrays) -> Arrays:
        """How long each row is in padded arrays, so that a batch is cut to its longest row.

        Without this, nothing but `encode` knows: a zero may be padding, or a value.

        Args:
            arrays: what `encode` or `encode_truth` gave.

        Returns:
            By the names of those that are padded, lengths `[n]` along the second axis, or
            `[n, axes]` along those after the first.
        """
        del arrays
        return {}

    @classmethod
    def gives_lengths(cls) -> bool:
        """Whether `lengths` says how long rows are; otherwise nothing but `encode` knows."""
        return cls.lengths is not NeuralTask.lengths

    def augment(
        self, arrays: Arrays, truth: Arrays, rng: np.random.Generator
    ) -> tuple[Arrays, Arrays]:
        """Vary a training batch; by default not at all."""
        del rng
        return arrays, truth

    def loss(
        self, network: "nn.Module", tensors: "dict[str, Tensor]", truth: "dict[str, Tensor]"
    ) -> "Tensor":
        """Call the network and say how wrong it is; by default the cross-entropy of one label."""
        from torch.nn import functional  # noqa: PLC0415 - replicas import no torch

        (label,) = truth.values()
        logits = network(**tensors)
        return functional.cross_entropy(logits, label, label_smoothing=self.config.label_smoothing)

    def turns(self, network: "nn.Module") -> Sequence[Turn]:
        """The parts that a step trains, one after the other; by default the network by `loss`.

        Each has an optimizer of its own, and no gradient from another's loss. Weights that are in
        no turn stay as they are.
        """
        return [Turn(network, self.loss)]

    def graphs(self, network: "nn.Module") -> "Mapping[str, nn.Module]":
        """The parts that are exported, each as `<name>.onnx`; by default the network, as `model`.

        The names of a part's inputs are those that `answer` asks it with.
        """
        return {GRAPH: network}

    def answer(self, ask: Ask, batch: Batch) -> Sequence[O | LeptonError]:
        """Answer each row by asking graphs; by default `model` once.

        A decoder or a sampler asks in a loop. Every graph must be asked for any row, since it is
        exported by what it was asked.

        Args:
            ask: runs a graph: `ask("decoder", ids=..., state=...)`.
            batch: every column of Input, options included, and none of the truth.
        """
        return self.decode(ask(GRAPH, **self.encode(batch)), batch)

    def decode(self, outputs: Arrays, batch: Batch) -> Sequence[O | LeptonError]:
        """The network's outputs as answers; sees the rows, and so each caller's options.

        A network that returns one tensor has it under the name `output`.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither decode() nor answer().")

    def settle(self, valid: Batch) -> State:
        """What is decided once the exported graphs answer: a threshold, a temperature, an interval.

        It is kept with the state; `self.predict` may be called in here. Without validation rows it
        is not called, so `answer` needs a default: `self.state.get("threshold", 0.5)`.

        Args:
            valid: validation rows as they are asked, with their truth: 2,048 at most.
        """
        del valid
        return {}

    @classmethod
    def import_state(cls, graph: "ForeignGraph", labels: Sequence[str]) -> State:
        """What `encode` and `decode` need for a graph made elsewhere; by default its labels."""
        del graph
        return {"labels": list(labels)} if labels else {}

    @classmethod
    def import_model(
        cls, files: Sequence[Path], options: Mapping[str, str], folder: Path
    ) -> Sequence[str]:
        """Write an ONNX graph with nodes around it that fit it to `encode`, or export a folder.

        `labels.json` or `labels.txt` beside a graph names its outputs. A folder is a version of
        ours from another home, or an image classifier of transformers.
        """
        from cluster.neural.imported import import_folder, import_graph  # noqa: PLC0415 - replicas import no onnx

        if len(files) == 1 and files[0].is_dir():
            return import_folder(cls, files[0], options, folder)
        return import_graph(cls, files, options, folder)

    @classmethod
    def restored(cls, folder: Path) -> Self:
        """A network out of config, state and weights, ready for `save` to export."""
        from cluster.neural.export import load_weights  # noqa: PLC0415 - replicas import no torch

        task = super().load(folder)
        task.state = _load_state(folder)
        task._trained = task.network(task.state)  # noqa: SLF001 - its own instance
        load_weights(task._trained, folder)  # noqa: SLF001
        task._sample = task.examples.sample(EXPORTED_ROWS, np.random.default_rng(0))  # noqa: SLF001
        return task

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """Study the rows, then train the network on them with the one loop."""
        from cluster.neural.loop import train as train_network  # noqa: PLC0415 - replicas import no torch

        train, valid = mapped(train, self.complete), mapped(valid, self.complete)
        self.state = _load_state(run.start) if run.start else self.study(train, run)
        self._trained = train_network(self, train, valid, run)
        self._sample = next(iter(train.batches(EXPORTED_ROWS)))
        self._valid = next(iter(valid.batches(SETTLED_ROWS)), {})

    def predict(self, batch: Batch) -> Sequence[Any]:
        """Answer by the exported graphs: Outputs, and errors of ours for rows that are refused."""
        return self.answer(self._graphs or unsaved, batch)

    def save(self, folder: Path) -> None:
        """Write config, state, weights, the ONNX graphs and the curves.

        The task then answers from that folder, so what is evaluated is what will be served.
        """
        from cluster.neural.export import export  # noqa: PLC0415 - replicas import no torch

        if self._trained is None:
            raise RuntimeError("save() comes after fit(): there is no trained network yet")
        network = self._trained.cpu().float().eval()
        answer = partial(self.answer, batch=without(self.asked(self._sample), self.truth))
        export(network, self.graphs(network), answer, folder, varying=self.varying)
        self._graphs = Graphs(folder)
        if length(self._valid):
            self.state |= self.settle(self.asked(self._valid))
        self.save_state(folder)

    def save_state(self, folder: Path) -> None:
        """Write config, state and curves: all that `load` reads, without a network."""
        super().save(folder)
        _save_state(self.state, folder)
        (folder / "curves.json").write_text(json.dumps(self.curves))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, without torch."""
        task = super().load(folder)
        task.state = _load_state(folder)
        task.curves = json.loads((folder / "curves.json").read_bytes())
        task._graphs = Graphs(folder)  # noqa: SLF001 - its own instance
        return task


def unsaved(graph: str, /, **arrays: Any) -> Arrays:
    """Refuse, as a task does that was neither saved nor loaded."""
    del graph, arrays
    raise RuntimeError("predict() comes after save() or load(): the exported graphs answer")


def _save_state(state: State, folder: Path) -> None:
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    large = {name: value for name, value in state.items() if isinstance(value, dict | list)}
    if taken := large.keys() & {"config", "curves", "state", "manifest"}:
        raise ValueError(f"study() names {taken} what are files of every version; rename it")
    small = {name: value for name, value in state.items() if name not in arrays | large}
    save_arrays(arrays, folder / "state.safetensors")
    for name, value in large.items():
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False))
    (folder / "state.json").write_text(json.dumps({"values": small, "files": sorted(large)}))


def _load_state(folder: Path) -> State:
    state = json.loads((folder / "state.json").read_bytes())
    large = {name: json.loads((folder / f"{name}.json").read_bytes()) for name in state["files"]}
    return {**state["values"], **large, **load_arrays(folder / "state.safetensors")}
