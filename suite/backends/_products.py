"""How many products go into one output of each node of an ONNX graph, and which factors only the file tells."""

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
