"""What the optimizations that make one ONNX model of another have in common."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError
from suite.backends._products import node_macs
from suite.parameters import KEEP, Numbers, Values, numbers
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    import onnx

FORMATS = ("onnx",)

# Operators with weights, and where those are among their inputs.
WEIGHTS = {"Conv": 1, "Gemm": 1, "MatMul": 1}

# What a step that can leave layers out takes beside its own parameters.
KEEPING: Mapping[str, Values] = {KEEP: Numbers("layers")}


@dataclass(frozen=True)
class Layer:
    """A node with weights, these, and the names of all nodes that go with it: those up to the next such node.

    So each node of a graph is one layer's, the activation behind a convolution that convolution's.
    """

    node: "onnx.NodeProto"
    tensor: "onnx.TensorProto"
    names: list[str]


def check_backend(name: str, backend: BackendDescription) -> None:
    """Raises UsageError where a backend loads no ONNX."""
    if FORMATS[0] not in backend.formats:
        raise UsageError(
            f"{name} makes an ONNX model, and the backend {backend.name} loads {', '.join(backend.formats)}. "
            "Use --backend onnxruntime."
        )


@contextlib.contextmanager
def rewritten(
    name: str, source: Path, target: Path, parameters: Mapping[str, str]
) -> Iterator["tuple[onnx.ModelProto, list[tuple[onnx.NodeProto, onnx.TensorProto]]]"]:
    """Yields the model at `source` and what a step is `changing` in place; writes to `target` what became of it.

    `name` is that of the optimization; raises UsageError as `kept` does.
    """
    import onnx

    model = onnx.load(source)
    yield model, changing(name, model, parameters)
    onnx.save(model, target)


def input_axis(node: "onnx.NodeProto") -> int:
    """Returns the axis of a node's weights along which it adds up: that of the input channels."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 1 if node.op_type == "Conv" or transposed else 0


def layers(model: "onnx.ModelProto") -> list[Layer]:
    """Returns the layers in the order of the graph, by which they are numbered; shared weights are the first one's."""
    constants = {one.name: one for one in model.graph.initializer}
    found: list[Layer] = []
    names: list[str] = []
    for node in model.graph.node:
        place = WEIGHTS.get(node.op_type)
        tensor = None if place is None else constants.pop(node.input[place], None)
        if tensor is not None:
            # What comes before all layers goes with the first.
            names = [] if found else names
            found.append(Layer(node, tensor, names))
        names.append(node.name)
    return found


def weights(model: "onnx.ModelProto") -> Iterator[tuple["onnx.NodeProto", "onnx.TensorProto"]]:
    """Yields each node with weights, and these; weights that several nodes share once."""
    yield from ((layer.node, layer.tensor) for layer in layers(model))


def changing(
    name: str, model: "onnx.ModelProto", parameters: Mapping[str, str]
) -> list[tuple["onnx.NodeProto", "onnx.TensorProto"]]:
    """Returns the nodes that a step changes, each with its weights: all but those of the layers that it is to keep.

    Raises UsageError as `kept` does.
    """
    names = {one.node.name for one in kept(name, model, parameters)}
    return [(node, tensor) for node, tensor in weights(model) if node.name not in names]


def kept(name: str, model: "onnx.ModelProto", parameters: Mapping[str, str]) -> list[Layer]:
    """Returns the layers that a step is to keep as they are.

    Raises UsageError where there are no weights in float32, no layer of such a number, or none to change.
    """
    found, numbered = layers(model), numbers(parameters.get(KEEP, ""))
    if not found:
        raise UsageError(f"{name} finds no weights in float32 in this model. Leave it out, or put it first.")
    if numbered and numbered[-1] >= len(found):
        raise UsageError(
            f"{name} cannot keep layer {numbered[-1]}: the model has {len(found)}, numbered from 0 to {len(found) - 1}."
        )
    if len(numbered) == len(found):
        raise UsageError(f"{name} is to keep all {len(found)} layers, so that nothing would change. Leave it out.")
    return [found[number] for number in numbered]


@dataclass(frozen=True)
class Described:
    """A layer, for people: its operator, the name and the shape of its weights."""

    operator: str
    weights: str
    shape: tuple[int, ...]


def described(model: Path) -> list[Described]:
    """Returns the layers of a model's file, in the order of their numbers."""
    import onnx

    return [
        Described(layer.node.op_type, layer.tensor.name, tuple(layer.tensor.dims)) for layer in layers(onnx.load(model))
    ]


def integer(node: "onnx.NodeProto", name: str, otherwise: int) -> int:
    """Returns a node's attribute that is a whole number, or what it is where it is not given."""
    return next((int(one.i) for one in node.attribute if one.name == name), otherwise)


def integers(node: "onnx.NodeProto", name: str) -> list[int]:
    """Returns a node's attribute that is a list of whole numbers, none where it is not given."""
    return next((list(one.ints) for one in node.attribute if one.name == name), [])


def macs(path: Path) -> int:
    """Returns the multiply-accumulates of a model's layers with weights; along an axis that is free, those of one."""
    return sum(node_macs(path).values())
