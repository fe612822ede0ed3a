"""Clusters weights: each layer keeps a codebook of 16 or 256 values, by k-means, and every weight is one of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from suite.optimizations import _weights
from suite.optimizations._onnx import KEEPING, rewritten
from suite.optimizations._weights import FORMATS as FORMATS
from suite.parameters import KEEP, Values
from suite.plugins import BackendDescription

MAIN = "bits"
PARAMETERS: Mapping[str, Values] = {"bits": ("4", "8"), **KEEPING}
PACKAGES = ("onnx", "numpy", "safetensors")
FINAL = False

# Lloyd's algorithm ends where no weight moves, and after so many rounds at the latest.
ROUNDS = 100


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no such model, or the size of the codebook is not said."""
    _weights.check_backend("cluster", backend, parameters, (KEEP,))
    if MAIN not in parameters:
        raise UsageError("cluster needs the bits of a code: cluster:4 or cluster:8.")


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns 0: weights are judged by themselves."""
    return 0


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the model with each layer's weights replaced by their codebook's, and returns how many values are left."""
    from onnx import numpy_helper

    left = []
    with rewritten("cluster", source, target, parameters) as (_, layers):
        for _, tensor in layers:
            found = clustered(numpy_helper.to_array(tensor), 2 ** int(parameters[MAIN]))
            tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))
            left.append(len(np.unique(found)))
    return {"clustered": {"layers": len(left), "most_values": max(left)}}


def make_of_network(
    workload: Workload, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes a network's weights with those of each layer replaced by their codebook's, and returns the same."""
    with _weights.rewritten(source, target) as layers:
        for name, values in layers.items():
            layers[name] = clustered(values, 2 ** int(parameters[MAIN]))
    return {"clustered": {"layers": len(layers), "most_values": max(len(np.unique(one)) for one in layers.values())}}


def clustered(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Returns values of any shape, each replaced by the nearest of at most `size` centroids.

    Zero stays zero, so that what was pruned stays pruned. The centroids begin evenly spaced, which keeps large weights
    apart (Han et al., "Deep Compression", ICLR 2016, section 3.2).
    """
    kept = values[values != 0].astype(np.float64)
    if len(np.unique(kept)) < size:
        return values.copy()
    # One of the codes is zero's, where there are zeros.
    centroids = np.linspace(kept.min(), kept.max(), size - (kept.size < values.size))
    codes = _nearest(kept, centroids)
    for _ in range(ROUNDS):
        counts = np.bincount(codes, minlength=len(centroids))
        sums = np.bincount(codes, kept, minlength=len(centroids))
        centroids = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), centroids))
        before, codes = codes, _nearest(kept, centroids)
        if np.array_equal(before, codes):
            break
    found = values.copy()
    found[values != 0] = centroids[codes].astype(values.dtype)
    return found


def _nearest(values: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
