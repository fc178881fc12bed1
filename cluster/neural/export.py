"""Turn a trained network into the files that are served: weights and an ONNX graph."""

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_file
from torch import nn

from cluster.base.batch import Arrays
from cluster.base.errors import InvalidInput
from cluster.neural.graphs import TWIN, Ask


class TorchGraphs:
    """The graphs of a network that still is torch's: what `Graphs` is to its exported files.

    Args:
        graphs: parts of the network by name.
        device: where their weights are.

    Attributes:
        first: by the name of each graph the arrays that it was first asked with.
    """

    def __init__(self, graphs: Mapping[str, nn.Module], device: str = "cpu") -> None:
        self.graphs = {name: graph.eval() for name, graph in graphs.items()}
        self.device = device
        self.first: dict[str, Arrays] = {}

    def __call__(self, graph: str, /, **arrays: Any) -> Arrays:
        """Run a graph, without gradients."""
        if graph not in self.graphs:
            raise ValueError(f"graphs() gives {_listed(self.graphs)}; answer() asks {graph!r}")
        self.first.setdefault(graph, arrays)
        with torch.no_grad():
            outputs = self.graphs[graph](**tensors(arrays, self.device))
        named = outputs if isinstance(outputs, dict) else {"output": outputs}
        return {name: tensor.float().cpu().numpy() for name, tensor in named.items()}


def tensors(arrays: Arrays, device: str) -> dict[str, torch.Tensor]:
    """Arrays on a device."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(array)).to(device)
        for name, array in arrays.items()
    }


def export(
    network: nn.Module,
    graphs: Mapping[str, nn.Module],
    answer: Callable[[Ask], object],
    folder: Path,
    *,
    varying: Mapping[str, tuple[int, ...]],
) -> None:
    """Write `weights.safetensors`, and of each graph a file `<name>.onnx`.

    Args:
        network: the trained network, on the CPU.
        graphs: parts of it by name.
        answer: asks each of them with arrays of some rows, which are the examples to trace it by.
        folder: where the files go; it exists.
        varying: axes beside the first, of inputs by name, whose length differs between batches.

    Raises:
        ValueError: `answer` left a graph out.
    """
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(_unshared(weights), folder / "weights.safetensors")
    asked = TorchGraphs(graphs)
    answer(asked)
    if unasked := asked.graphs.keys() - asked.first.keys():
        raise ValueError(
            f"answer() asked {_listed(asked.first)} about training rows, and not "
            f"{_listed(unasked)}: a graph is exported by what it is asked"
        )
    for name, graph in asked.graphs.items():
        export_graph(graph, asked.first[name], folder / f"{name}.onnx", varying=varying)


def load_weights(network: nn.Module, folder: Path) -> None:
    """Give a network the weights of a version.

    Raises:
        InvalidInput: they are those of another network.
    """
    try:
        load_model(network, folder / "weights.safetensors")
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[-1].strip()
        raise InvalidInput(
            f"The weights in {folder} do not fit this network: {why}",
            hint="Train with the knobs of that version, or from nothing.",
        ) from error


def export_graph(
    graph: nn.Module, example: Arrays, path: Path, *, varying: Mapping[str, tuple[int, ...]]
) -> None:
    """Write one graph, whose inputs are called as the arrays of the example."""
    example = {name: _unlike(array, varying.get(name, ())) for name, array in example.items()}
    axes = {name: _axes(name, varying.get(name, ())) for name in example}
    # The exporter puts a loop in the place of an LSTM for as long as it runs; without this, the
    # second export of a process would find the one that unrolls, and a fixed length with it.
    torch.ops.aten.lstm.input._dispatch_cache.clear()  # noqa: SLF001
    torch.ops.aten.gru.input._dispatch_cache.clear()  # noqa: SLF001
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            graph,
            kwargs={name: torch.from_numpy(array) for name, array in example.items()},
            f=path,
            dynamo=True,
            external_data=False,
            dynamic_shapes=axes,
            input_names=list(example),
            output_names=_output_names(graph, example),
            verbose=False,
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"


def _unlike(array: NDArray[Any], varying: tuple[int, ...]) -> NDArray[Any]:
    """Three rows, and varying axes of at least eight: axes of one length would be taken for one."""
    array = array[np.arange(3) % len(array)]
    room = [
        (0, max(0, 8 + axis - n) if axis in varying else 0) for axis, n in enumerate(array.shape)
    ]
    return np.pad(array, room)


def _axes(name: str, varying: tuple[int, ...]) -> dict[int, Any]:
    auto = torch.export.Dim.DYNAMIC
    return {0: auto, **dict.fromkeys(varying, auto)}


def _output_names(graph: nn.Module, example: Arrays) -> list[str]:
    outputs = graph(**{name: torch.from_numpy(array) for name, array in example.items()})
    names = list(outputs) if isinstance(outputs, dict) else ["output"]
    return [f"{name}{TWIN}" if name in example else name for name in names]


def _unshared(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tied weights stand once: safetensors refuses two names for one memory."""
    first: dict[int, str] = {}
    return {
        name: tensor
        for name, tensor in weights.items()
        if first.setdefault(tensor.data_ptr(), name) == name or tensor.numel() == 0
    }


class _quiet(warnings.catch_warnings):  # noqa: N801 - reads as a context manager
    """The exporter talks at length about operators nobody asked for."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
