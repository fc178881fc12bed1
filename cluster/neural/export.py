"""Turn a trained network into the files that are served: weights and an ONNX graph."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from cluster.base.batch import Arrays


def export(
    network: nn.Module, example: Arrays, folder: Path, *, varying: Mapping[str, tuple[int, ...]]
) -> None:
    """Write `weights.safetensors` and `model.onnx`.

    Args:
        network: the trained network, on any device.
        example: encoded arrays of some rows; their names are the graph's inputs.
        folder: where the files go; it exists.
        varying: axes beside the first whose length differs between batches.
    """
    network = network.cpu().float().eval()
    example = {name: _unlike(array, varying.get(name, ())) for name, array in example.items()}
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(_unshared(weights), folder / "weights.safetensors")
    axes = {name: _axes(name, varying.get(name, ())) for name in example}
    # The exporter puts a loop in the place of an LSTM for as long as it runs; without this, the
    # second export of a process would find the one that unrolls, and a fixed length with it.
    torch.ops.aten.lstm.input._dispatch_cache.clear()  # noqa: SLF001
    torch.ops.aten.gru.input._dispatch_cache.clear()  # noqa: SLF001
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            network,
            kwargs={name: torch.from_numpy(array) for name, array in example.items()},
            f=folder / "model.onnx",
            dynamo=True,
            external_data=False,
            dynamic_shapes=axes,
            input_names=list(example),
            output_names=_output_names(network, example),
            verbose=False,
        )


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


def _output_names(network: nn.Module, example: Arrays) -> list[str]:
    outputs = network(**{name: torch.from_numpy(array) for name, array in example.items()})
    return list(outputs) if isinstance(outputs, dict) else ["output"]


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
