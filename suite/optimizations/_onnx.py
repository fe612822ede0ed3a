"""What the optimizations that make one ONNX model of another have in common."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.errors import UsageError
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
