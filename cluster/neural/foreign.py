"""Fit an ONNX graph that was made elsewhere to the arrays that a capability encodes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, external_data_helper, helper, numpy_helper

from cluster.base.batch import Arrays
from cluster.base.errors import InvalidInput
from cluster.neural.fitting import Fitting, Layout

GIVEN = "given."  # begins every name of the graph as it was given
FIRST_OPSET, LARGEST_BYTES = 7, 2 * 2**30 - 1  # before it nothing broadcasts; protobuf's own limit
TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
}


@dataclass
class ForeignGraph:
    """An ONNX graph that was made elsewhere, with one input of numbers.

    Args:
        path: its file.
        fitting: how arrays are brought to it.
        unit: whether what it gives is brought to unit length.
        says: sentences on how it is asked.

    Raises:
        InvalidInput: the file is no ONNX graph, or one that cannot be fitted.
    """

    path: Path
    fitting: Fitting
    unit: bool = False
    says: list[str] = field(default_factory=list)
    model: Any = field(init=False)

    def __post_init__(self) -> None:
        self.model = read(self.path)
        graph = self.model.graph
        constants = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise InvalidInput(
                f"{self.path.name} has {len(inputs)} inputs ({_listed(inputs)}); one is needed.",
                hint="Export the model with one input of numbers.",
            )
        (self.input,) = inputs
        if self.input.type.tensor_type.elem_type not in TYPES.values():
            raise InvalidInput(
                f"The input {self.input.name!r} of {self.path.name} is {_type(self.input)}; "
                f"float32, float64, uint8, int32 or int64 is needed.",
                hint="Export the model with an input of numbers.",
            )
        self.axes = [axis.dim_value or None for axis in self.input.type.tensor_type.shape.dim]
        if self.axes and self.axes[0] is not None:
            raise InvalidInput(
                f"The first axis of {self.input.name!r} of {self.path.name} is fixed at "
                f"{self.axes[0]}; requests come in batches of any size.",
                hint="Export it with a dynamic first axis (dynamic_shapes= in torch.onnx.export).",
            )
        self.layout = self.fitting.layout or self._guessed_layout()

    def picture(self) -> tuple[int, int, int]:
        """Channels, height and width of the pictures that the graph takes.

        Raises:
            InvalidInput: it takes none, or does not say.
        """
        axes, size = self.axes, self.fitting.size
        if self.layout == "flat" and len(axes) == 2 and size:
            return self._flat_picture(size)
        if len(axes) != 4:
            raise InvalidInput(
                f"{self.path.name} takes arrays of {len(axes)} axes; pictures have 4, or 2 with "
                "layout=flat and size=.",
                hint="Give layout=flat size=28x28 if it takes pictures as rows of numbers.",
            )
        order = axes[1:] if self.layout == "nchw" else [axes[3], axes[1], axes[2]]
        channels, sides = order[0] or 3, [*order[1:]]
        if channels not in (1, 3):
            raise InvalidInput(
                f"{self.path.name} takes {channels} channels as {self.layout}; pictures have 1 or "
                "3.",
                hint="Give layout=nhwc or layout=nchw.",
            )
        wanted = size or (0, 0)
        for side, given in zip(sides, wanted, strict=True):
            if not (side or given) or (side and given and side != given):
                fixed = "x".join(str(one or "any") for one in sides)
                raise InvalidInput(
                    f"{self.path.name} takes pictures of {fixed} as {self.layout}; "
                    + (f"size={size[0]}x{size[1]} does not fit." if size else "it fixes no size."),
                    hint="Give the size that it was trained with: size=224x224.",
                )
        return channels, sides[0] or wanted[0], sides[1] or wanted[1]

    def _flat_picture(self, size: tuple[int, int]) -> tuple[int, int, int]:
        area = math.prod(size)
        channels = (self.axes[1] or area) / area
        if channels not in (1, 3):
            raise InvalidInput(
                f"{self.path.name} takes {self.axes[1]:,} numbers a row, and pictures of "
                f"{size[0]}x{size[1]} have {area:,} or {3 * area:,}.",
                hint="Give the size= that it was trained with.",
            )
        return int(channels), *size

    def fitted(self, name: str, array: NDArray[Any], labels: Sequence[str]) -> bytes:
        """The graph with what it needs before and after it, as a file's bytes.

        Args:
            name: what the capability calls the array.
            array: encoded sample rows.
            labels: of each number that the graph gives, its name; none where it gives no labels.

        Raises:
            InvalidInput: ONNX Runtime cannot open it, or it does not answer the sample rows with
                finite numbers, one for each label.
        """
        source = self._chosen_output()
        made = self._joined(name, array, source, log=False)
        outputs = self._run(made, {name: array}, len(array))
        if labels and outputs.shape[1] != len(labels):
            raise InvalidInput(
                f"{self.path.name} gives {outputs.shape[1]:,} numbers a row, and there are "
                f"{len(labels):,} labels.",
                hint="Give as many labels, in the order of its outputs.",
            )
        if labels and (outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=1e-3):
            self.says.append("Its outputs are probabilities and are kept as they are.")
            made = self._joined(name, array, source, log=True)
            self._run(made, {name: array}, len(array))
        if array.ndim == 4:
            self.says.insert(0, self._asked(array))
        return made

    def _guessed_layout(self) -> Layout:
        if len(self.axes) == 2:
            return "flat"
        last = len(self.axes) == 4 and self.axes[3] in (1, 3) and self.axes[1] not in (1, 3)
        return "nhwc" if last else "nchw"

    def _chosen_output(self) -> str:
        """The output that answers: the one named, the only one, or the only one of floats."""
        outputs = list(self.model.graph.output)
        floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
        numbers = [one for one in outputs if one.type.tensor_type.elem_type in floats]
        if name := self.fitting.output:
            numbers = [one for one in numbers if one.name == name]
        if len(numbers) != 1:
            raise InvalidInput(
                f"{self.path.name} gives {_listed(outputs)}; one output of floats is needed"
                + (f", and {name!r} is none." if name else "."),
                hint="Name one with output=NAME; export scikit-learn's with zipmap=False.",
            )
        return str(numbers[0].name)

    def _joined(self, name: str, array: NDArray[Any], source: str, *, log: bool) -> bytes:
        """The graph between nodes that bring the array to its input, and its output to ours."""
        model = compose.add_prefix(self.model, GIVEN)
        graph, steps = model.graph, Steps(name)
        self._before(steps, array)
        steps.add("Cast", to=self.input.type.tensor_type.elem_type)
        steps.nodes[-1].output[0] = GIVEN + self.input.name
        after = Steps(GIVEN + source, "after")
        after.add("Cast", to=TensorProto.FLOAT)
        if log:  # decoders take the softmax of what a graph gives
            after.add("Max", np.float32(1e-30))
            after.add("Log")
        if self.unit:
            after.add("LpNormalization", axis=-1, p=2)
        after.nodes[-1].output[0] = "output"
        nodes = [*steps.nodes, *graph.node, *after.nodes]
        del graph.node[:], graph.output[:]
        graph.node.extend(nodes)
        graph.initializer.extend([*steps.constants, *after.constants])
        kept = [one for one in graph.input if one.name != GIVEN + self.input.name]
        del graph.input[:], graph.value_info[:]
        shape = ["rows", *array.shape[1:]]
        graph.input.extend([helper.make_tensor_value_info(name, TYPES[array.dtype], shape), *kept])
        graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, None))
        return bytes(model.SerializeToString())

    def _scale(self, array: NDArray[Any]) -> float:
        """What values are divided by: bytes are brought to 0 to 1 where the graph takes floats."""
        floats = self.input.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)
        return self.fitting.scale or (255.0 if floats and array.dtype == np.uint8 else 1.0)

    def _before(self, steps: "Steps", array: NDArray[Any]) -> None:
        """Scale, shift and turn an array `[n, channels, ...]` as the fitting says."""
        if (scale := self._scale(array)) != 1 or self.fitting.mean or self.fitting.std:
            steps.add("Cast", to=TensorProto.FLOAT)
            steps.add("Div", np.float32(scale))
        for name, kind in (("mean", "Sub"), ("std", "Div")):
            values = getattr(self.fitting, name)
            if len(values) not in (0, 1, array.shape[1]):
                raise InvalidInput(
                    f"{name}= has {len(values)} numbers; {self.path.name} takes "
                    f"{array.shape[1]} channels.",
                    hint="Give one number, or one for each channel.",
                )
            if values:
                shape = (1, -1, *[1] * (array.ndim - 2))
                steps.add(kind, np.array(values, np.float32).reshape(shape))
        if array.ndim == 4 and self.layout != "nchw":
            steps.add("Transpose", perm=[0, 2, 3, 1])
        if array.ndim == 4 and self.layout == "flat":
            steps.add("Reshape", np.array([0, -1], np.int64))

    def _asked(self, array: NDArray[Any]) -> str:
        """How pictures are given to it, in a sentence."""
        _, channels, height, width = array.shape
        mean, std = _told(self.fitting.mean), _told(self.fitting.std)
        return (
            f"Pictures are given as {self.layout}, {height}x{width} with {channels} "
            f"channel{'s' * (channels > 1)}, divided by {self._scale(array):g}"
            + f", less mean {mean}" * bool(mean)
            + f", divided by std {std}" * bool(std)
            + "."
        )

    def _run(self, made: bytes, arrays: Arrays, rows: int) -> NDArray[Any]:
        import onnxruntime  # noqa: PLC0415 - a second

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                made, options, providers=["CPUExecutionProvider"]
            )
            (found,) = session.run(None, arrays)
        except Exception as error:  # whatever a foreign graph may lead ONNX Runtime to raise
            first = str(error).strip().splitlines()[0]
            raise InvalidInput(
                f"ONNX Runtime {onnxruntime.__version__} does not run {self.path.name} on "
                f"{rows} sample rows: {first}",
                hint="Check layout= and size=, or export it with operators of ONNX alone.",
            ) from None
        if found.ndim != 2 or len(found) != rows:
            raise InvalidInput(
                f"{self.path.name} answers {rows} rows with an array of {list(found.shape)}; "
                f"[{rows}, numbers] is needed.",
                hint="Name another with output=NAME, or export it with one vector a row.",
            )
        if not np.isfinite(found).all():
            raise InvalidInput(
                f"{self.path.name} answers sample rows with numbers that are not finite.",
                hint="Check scale=, mean= and std=.",
            )
        answer: NDArray[Any] = found
        return answer


class Steps:
    """Nodes one after the other, each with the output of the one before."""

    def __init__(self, source: str, prefix: str = "before") -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._last, self._prefix = source, prefix

    def add(self, kind: str, constant: Any = None, **attributes: Any) -> None:
        """Add a node, with a constant as its second input."""
        name, inputs = f"{self._prefix}.{len(self.nodes)}", [self._last]
        if constant is not None:
            self.constants.append(numpy_helper.from_array(np.asarray(constant), f"{name}.with"))
            inputs.append(f"{name}.with")
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self._last = name


def read(path: Path) -> Any:
    """An ONNX model with all its weights.

    Raises:
        InvalidInput: it is none, lacks weights, is too large, or of an opset we do not know.
    """
    model = parsed(path)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # a missing file, a path that leads out of the folder
        names = ", ".join(map(repr, external(model))) or "other files"
        raise InvalidInput(
            f"{path.name} keeps weights in {names}, which cannot be read: "
            f"{str(error).splitlines()[0]}",
            hint="Put the file beside it, or export with external_data=False.",
        ) from None
    return model


def parsed(path: Path) -> Any:
    """An ONNX model without the weights that other files hold."""
    if path.stat().st_size > LARGEST_BYTES:
        raise InvalidInput(
            f"{path.name} is larger than 2 GiB.", hint="Quantize it to 8 or 16 bits."
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf has errors of its own
        raise InvalidInput(f"{path.name} is no ONNX model: {error}.") from None
    opsets = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    opset, newest = opsets.get("ai.onnx", 0), onnx.defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= newest:
        raise InvalidInput(
            f"{path.name} is of opset {opset}; {FIRST_OPSET} to {newest} can be read.",
            hint=f"Export it with opset_version={min(newest, 18)}.",
        )
    return model


def external(model: Any) -> list[str]:
    """The files beside a model that hold weights of it."""
    return sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if external_data_helper.uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _type(value: Any) -> str:
    return str(TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(f"{value.name!r}: {_type(value)}" for value in values) or "none"


def _told(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
