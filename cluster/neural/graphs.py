"""Run the exported graphs of a version in ONNX Runtime: the one place that opens sessions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cluster.base.batch import Arrays

if TYPE_CHECKING:
    import onnxruntime

GRAPH = "model"
"""The graph of a network that is exported as a whole."""
TWIN = ".out"
"""Suffix of an exported output whose name an input of the same graph has."""


class Ask(Protocol):
    """Runs one graph of a network: `ask("decoder", ids=..., state=...)`."""

    def __call__(self, graph: str, /, **arrays: Any) -> Arrays:
        """Outputs by name, rows along the first axis; a graph's only tensor is called `output`."""


class Graphs:
    """The exported graphs of a version; a session is opened at the first call of its graph.

    Args:
        folder: holds a file `<name>.onnx` for each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, tuple[onnxruntime.InferenceSession, Sequence[str]]] = {}

    def __call__(self, graph: str, /, **arrays: Any) -> Arrays:
        """Run a graph."""
        session, outputs = self._opened.get(graph) or self._open(graph)
        return dict(zip(outputs, session.run(None, arrays), strict=True))

    def _open(self, graph: str) -> "tuple[onnxruntime.InferenceSession, Sequence[str]]":
        session = open_session(self.folder / f"{graph}.onnx")
        self._opened[graph] = (
            session,
            [output.name.removesuffix(TWIN) for output in session.get_outputs()],
        )
        return self._opened[graph]


def open_session(path: Path) -> "onnxruntime.InferenceSession":
    """A session for one ONNX file, on one CPU thread."""
    import onnxruntime  # noqa: PLC0415 - a second that training and tests need not pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # replicas scale by number; a pool each would thrash
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
