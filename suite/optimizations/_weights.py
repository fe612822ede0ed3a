"""Weights of a network of torch, changed in place: for steps that do the same to those of an ONNX model."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.errors import UsageError
from suite.optimizations import _onnx
from suite.plugins import BackendDescription

FORMAT = "safetensors"
FORMATS = (*_onnx.FORMATS, FORMAT)
# The axis of a layer's weights along which it adds up, that of the input channels.
INPUT_AXIS = 1


def check_backend(
    name: str, backend: BackendDescription, parameters: Mapping[str, str], onnx_alone: Sequence[str]
) -> None:
    """Raises UsageError where a backend loads neither, or a parameter is given that is for ONNX models alone."""
    if FORMAT not in backend.formats:
        _onnx.check_backend(name, backend)
    if _onnx.FORMATS[0] in backend.formats:
        return
    without_use = [one for one in onnx_alone if one in parameters]
    if without_use:
        raise UsageError(
            f"{without_use[0]} of {name} is for ONNX models, and the backend {backend.name} loads "
            f"{', '.join(backend.formats)}. Leave it out, or use --backend onnxruntime."
        )


@contextlib.contextmanager
def rewritten(source: Path, target: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields by name the weights of layers, which may be replaced by others; writes to `target` what they became.

    Batch normalization, which an ONNX model has within its convolutions, stays as it is beside them.
    """
    from safetensors.numpy import load_file, save_file

    weights = load_file(source)
    layers = {name: one for name, one in weights.items() if one.ndim > 1}
    yield layers
    save_file({**weights, **layers}, target)
