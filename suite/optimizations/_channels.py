"""Groups of channels in an ONNX graph: what is one channel in several tensors, so that it stays or goes in all of them.

Channels lie along the second axis of whatever flows between two nodes. A layer begins a group with its outputs, and
holds the group of its inputs too. What works on each channel by itself hands a group on, and what joins two tensors
element by element makes one group of two: so a depthwise convolution belongs to the layer before it, and a residual
network's shortcut to all that is added to it. The channels of a model's outputs stay, and those that reach an operator
that is not known here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.backends._products import shapes
from suite.optimizations._onnx import input_axis, integer, integers

if TYPE_CHECKING:
    import onnx

# A layer's weights, and the bias that it may have, are these of its inputs.
WEIGHTS, BIAS = 1, 2


@dataclass(frozen=True)
class Cut:
    """A constant that holds a group's channels along an axis, each as so many entries that follow one another.

    `makes` tells the weights whose sums are the channels, a filter each, from those that are only given them.
    """

    tensor: "onnx.TensorProto"
    axis: int
    entries: int = 1
    makes: bool = False


@dataclass(eq=False)
class Group:
    """So many channels, all that holds them, and the depthwise convolutions, whose attribute counts them."""

    size: int
    cuts: list[Cut]
    depthwise: list["onnx.NodeProto"] = field(default_factory=list)
    stays: bool = False

    @property
    def layers(self) -> list[str]:
        """The names of the weights that make the channels."""
        return [one.tensor.name for one in self.cuts if one.makes]

    def magnitudes(self) -> NDArray[np.float64]:
        """Returns the sum of the absolute weights of each channel's filters, shape (size,).

        Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1;
        there the layers that are added to one another are ranked by one of them (3.3), here by all.
        """
        from onnx import numpy_helper

        filters = [
            np.moveaxis(numpy_helper.to_array(one.tensor), one.axis, 0).reshape(self.size, -1)
            for one in self.cuts
            if one.makes
        ]
        found: NDArray[np.float64] = np.abs(np.concatenate(filters, axis=1), dtype=np.float64).sum(axis=1)
        return found

    def keep(self, channels: NDArray[np.int64]) -> None:
        """Takes out of the model all channels but these, given by their places in order."""
        from onnx import numpy_helper

        for one in self.cuts:
            entries = (channels[:, None] * one.entries + np.arange(one.entries)).ravel()
            left = np.take(numpy_helper.to_array(one.tensor), entries, axis=one.axis)
            one.tensor.CopyFrom(numpy_helper.from_array(left, one.tensor.name))
        for node in self.depthwise:
            next(one for one in node.attribute if one.name == "group").i = len(channels)


def groups(model: "onnx.ModelProto") -> list[Group]:
    """Returns the groups of a model whose channels may go."""
    walk = _Walk(model)
    for node in model.graph.node:
        walk.visit(node)
    walk.stay(one.name for one in model.graph.output)
    uses = Counter(name for node in model.graph.node for name in node.input)
    # What two nodes share would have to be cut for both in the same way.
    return [one for one in walk.groups if not one.stays and all(uses[cut.tensor.name] == 1 for cut in one.cuts)]


@dataclass(frozen=True)
class _Flow:
    """What a tensor's second axis holds: a group's channels, each as so many entries that follow one another."""

    group: Group
    entries: int = 1

    @property
    def size(self) -> int:
        """The length of that axis."""
        return self.group.size * self.entries


class _Walk:
    """Goes through a graph's nodes in their order and finds its groups."""

    def __init__(self, model: "onnx.ModelProto") -> None:
        given = {one.name for one in model.graph.input}
        self.constants = {one.name: one for one in model.graph.initializer if one.name not in given}
        self.shapes = shapes(model)
        self.groups: list[Group] = []
        self.flows: dict[str, _Flow] = {}

    def visit(self, node: "onnx.NodeProto") -> None:
        """Notes what a node does to the channels that it is given."""
        if any(one.HasField("g") or one.graphs for one in node.attribute):
            # A branch or a loop may use whatever there is so far, without naming it among its inputs.
            self.stay(self.flows)
        rule = RULES.get(node.op_type) if sum(map(bool, node.output)) == 1 else None
        found = rule(self, node) if rule else None
        if found:
            self.flows[node.output[0]] = found
        else:
            self.stay(node.input)

    def stay(self, names: Iterable[str]) -> None:
        """Has the channels of tensors stay."""
        for name in names:
            if name in self.flows:
                self.flows[name].group.stays = True

    def rank(self, name: str) -> int:
        """Returns how many axes a tensor has, 0 where that is not known."""
        return len(self.shapes.get(name, ()))

    def numbers(self, name: str) -> list[int]:
        """Returns a constant's whole numbers, none where it is no constant."""
        from onnx import numpy_helper

        found = self.constants.get(name)
        return [] if found is None else [int(one) for one in numpy_helper.to_array(found).ravel()]

    def optional(self, node: "onnx.NodeProto", place: int) -> "list[onnx.TensorProto] | None":
        """Returns a node's constant input, none where it is left out, and None where it is no constant."""
        if len(node.input) <= place or not node.input[place]:
            return []
        found = self.constants.get(node.input[place])
        return None if found is None else [found]

    def begin(self, weights: "onnx.TensorProto", axis: int, biases: "list[onnx.TensorProto]") -> _Flow:
        """Returns the channels that a layer makes, a new group."""
        size = weights.dims[axis]
        added = [Cut(one, len(one.dims) - 1) for one in biases if one.dims and one.dims[-1] == size]
        self.groups.append(Group(size, [Cut(weights, axis, makes=True), *added]))
        return _Flow(self.groups[-1])

    def merge(self, one: Group, other: Group) -> None:
        """Makes one group of two of the same size."""
        if one is other:
            return
        one.cuts += other.cuts
        one.depthwise += other.depthwise
        one.stays |= other.stays
        self.groups.remove(other)
        for name, flow in self.flows.items():
            if flow.group is other:
                self.flows[name] = replace(flow, group=one)


# A rule returns the channels of a node's output, or None where those that the node is given have to stay.
Rule = Callable[[_Walk, "onnx.NodeProto"], _Flow | None]


def _each(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    """What works on each channel by itself, whatever else it is given."""
    if any(name in walk.flows for name in node.input[1:]):
        return None
    return walk.flows.get(node.input[0])


def _convolution(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    weights, biases = walk.constants.get(node.input[WEIGHTS]), walk.optional(node, BIAS)
    if weights is None or biases is None:
        return None
    before, parts = walk.flows.get(node.input[0]), integer(node, "group", 1)
    if parts == 1:
        if before:
            before.group.cuts.append(Cut(weights, 1))
        return walk.begin(weights, 0, biases)
    if before is None or not parts == weights.dims[0] == before.group.size:
        return None
    before.group.cuts += [Cut(weights, 0, makes=True), *(Cut(one, 0) for one in biases)]
    before.group.depthwise.append(node)
    return before


def _linear(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    weights, biases = walk.constants.get(node.input[WEIGHTS]), walk.optional(node, BIAS)
    flat = walk.rank(node.input[0]) == 2 and not integer(node, "transA", 0)
    if weights is None or biases is None or not flat:
        return None
    before, axis = walk.flows.get(node.input[0]), input_axis(node)
    if before:
        before.group.cuts.append(Cut(weights, axis, before.entries))
    return walk.begin(weights, 1 - axis, biases)


def _normalization(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    before, held = walk.flows.get(node.input[0]), [walk.constants.get(name) for name in node.input[1:]]
    if before is None or any(one is None for one in held):
        return None
    before.group.cuts += [Cut(one, 0) for one in held if one is not None]
    return before


def _joined(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    """What takes two tensors element by element."""
    left, right = node.input
    for one, other in ((left, right), (right, left)):
        if other in walk.constants:
            return _with_constant(walk, one, walk.constants[other])
    first, second = walk.flows.get(left), walk.flows.get(right)
    if first is None or second is None or not walk.rank(left) == walk.rank(right) > 0:
        return None
    if (first.group.size, first.entries) != (second.group.size, second.entries):
        return None
    walk.merge(first.group, second.group)
    return first


def _with_constant(walk: _Walk, name: str, constant: "onnx.TensorProto") -> _Flow | None:
    flow, rank = walk.flows.get(name), walk.rank(name)
    # Shapes of fewer axes are aligned at their ends.
    axis = len(constant.dims) - rank + 1
    if flow is None or not rank or axis > 1:
        return None
    if axis < 0 or constant.dims[axis] == 1:
        return flow
    if constant.dims[axis] != flow.size:
        return None
    flow.group.cuts.append(Cut(constant, axis, flow.entries))
    return flow


def _reduction(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    """What takes axes behind the channels together, or leaves them out."""
    rank = walk.rank(node.input[0])
    axes = walk.numbers(node.input[1]) if len(node.input) > 1 else integers(node, "axes")
    if not rank or not axes or min(axis % rank for axis in axes) < 2:
        return None
    return walk.flows.get(node.input[0])


def _flat(walk: _Walk, node: "onnx.NodeProto") -> _Flow | None:
    """What puts channels and all axes behind them into one."""
    before, shape = walk.flows.get(node.input[0]), walk.shapes.get(node.input[0], ())
    does = walk.numbers(node.input[1]) == [0, -1] if node.op_type == "Reshape" else integer(node, "axis", 1) == 1
    behind = [size for size in shape[2:] if size]
    if before is None or not does or len(behind) != len(shape) - 2:
        return None
    return replace(before, entries=before.entries * prod(behind))


RULES: Mapping[str, Rule] = {
    "Conv": _convolution,
    "BatchNormalization": _normalization,
    **dict.fromkeys(("Gemm", "MatMul"), _linear),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _joined),
    **dict.fromkeys(("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"), _each),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _each),
    **dict.fromkeys(("Dropout", "Identity"), _each),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "Squeeze"), _reduction),
    **dict.fromkeys(("Flatten", "Reshape"), _flat),
}
