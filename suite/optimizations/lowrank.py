"""Makes layers of low rank: two smaller layers in a row take the place of one, by truncated SVD of its weights.

A linear layer of n inputs and m outputs multiplies m n times, the two of rank r only r (m + n) times (Denton, Zaremba,
Bruna, LeCun, Fergus, "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation", NIPS 2014).
A pointwise convolution is a linear layer over channels. A k x k convolution becomes one to r channels and a pointwise
one (Zhang, Zou, He, Sun, "Accelerating Very Deep Convolutional Networks for Classification and Detection", TPAMI 2016;
there the responses to data are approximated, here the weights). To split it into k x 1 and 1 x k (Jaderberg, Vedaldi,
Zisserman, "Speeding up Convolutional Neural Networks with Low Rank Expansions", BMVC 2014) would be another way.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from suite.optimizations._onnx import FORMATS as FORMATS
from suite.optimizations._onnx import check_backend, input_axis, macs, rewritten
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    import onnx

MAIN = "rank"
# The first value is what is taken where none is given; rank and energy have none.
PARAMETERS = {
    "rank": ("0.1", "0.2", "0.25", "0.3", "0.4", "0.5", "0.6", "0.7", "0.75", "0.8", "0.9"),
    "energy": ("0.8", "0.9", "0.95", "0.99"),
    "scope": ("linear", "all"),
}
PACKAGES = ("onnx", "numpy")
FINAL = False

# A Gemm scales its result by these, which is for the second layer alone.
SCALING = ("alpha", "beta")
# What the second layer takes over; a second convolution is pointwise and has the defaults of everything.
OF_SECOND = (*SCALING, "transB")


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no ONNX, or a layer's rank is not said, or said twice."""
    check_backend("lowrank", backend)
    if (MAIN in parameters) == ("energy" in parameters):
        raise UsageError("lowrank needs a share either of rank, as in lowrank:0.5, or as in lowrank:energy=0.95.")


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns 0: weights are judged by themselves."""
    return 0


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the model with two layers for each one that saves work so, and returns how many, and how much.

    Raises UsageError where none does.
    """
    from onnx import numpy_helper

    with rewritten("lowrank", source, target, {}) as (model, found):
        ranks = {}
        for node, tensor in found:
            if is_linear(node, tensor, everywhere=parameters.get("scope") == "all"):
                matrix = as_matrix(node, numpy_helper.to_array(tensor))
                rank = rank_of(matrix, parameters)
                if rank * sum(matrix.shape) < matrix.size:
                    ranks[node.output[0]] = rank
        if not ranks:
            raise UsageError("lowrank saves nothing in any layer of this model. Give a smaller share, or scope=all.")
        replace(model.graph, ranks)
    return {
        "lowrank": {
            "layers": len(found),
            "replaced": len(ranks),
            "macs_before": macs(source),
            "macs_after": macs(target),
        }
    }


def as_matrix(node: "onnx.NodeProto", values: NDArray[Any]) -> NDArray[Any]:
    """Returns a node's weights as (outputs, inputs): those of a convolution as (filters, channels x height x width)."""
    return values.reshape(len(values), -1) if input_axis(node) else values.T


def rank_of(matrix: NDArray[Any], parameters: Mapping[str, str]) -> int:
    """Returns the rank that a layer gets, 1 at least: the share of its full one, or the least with so much energy.

    Energy is the sum of the squares of the singular values, and so of the weights.
    """
    if MAIN in parameters:
        full: int = min(matrix.shape)
        return max(1, round(float(parameters[MAIN]) * full))
    energy = np.cumsum(np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2)
    return int(np.searchsorted(energy, float(parameters["energy"]) * energy[-1])) + 1


def replace(graph: "onnx.GraphProto", ranks: Mapping[str, int]) -> None:
    """Puts two nodes in the place of each whose output is named, of the rank that is given with it."""
    constants = {one.name: one for one in graph.initializer}
    nodes, replaced = [], set()
    for node in graph.node:
        if node.output[0] not in ranks:
            nodes.append(node)
            continue
        replaced.add(node.input[1])
        pair, tensors = _pair(node, constants[node.input[1]], ranks[node.output[0]])
        nodes += pair
        graph.initializer.extend(tensors)
    graph.ClearField("node")
    graph.node.extend(nodes)
    unused = replaced - {name for node in nodes for name in node.input}
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in unused:
            del graph.initializer[place]


def factors(matrix: NDArray[Any], rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns (rank, n) and (m, rank): the second times the first is nearest to the matrix (m, n) of all of that rank.

    Nearest by the sum of squares (Eckart and Young, "The approximation of one matrix by another of lower rank",
    Psychometrika 1936). The singular values are shared out evenly: with all in one, steps that follow would find one
    layer's weights large and the other's small.
    """
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    roots = np.sqrt(values[:rank])
    return roots[:, None] * right[:rank], left[:, :rank] * roots


def is_linear(node: "onnx.NodeProto", tensor: "onnx.TensorProto", *, everywhere: bool) -> bool:
    """Tells whether a node multiplies by one matrix: no grouped convolution, and one of k x k only `everywhere`."""
    if node.op_type != "Conv":
        return len(tensor.dims) == 2
    grouped = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    return not grouped and (everywhere or math.prod(tensor.dims[2:]) == 1)


def _pair(
    node: "onnx.NodeProto", tensor: "onnx.TensorProto", rank: int
) -> "tuple[list[onnx.NodeProto], list[onnx.TensorProto]]":
    """Returns the two nodes that take a node's place, and their weights."""
    from onnx import helper, numpy_helper

    values = numpy_helper.to_array(tensor)
    first, second = factors(as_matrix(node, values), rank)
    if input_axis(node):
        # The second convolution is pointwise.
        first, second = first.reshape(rank, *values.shape[1:]), second.reshape(-1, rank, *[1] * (values.ndim - 2))
    else:
        first, second = first.T, second.T
    # Where a node is replaced again, its rank is lower: no name comes twice.
    inner = f"{node.output[0]}_rank{rank}"
    names = [f"{inner}_first", f"{inner}_second"]
    ahead = helper.make_node(node.op_type, [node.input[0], names[0]], [inner], names[0])
    behind = helper.make_node(node.op_type, [inner, names[1], *node.input[2:]], node.output, names[1])
    ahead.attribute.extend(one for one in node.attribute if one.name not in SCALING)
    behind.attribute.extend(one for one in node.attribute if one.name in OF_SECOND)
    parts = zip(names, (first, second), strict=True)
    return [ahead, behind], [numpy_helper.from_array(part.astype(values.dtype, "C"), name) for name, part in parts]
