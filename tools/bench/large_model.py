"""A model that takes long, for its time alone: its weights are random."""

from pathlib import Path

import numpy as np

CHANNELS = 96


def write(path: Path, layers: int) -> None:
    """Writes a model of so many convolutions, shapes (n, 1, 28, 28) to (n, 10)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    shapes = [(CHANNELS, 1 if not layer else CHANNELS, 3, 3) for layer in range(layers)]
    weights = [
        numpy_helper.from_array((draw.standard_normal(shape) / np.sqrt(shape[1] * 9)).astype(np.float32), f"w{layer}")
        for layer, shape in enumerate(shapes)
    ]
    head = numpy_helper.from_array(draw.standard_normal((CHANNELS, 10)).astype(np.float32), "head")
    nodes = [
        node
        for layer in range(layers)
        for node in (
            helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]),
        )
    ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{layers}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [*weights, head],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
