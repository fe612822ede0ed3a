"""Models of one layer, made in the test that asks for them, and what a model answers."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def weights(*shape: int) -> NDArray[np.float32]:
    """Returns normally distributed weights, of one shape the same each time."""
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def one_layer(
    path: Path,
    operator: str,
    inputs: Sequence[int],
    *constants: NDArray[np.float32],
    layers: int = 1,
    **attributes: Any,
) -> Path:
    """Writes a model that takes any number of inputs, and has a node with these constants, or `layers` in a row."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    tensors = [numpy_helper.from_array(one, f"constant_{number}") for number, one in enumerate(constants)]
    names = ["input", *(f"inner_{number}" for number in range(1, layers)), "output"]
    nodes = [
        helper.make_node(operator, [before, *(one.name for one in tensors)], [after], f"node_{after}", **attributes)
        for before, after in itertools.pairwise(names)
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", ["batch", *inputs]), ("output", None))
    ]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def answers(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns what onnxruntime says that a model answers."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"input": inputs})[0]
    return found
