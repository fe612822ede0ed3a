"""Prunes weights by magnitude, in one go: the smallest of each layer, or of all, become zero; tune trains the rest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from suite.optimizations import _tuning, _weights
from suite.optimizations._onnx import KEEPING, input_axis, rewritten
from suite.optimizations._tuning import PACKAGES as PACKAGES
from suite.optimizations._tuning import open_because as open_because
from suite.optimizations._tuning import samples_wanted as samples_wanted
from suite.optimizations._tuning import to_train as to_train
from suite.optimizations._tuning import train as train
from suite.optimizations._weights import FORMATS as FORMATS
from suite.parameters import Values
from suite.plugins import BackendDescription

MAIN = "sparsity"
# The first value of each is what is taken where none is given; sparsity has none.
CHOICES = {
    "sparsity": tuple(f"0.{tenths}" for tenths in range(1, 10)),
    "scope": ("layer", "all"),
    "pattern": ("any", "2:4"),
    **_tuning.PARAMETERS,
}
PARAMETERS: Mapping[str, Values] = {**CHOICES, **KEEPING}
FINAL = False

# Two of each four weights that follow one another among a filter's input channels stay, as sparse tensor cores want
# them (Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378).
GROUP, KEPT = 4, 2


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no such model, or how much is to be pruned is not said, or twice."""
    _weights.check_backend("prune", backend, parameters, (*_tuning.PARAMETERS, *KEEPING))
    patterned = _value(parameters, "pattern") == "2:4"
    if not patterned and MAIN not in parameters:
        raise UsageError("prune needs a sparsity, as in prune:sparsity=0.5, or prune:pattern=2:4.")
    extra = [name for name in (MAIN, "scope") if name in parameters]
    if patterned and extra:
        raise UsageError(f"prune:pattern=2:4 makes half of each group zero: leave out {extra[0]}.")
    _tuning.check("prune", parameters)


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the model with zeros among its weights, and returns what share of them is zero."""
    from onnx import numpy_helper

    with rewritten("prune", source, target, parameters) as (_, found):
        values = [numpy_helper.to_array(tensor) for _, tensor in found]
        pruned = _pruned(values, [input_axis(node) for node, _ in found], parameters)
        for (_, tensor), value in zip(found, pruned, strict=True):
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return _facts(pruned)


def make_of_network(
    workload: Workload, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes a network's weights with zeros among them, and returns what share of them is zero."""
    with _weights.rewritten(source, target) as layers:
        pruned = _pruned([*layers.values()], [_weights.INPUT_AXIS] * len(layers), parameters)
        layers |= zip(layers, pruned, strict=True)
    return _facts(pruned)


def _pruned(values: list[NDArray[Any]], axes: list[int], parameters: Mapping[str, str]) -> list[NDArray[Any]]:
    """Returns layers' weights, pruned; `axes` are those of their input channels."""
    return _two_of_four(values, axes) if _value(parameters, "pattern") == "2:4" else _smallest(values, parameters)


def _facts(pruned: list[NDArray[Any]]) -> dict[str, Any]:
    zeros, total = sum(int(np.count_nonzero(one == 0)) for one in pruned), sum(one.size for one in pruned)
    return {"pruned": {"layers": len(pruned), "weights": total, "zeros": zeros}}


def _smallest(values: list[NDArray[Any]], parameters: Mapping[str, str]) -> list[NDArray[Any]]:
    """Returns weights of which the given share, the smallest, is zero: of each layer's, or of all."""
    sparsity = float(parameters[MAIN])
    if _value(parameters, "scope") == "layer":
        return [_zeroed(value, sparsity) for value in values]
    together = _zeroed(np.concatenate([value.ravel() for value in values]), sparsity)
    ends = np.cumsum([value.size for value in values])
    return [part.reshape(value.shape) for part, value in zip(np.split(together, ends[:-1]), values, strict=True)]


def _zeroed(values: NDArray[Any], sparsity: float) -> NDArray[Any]:
    order = np.argsort(np.abs(values), axis=None, kind="stable")
    found = values.copy()
    found.ravel()[order[: round(sparsity * values.size)]] = 0
    return found


def _two_of_four(values: list[NDArray[Any]], axes: list[int]) -> list[NDArray[Any]]:
    """Returns weights with the two smallest of each four zero; a layer whose channels are no such groups stays."""
    return [
        _grouped(value, axis) if value.shape[axis] % GROUP == 0 else value
        for value, axis in zip(values, axes, strict=True)
    ]


def _grouped(value: NDArray[Any], axis: int) -> NDArray[Any]:
    # Input channels last, so that four of them follow one another.
    last = np.moveaxis(value, axis, -1).copy()
    groups = last.reshape(-1, GROUP)
    order = np.argsort(np.abs(groups), axis=1, kind="stable")
    np.put_along_axis(groups, order[:, : GROUP - KEPT], 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(last, -1, axis))


def _value(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, CHOICES[name][0])
