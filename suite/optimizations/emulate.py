"""Emulates the arithmetic of accelerators: what is multiplied is rounded to a format's codes, and added up in float32.

Of each layer that multiplies by weights its weights, its input, or both are rounded; its bias, and what lies between
such layers, stay in float32. It has the accuracy of the other arithmetic with sums in float32, or of FP16 with sums in
FP16, and no throughput.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from suite.optimizations import _formats, _sums
from suite.optimizations._inputs import inputs, largest, round_inputs
from suite.optimizations._onnx import FORMATS as FORMATS
from suite.optimizations._onnx import KEEPING, changing, check_backend, input_axis
from suite.parameters import KEEP, Values
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    import onnx

MAIN = "format"
# The first value of each is what is taken where none is given; the format has none.
CHOICES = {
    "format": tuple(_formats.BY_NAME),
    "granularity": ("channel", "tensor"),
    "scale": ("float", "power-of-two"),
    "what": ("both", "weights", "activations"),
    "layers": ("all", "but-ends"),
    "accumulate": ("float32", "fp16"),
}
PARAMETERS: Mapping[str, Values] = {**CHOICES, **KEEPING}
PACKAGES = ("onnx", "onnxruntime", "onnxruntime-gpu", "numpy")
FINAL = True

# They leave their scales to choose.
INTEGERS = ("int8", "int4")
OF_INTEGERS = ("granularity", "scale")
# For the largest magnitude of each input: as many as quantize looks at.
SAMPLES = 256


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no ONNX, no format is given, or a parameter says nothing."""
    check_backend("emulate", backend)
    if MAIN not in parameters:
        raise UsageError(f"emulate needs a format, as in emulate:fp8-e4m3. Allowed: {', '.join(_formats.BY_NAME)}.")
    without_use = [name for name in OF_INTEGERS if name in parameters]
    if parameters[MAIN] not in INTEGERS and without_use:
        raise UsageError(
            f"{without_use[0]} of emulate says nothing with {parameters[MAIN]}, only with {' and '.join(INTEGERS)}. "
            "Leave it out."
        )
    if "granularity" in parameters and not _of_weights(parameters):
        raise UsageError("granularity of emulate is that of weights, and says nothing of activations. Leave it out.")
    if KEEP in parameters and "layers" in parameters:
        raise UsageError("keep of emulate names the layers that it leaves as they are: leave layers out.")
    if _adds_in_fp16(parameters) and (parameters[MAIN] != "fp16" or _value(parameters, "what") != "both"):
        raise UsageError(
            "accumulate=fp16 of emulate is for what multiplies weights and activations in fp16: "
            "emulate:fp16,accumulate=fp16."
        )


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns how many training samples the scales of activations are taken from."""
    scaled = _formats.BY_NAME[parameters[MAIN]].reach is not None
    return SAMPLES if scaled and _of_activations(parameters) else 0


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the model with rounded weights and nodes that round inputs, and returns how many of each there are."""
    import onnx

    model = onnx.load(source)
    layers = changing("emulate", model, parameters)
    if _value(parameters, "layers") == "but-ends":
        # What sees the image and what gives the answer is often left as it is: little work, and sensitive.
        layers = layers[1:-1]
    if not layers:
        raise UsageError("emulate is to leave all layers of this model as they are. Leave it out.")
    rounded = 0
    if _of_activations(parameters):
        # Their ranges are those of the model before anything was rounded, as quantize's are.
        rounded = _round_inputs(model, {tensor.name: tuple(tensor.dims) for _, tensor in layers}, parameters, samples)
    if _of_weights(parameters):
        for node, tensor in layers:
            _round_weights(node, tensor, parameters)
    if _adds_in_fp16(parameters):
        _sums.in_fp16(model, {tensor.name for _, tensor in layers})
    onnx.save(model, target)
    return {"emulated": {"weights": len(layers) if _of_weights(parameters) else 0, "activations": rounded}}


def _round_inputs(
    model: "onnx.ModelProto",
    chosen: Mapping[str, tuple[int, ...]],
    parameters: Mapping[str, str],
    samples: NDArray[Any] | None,
) -> int:
    """Has the layers with the chosen weights take rounded inputs, and returns how many there are."""
    form = _formats.BY_NAME[parameters[MAIN]]
    names = list(dict.fromkeys(one.name for one in inputs(model, chosen)))
    scales = {}
    if samples is not None:
        for name, magnitude in zip(names, largest(model, names, samples), strict=True):
            scales[name] = form.scales(magnitude, power_of_two=_in_powers_of_two(parameters))
    round_inputs(model, chosen, form, scales)
    return len(names)


def _round_weights(node: "onnx.NodeProto", tensor: "onnx.TensorProto", parameters: Mapping[str, str]) -> None:
    """Rounds a layer's weights, with a scale for each output channel or for all."""
    from onnx import numpy_helper

    form, values = _formats.BY_NAME[parameters[MAIN]], numpy_helper.to_array(tensor).astype(np.float64)
    axis, together = input_axis(node), None
    if parameters[MAIN] in INTEGERS and _value(parameters, "granularity") == "channel":
        # Of the two axes that come first the other one is that of the output channels.
        together = tuple(one for one in range(values.ndim) if one != 1 - axis)
    magnitudes = np.max(np.abs(values), together, keepdims=True)
    scale = form.scales(magnitudes, power_of_two=_in_powers_of_two(parameters))
    found = form.rounded(np, values, axis, values.shape[axis], scale).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))


def _of_weights(parameters: Mapping[str, str]) -> bool:
    return _value(parameters, "what") != "activations"


def _of_activations(parameters: Mapping[str, str]) -> bool:
    return _value(parameters, "what") != "weights"


def _adds_in_fp16(parameters: Mapping[str, str]) -> bool:
    return _value(parameters, "accumulate") == "fp16"


def _in_powers_of_two(parameters: Mapping[str, str]) -> bool:
    return _value(parameters, "scale") == "power-of-two"


def _value(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, CHOICES[name][0])
