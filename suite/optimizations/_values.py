"""Values of float64 in an ONNX graph that is being written, and numpy's names for what makes one of others.

All are operators of the standard set. onnxruntime carries them out as they stand: its fusions are for float32, and what
it leaves out because it does next to nothing is written otherwise here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

if TYPE_CHECKING:
    import onnx

# Well beyond what onnxruntime takes for equal.
NEAR = 1e-3


@dataclass(frozen=True)
class Value:
    """A value of the graph, by its name; an operator adds the node that computes it."""

    name: str
    graph: "Nodes"

    def __mul__(self, other: "Operand") -> "Value":
        if _near_one(other):
            return self * (np.asarray(other) / 2) * 2.0
        return self.graph.node("Mul", self, other)

    def __truediv__(self, other: "Operand") -> "Value":
        if _near_one(other):
            return self / (np.asarray(other) / 2) * 0.5
        return self.graph.node("Div", self, other)

    def __sub__(self, other: "Operand") -> "Value":
        return self.graph.node("Sub", self, other)


Operand = Union[Value, "ArrayLike"]


def _near_one(factor: Operand) -> bool:
    """Tells of factors that onnxruntime takes for 1, whose operation it leaves out: by 1e-5, even in float64."""
    return not isinstance(factor, Value) and np.size(factor) == 1 and abs(float(np.asarray(factor)) - 1) < NEAR


class Nodes:
    """Nodes and constants for a graph with operators of set 18 or later, whose names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix

    def float64(self, name: str) -> Value:
        """Returns the value of that name in float64."""
        from onnx import TensorProto

        return self.node("Cast", Value(name, self), to=TensorProto.DOUBLE)

    def float32(self, value: Value) -> str:
        """Returns the name of a value in float32."""
        from onnx import TensorProto

        return self.node("Cast", value, to=TensorProto.FLOAT).name

    def clip(self, value: Value, lowest: float, largest: float) -> Value:
        """numpy.clip."""
        return self.node("Clip", value, lowest, largest)

    def rint(self, value: Value) -> Value:
        """numpy.rint: halves become even."""
        return self.node("Round", value)

    def abs(self, value: Value) -> Value:
        """numpy.abs."""
        return self.node("Abs", value)

    def maximum(self, value: Value, other: Operand) -> Value:
        """numpy.maximum."""
        return self.node("Max", value, other)

    def max(self, value: Value, axis: int, *, keepdims: bool) -> Value:
        """numpy.max."""
        return self.node("ReduceMax", value, self._constant([axis], np.int64), keepdims=int(keepdims))

    def take(self, value: Value, indices: ArrayLike, axis: int) -> Value:
        """numpy.take."""
        return self.node("Gather", value, self._constant(indices, np.int64), axis=axis)

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """numpy.concatenate."""
        return self.node("Concat", *values, axis=axis)

    def split(self, value: Value, starts: Sequence[int], axis: int) -> list[Value]:
        """numpy.split, by slices: from each start to the next one, the first from 0 and the last to the end."""
        ends = [*starts, np.iinfo(np.int64).max]
        return [
            self.node("Slice", value, *(self._constant([one], np.int64) for one in (start, end, axis)))
            for start, end in zip([0, *starts], ends, strict=True)
        ]

    def node(self, operator: str, *inputs: Operand, **attributes: Any) -> Value:
        """Adds a node and returns its value; numbers among its inputs become constants of float64."""
        from onnx import helper

        names = [(one if isinstance(one, Value) else self._constant(one, np.float64)).name for one in inputs]
        made = Value(f"{self._prefix}{operator}_{len(self.nodes)}", self)
        self.nodes.append(helper.make_node(operator, names, [made.name], made.name, **attributes))
        return made

    def _constant(self, values: ArrayLike, kind: DTypeLike) -> Value:
        from onnx import numpy_helper

        made = Value(f"{self._prefix}constant_{len(self.constants)}", self)
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), made.name))
        return made
