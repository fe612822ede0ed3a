"""What layers multiply their weights by: which tensors these are, how large they become, and nodes that round them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.optimizations._formats import Format
from suite.optimizations._onnx import WEIGHTS, input_axis
from suite.optimizations._values import Nodes

if TYPE_CHECKING:
    import onnx

# So many samples at a time.
BATCH = 32


@dataclass(frozen=True)
class Input:
    """A tensor that layers multiply by weights: its name, the axis of its channels, and how many they are."""

    name: str
    axis: int
    channels: int


def inputs(model: "onnx.ModelProto", chosen: Mapping[str, Sequence[int]]) -> list[Input]:
    """Returns the inputs of the layers whose weights are chosen: by their names, with their shapes."""
    found = (_input(node, chosen) for node in model.graph.node)
    return list(dict.fromkeys(one for one in found if one))


def largest(model: "onnx.ModelProto", names: Sequence[str], samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the largest magnitude that each tensor has over samples (n, *input_shape)."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    watched, ends = onnx.ModelProto(), [f"{name}/largest" for name in names]
    watched.CopyFrom(model)
    for name, end in zip(names, ends, strict=True):
        watched.graph.node.append(helper.make_node("Abs", [name], [f"{end}/of"]))
        watched.graph.node.append(helper.make_node("ReduceMax", [f"{end}/of"], [end], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(end, TensorProto.FLOAT, []))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0].name
    batches = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    found: NDArray[np.float32] = np.max([session.run(ends, {taken: batch}) for batch in batches], axis=0)
    return found


def round_inputs(
    model: "onnx.ModelProto",
    chosen: Mapping[str, Sequence[int]],
    form: Format,
    scales: Mapping[str, NDArray[np.float64] | None],
) -> None:
    """Has the chosen layers take rounded inputs; `scales` are by an input's name, where the format has such."""
    import onnx

    ready: dict[Input, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        given = _input(node, chosen)
        if given and given not in ready:
            added = Nodes(f"{given.name}/rounded{given.axis}/")
            values = added.float64(given.name)
            ready[given] = added.float32(
                form.rounded(added, values, given.axis, given.channels, scales.get(given.name))
            )
            nodes += added.nodes
            model.graph.initializer.extend(added.constants)
        if given:
            node.input[0] = ready[given]
        nodes.append(node)
    # Copied before the old ones go.
    ordered = onnx.GraphProto(node=nodes)
    del model.graph.node[:]
    model.graph.node.extend(ordered.node)


def _input(node: "onnx.NodeProto", chosen: Mapping[str, Sequence[int]]) -> Input | None:
    """Returns what a layer multiplies by its weights, None where it has no chosen ones."""
    place = WEIGHTS.get(node.op_type)
    if place is None or node.input[place] not in chosen:
        return None
    groups = next((one.i for one in node.attribute if one.name == "group"), 1)
    axis = 1 if node.op_type == "Conv" else -1
    return Input(node.input[0], axis, chosen[node.input[place]][input_axis(node)] * groups)
