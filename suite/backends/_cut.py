"""Cuts an ONNX graph into stages of about equal cost, each of which begins with what the one before returns.

The stages are to compute what the whole graph computes, bit by bit, and a runtime that fuses operators rounds otherwise
than one that is given them apart. So a graph is cut where one tensor alone goes on, behind what can be fused with the
product before it, and not where that tensor is added to something later: an addition becomes a part of a convolution
only where the runtime sees what made both of its inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UsageError
from suite.backends._products import node_macs

if TYPE_CHECKING:
    import onnx


# A node, and those of its inputs that come of the model's input: no constants.
Computing = tuple["onnx.NodeProto", set[str]]

# The backend's runtime option, and its values: 1 is the whole graph. How many a graph can have is seen when it is cut.
OPTION, MOST_STAGES = "pipeline", 16
STAGES = tuple(str(count) for count in range(1, MOST_STAGES + 1))


@dataclass(frozen=True)
class Seam:
    """A tensor at which a graph can be cut: the multiply-accumulates before it, and how many bytes one sample has."""

    tensor: str
    before: int
    size: int


def cut(path: Path, count: int) -> list[bytes]:
    """Returns the model at `path` as `count` models; the one with the most multiply-accumulates has the fewest it can.

    Raises UsageError where it has too few seams.
    """
    import onnx
    from onnx.utils import Extractor

    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    costs = node_macs(path)
    total = sum(costs.values())
    found = seams(model.graph, costs)
    chosen = balanced([one.before for one in found], total, count)
    if chosen is None:
        raise UsageError(
            f"The model {path} cannot be cut into {count} stages that answer as the whole does; the most are "
            f"{len(found) + 1}. {f'Use pipeline:{len(found) + 1}.' if found else 'Leave pipeline out.'}"
        )
    ends = [_input(model.graph), *(found[number].tensor for number in chosen), model.graph.output[0].name]
    extractor = Extractor(model)
    return [extractor.extract_model([begin], [end]).SerializeToString() for begin, end in pairwise(ends)]


def seams(graph: "onnx.GraphProto", costs: Mapping[str, int]) -> list[Seam]:
    """Returns where a graph can be cut, in its order: one seam between two products.

    It is the smallest tensor that alone goes on there, the last of those: quantized values go on as integers, and an
    activation stays with its product. Where a node joins that one with another tensor, there is no seam. `costs` are
    the multiply-accumulates by a node's name.
    """
    total, flow = sum(costs.values()), list(_flow(graph))
    joined = {name for _, inputs in flow if len(inputs) > 1 for name in inputs}
    best: dict[int, Seam] = {}
    for one in _alone(graph, flow, costs):
        if 0 < one.before < total and one.size <= best.get(one.before, one).size:
            best[one.before] = one
    return [one for one in best.values() if one.tensor not in joined]


def balanced(before: Sequence[int], total: int, count: int) -> tuple[int, ...] | None:
    """Returns the seams that make the dearest of `count` stages as cheap as can be; None where there are too few.

    `before` are the costs before each seam, in order, and `total` is that of all.
    """
    costs = [*before, total]

    @cache
    def best(first: int, left: int) -> tuple[int, tuple[int, ...]] | None:
        spent = costs[first - 1] if first else 0
        if left == 1:
            return total - spent, ()
        found = [
            (max(costs[seam] - spent, rest[0]), (seam, *rest[1]))
            for seam in range(first, len(before))
            if (rest := best(seam + 1, left - 1)) is not None
        ]
        return min(found, default=None)

    chosen = best(0, count)
    return None if chosen is None else chosen[1]


def _input(graph: "onnx.GraphProto") -> str:
    constants = {one.name for one in graph.initializer}
    name: str = next(one.name for one in graph.input if one.name not in constants)
    return name


def _alone(graph: "onnx.GraphProto", flow: Sequence[Computing], costs: Mapping[str, int]) -> Iterator[Seam]:
    """Yields each tensor that alone goes on behind a node of the flow."""
    sizes = _sizes(graph)
    last = {name: number for number, (_, inputs) in enumerate(flow) for name in inputs}
    last |= {one.name: len(flow) for one in graph.output}
    alive, before = {_input(graph)}, 0
    for number, (node, _) in enumerate(flow):
        before += costs.get(node.name, 0)
        alive = {name for name in (*alive, *node.output) if last.get(name, -1) > number}
        if len(alive) == 1 and alive <= sizes.keys():
            (tensor,) = alive
            yield Seam(tensor, before, sizes[tensor])


def _flow(graph: "onnx.GraphProto") -> Iterator[Computing]:
    """Yields each node that computes with the model's input."""
    computed = {_input(graph)}
    for node in graph.node:
        inputs = computed.intersection(node.input)
        if inputs:
            computed.update(node.output)
            yield node, inputs


def _sizes(graph: "onnx.GraphProto") -> dict[str, int]:
    """Returns how many bytes one sample has of each tensor whose type and shape are known."""
    from onnx import helper

    types = {one.name: one.type.tensor_type for one in (*graph.value_info, *graph.output)}
    return {
        name: helper.tensor_dtype_to_np_dtype(one.elem_type).itemsize
        * prod(axis.dim_value or 1 for axis in one.shape.dim)
        for name, one in types.items()
        if one.elem_type and one.HasField("shape")
    }
