"""Scales that are powers of two: a position and no multiplier, the fixed-point scheme of the paper's accelerator.

A model is quantized once for its scales, each of which is rounded up to a power of two, and once more with those. So
integer kernels run what an accelerator without multipliers of scales would.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What onnxruntime's quantizer appends to the name of a tensor to name its scale.
SUFFIX = "_scale"

# By a tensor's name: its scale and zero point, of weights with a scale for each channel the channels' one by one.
Overrides = dict[str, list[dict[str, Any]]]


def quantize(once: Callable[[Path, Mapping[str, Any]], None], target: Path) -> None:
    """Writes the model that `once` makes at a path with onnxruntime's options of a quantizer, its scales rounded up."""
    once(target, {})
    once(target, {"TensorQuantOverrides": overrides(target)})


def overrides(model: Path) -> Overrides:
    """Returns the scales of a quantized model rounded up to powers of two, with the zero points that go with them.

    Those of biases follow from them: a bias has the product of its input's and its weights' scale.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(model).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    found: Overrides = {}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        _, scale, zero = node.input
        if values[zero].dtype == np.int32:
            continue
        channels = [{"axis": one.i} for one in node.attribute if one.name == "axis" and values[scale].ndim]
        found[scale.removesuffix(SUFFIX)] = _rounded(values[scale], values[zero], *channels)
    return found


def _rounded(scales: NDArray[np.float32], zeros: NDArray[Any], *channels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns scales rounded up, and zero points by which the least real value stays; of `channels`, which axis."""
    codes = np.iinfo(zeros.dtype)
    powers = up(scales)
    # In float64 the quotient of a float32 and a power of two is exact.
    moved = codes.min + np.rint((zeros.astype(np.float64) - codes.min) * scales.astype(np.float64) / powers)
    moved = np.where(zeros == _middle(codes), zeros, moved).astype(zeros.dtype)
    pairs = zip(np.atleast_1d(powers), np.atleast_1d(moved), strict=True)
    each = [{"scale": np.array(power, np.float32), "zero_point": np.array(zero)} for power, zero in pairs]
    for axis in channels:
        each[0].update(axis)
    return each


def up(scales: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the smallest powers of two that are no smaller than positive scales."""
    fractions, exponents = np.frexp(scales.astype(np.float64))
    powers: NDArray[np.float64] = np.ldexp(1.0, exponents - (fractions == 0.5))
    return powers


def _middle(codes: Any) -> int:
    """Returns the zero point of what is symmetric: 0 of signed codes, 128 of unsigned ones."""
    return int(codes.min + codes.max + 1) // 2
