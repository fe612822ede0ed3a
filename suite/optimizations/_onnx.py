"""What the optimizations that make one ONNX model of another have in common."""

import contextlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError
from suite.backends._products import products
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    import onnx

FORMATS = ("onnx",)

# Operators with weights, and where those are among their inputs.
WEIGHTS = {"Conv": 1, "Gemm": 1, "MatMul": 1}


def check_backend(name: str, backend: BackendDescription) -> None:
    """Raises UsageError where a backend loads no ONNX."""
    if FORMATS[0] not in backend.formats:
        raise UsageError(
            f"{name} makes an ONNX model, and the backend {backend.name} loads {', '.join(backend.formats)}. "
            "Use --backend onnxruntime."
        )


@contextlib.contextmanager
def rewritten(
    name: str, source: Path, target: Path
) -> Iterator["tuple[onnx.ModelProto, list[tuple[onnx.NodeProto, onnx.TensorProto]]]"]:
    """Yields the model at `source` and its `weights`, to be changed in place; writes to `target` what became of it.

    `name` is that of the optimization; raises UsageError where it finds no weights.
    """
    import onnx

    model = onnx.load(source)
    found = list(weights(model))
    if not found:
        raise UsageError(f"{name} finds no weights in float32 in this model. Leave it out, or put it first.")
    yield model, found
    onnx.save(model, target)


def input_axis(node: "onnx.NodeProto") -> int:
    """Returns the axis of a node's weights along which it adds up: that of the input channels."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 1 if node.op_type == "Conv" or transposed else 0


def weights(model: "onnx.ModelProto") -> Iterator[tuple["onnx.NodeProto", "onnx.TensorProto"]]:
    """Yields each node with weights, and these; weights that several nodes share once."""
    constants = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        place = WEIGHTS.get(node.op_type)
        tensor = None if place is None else constants.pop(node.input[place], None)
        if tensor is not None:
            yield node, tensor


def integer(node: "onnx.NodeProto", name: str, otherwise: int) -> int:
    """Returns a node's attribute that is a whole number, or what it is where it is not given."""
    return next((int(one.i) for one in node.attribute if one.name == name), otherwise)


def integers(node: "onnx.NodeProto", name: str) -> list[int]:
    """Returns a node's attribute that is a list of whole numbers, none where it is not given."""
    return next((list(one.ints) for one in node.attribute if one.name == name), [])


def shapes(model: "onnx.ModelProto") -> dict[str, tuple[int | None, ...]]:
    """Returns the shape of what goes into each node or comes out, None for an axis that is free, as the batch."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        one.name: tuple(
            axis.dim_value if axis.HasField("dim_value") else None for axis in one.type.tensor_type.shape.dim
        )
        for one in (*graph.input, *graph.value_info, *graph.output)
    }


def macs(path: Path) -> int:
    """Returns the multiply-accumulates of a model's layers with weights; along an axis that is free, those of one."""
    import onnx

    model = onnx.load(path)
    sizes, into_one = shapes(model), products(path)
    return sum(
        into_one[node.name] * prod(size or 1 for size in sizes[node.output[0]])
        for node in model.graph.node
        if node.name in into_one
    )
