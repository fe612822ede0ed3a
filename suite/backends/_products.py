"""What the nodes of an ONNX graph multiply: how many products, of which shapes, and what only the file tells of it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from suite.arithmetic import PACKED

if TYPE_CHECKING:
    import onnx

# Where a node's weights, or its second factor, are among its inputs.
SECOND_FACTOR = {
    "Conv": 1,
    "ConvInteger": 1,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
}
CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")


def products(path: Path) -> dict[str, int]:
    """Returns by name, of each node that multiplies by weights, the products that are added up in one output."""
    import onnx

    graph = onnx.load(path).graph
    shapes = _weights(graph)
    found = {}
    for node in graph.node:
        place = SECOND_FACTOR.get(node.op_type)
        shape = None if place is None else shapes.get(node.input[place])
        if shape:
            found[node.name] = _into_one(node, shape)
    return found | _of_packed(graph, "K")


def node_macs(path: Path) -> dict[str, int]:
    """Returns by name the multiply-accumulates of each node that multiplies by weights.

    Along an axis that is free, as the batch, and of outputs whose shape is not known, they are those of one.
    """
    import onnx

    model, into_one = onnx.load(path), products(path)
    sizes = shapes(model)
    return {
        node.name: into_one[node.name] * math.prod(size or 1 for size in sizes.get(node.output[0], ()))
        for node in model.graph.node
        if node.name in into_one
    }


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


def bits(path: Path) -> dict[str, int]:
    """Returns by name, of each node with packed weights, the bits of one."""
    import onnx

    return _of_packed(onnx.load(path).graph, "bits")


def _of_packed(graph: "onnx.GraphProto", attribute: str) -> dict[str, int]:
    """Returns by name an attribute of each node with packed weights."""
    packed = [node for node in graph.node if node.op_type in PACKED]
    return {node.name: one.i for node in packed for one in node.attribute if one.name == attribute}


def _weights(graph: "onnx.GraphProto") -> Mapping[str, tuple[int, ...]]:
    """Returns the shapes of what is constant: initializers, and what is dequantized of one."""
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _into_one(node: "onnx.NodeProto", shape: tuple[int, ...]) -> int:
    if node.op_type in CONVOLUTIONS:
        # A row of weights for each output channel.
        return math.prod(shape[1:])
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return shape[-1] if transposed else shape[-2]
