"""Sums in FP16: of a layer's products some are added up at a time, then to what is there, and the sum is rounded.

So tensor cores do it whose accumulators are FP16: the products of two FP16 values are exact, and of each block of them
the sum with the accumulator is rounded once (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor
cores", PeerJ Computer Science 7:e330, 2021). Here a block is added up in float32. The accumulator begins with the bias,
and is infinite beyond what FP16 holds.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.optimizations._onnx import WEIGHTS, input_axis, integer

if TYPE_CHECKING:
    import onnx

# The products of FP16 in a block of the A100; the V100 and the T4 have 4 (in the same paper).
BLOCK = 8


def in_fp16(model: "onnx.ModelProto", chosen: set[str]) -> None:
    """Has the layers with the chosen weights add up in FP16, in the order of their weights in the file."""
    import onnx

    constants = {one.name: one for one in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        place = WEIGHTS.get(node.op_type)
        if place is None or node.input[place] not in chosen:
            nodes.append(node)
        else:
            nodes += _added_up(node, constants[node.input[place]], model.graph)
    # Copied before the old ones go.
    ordered = onnx.GraphProto(node=nodes)
    del model.graph.node[:]
    model.graph.node.extend(ordered.node)
    used = {name for node in model.graph.node for name in node.input}
    constants_used = onnx.GraphProto(initializer=[one for one in model.graph.initializer if one.name in used])
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants_used.initializer)


def _added_up(
    node: "onnx.NodeProto", tensor: "onnx.TensorProto", graph: "onnx.GraphProto"
) -> Iterator["onnx.NodeProto"]:
    """Yields the nodes in place of a layer: of each block of products a layer, an addition and the rounding."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    sums = ""
    for number, (first, end, weights) in enumerate(_blocks(node, np.asarray(numpy_helper.to_array(tensor)))):
        name = f"{node.name}/sums{number}"
        part, taken, of_block = onnx.NodeProto(), f"{name}/input", f"{name}/weights"
        part.CopyFrom(node)
        part.name = name
        # The bias once, in the first block.
        del part.input[(1 if number else 2) + 1 :]
        part.input[0], part.input[WEIGHTS[node.op_type]] = taken, of_block
        graph.initializer.append(numpy_helper.from_array(weights, of_block))
        bounds = [f"{name}/{bound}" for bound in ("first", "end", "axis")]
        for bound, value in zip(bounds, (first, end, 1 if node.op_type == "Conv" else -1), strict=True):
            graph.initializer.append(numpy_helper.from_array(np.asarray([value], np.int64), bound))
        yield helper.make_node("Slice", [node.input[0], *bounds], [taken], taken)
        part.output[0] = f"{name}/part"
        yield part
        added = part.output[0]
        if sums:
            added = f"{name}/added"
            yield helper.make_node("Add", [sums, part.output[0]], [added], added)
        half, sums = f"{name}/half", f"{name}/sum"
        yield helper.make_node("Cast", [added], [half], half, to=TensorProto.FLOAT16)
        yield helper.make_node("Cast", [half], [sums], sums, to=TensorProto.FLOAT)
    yield helper.make_node("Identity", [sums], [node.output[0]], f"{node.name}/sums")


def _blocks(node: "onnx.NodeProto", weights: NDArray[np.float32]) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yields of each block of products the input channels that it takes, from the first up to the end, and its weights.

    Of a convolution they are those of the whole filter, the other products' weights being zero.
    """
    axis = input_axis(node)
    if node.op_type != "Conv":
        for first in range(0, weights.shape[axis], BLOCK):
            end = min(first + BLOCK, weights.shape[axis])
            yield first, end, np.ascontiguousarray(np.take(weights, range(first, end), axis))
        return
    outputs, channels, *window = weights.shape
    grouped, positions = integer(node, "group", 1) > 1, int(np.prod(window))
    flat = weights.reshape(outputs, -1)
    for start in range(0, flat.shape[1], BLOCK):
        alone = np.zeros_like(flat)
        alone[:, start : start + BLOCK] = flat[:, start : start + BLOCK]
        # The channels of a group lie among those of others, and all are taken.
        first, end = start // positions, -(-min(start + BLOCK, flat.shape[1]) // positions)
        if grouped:
            yield 0, channels * integer(node, "group", 1), alone.reshape(weights.shape)
        else:
            yield first, end, np.ascontiguousarray(alone.reshape(weights.shape)[:, first:end])
