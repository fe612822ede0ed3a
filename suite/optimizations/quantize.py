"""Quantizes: INT8, by fixed scales or those of each batch; INT8 or INT4 weights alone; or 16 bits of floating point.

For onnxruntime with its own tools, here; for torch in `_quantize_torch`, which has less to choose of.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import digest_of, sha256_bytes, sha256_file
from reference_models.base import Workload
from suite.optimizations import _powers, _quantize_torch, _weights_alone
from suite.optimizations._onnx import KEEPING, check_backend, kept, layers
from suite.parameters import KEEP, Values, joined
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

# An ONNX model, or the weights of a network of torch.
FORMATS = ("onnx", "safetensors")
MAIN = "type"
# The first value of each is what is taken where none is given.
CHOICES = {
    "type": ("int8", "int4", "float16", "bfloat16"),
    "what": ("all", "weights"),
    "scales": ("static", "dynamic"),
    "granularity": ("channel", "tensor"),
    "scale": ("float", "power-of-two"),
    "calibration": ("minmax", "percentile", "entropy", "histogram"),
    "activations": ("uint8", "int8"),
    "symmetry": ("asymmetric", "symmetric"),
    "range": ("full", "reduced"),
    "samples": ("256", "64", "1024"),
    "group": ("32", "16", "64", "128"),
    "layers": ("all", "but-ends"),
}
PARAMETERS: Mapping[str, Values] = {**CHOICES, **KEEPING}
PACKAGES = ("onnx", "onnxruntime", "onnxruntime-gpu", "numpy", "torch", "torchao")
FINAL = True

# What scales that come from each batch leave nothing to choose of; of granularity, as onnxruntime's integer convolution
# has one scale a tensor.
OF_STATIC = ("granularity", "scale", "calibration", "activations", "symmetry", "samples")
# What there is to choose of where weights alone are quantized.
OF_WEIGHTS = ("type", "what", "symmetry", "group", KEEP)
BITS = {"int8": 8, "int4": 4}
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
# The ranges of so many samples at a time are looked at: for a histogram every layer's outputs are kept meanwhile.
CALIBRATION_BATCH = 32
# Of the histogram of a tensor, as TensorRT has it (Migacz, "8-bit Inference with TensorRT", GTC 2017).
BINS = 2048
# The ranges that were taken last, by all that they come from: they are the same whichever layers are kept.
_taken: dict[str, bytes] = {}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where no type is given, the backend has none of it, or two parameters exclude each other."""
    if MAIN not in parameters:
        raise UsageError("quantize needs a type: quantize:int8.")
    if _quantize_torch.FORMAT in backend.formats:
        _quantize_torch.check(parameters)
    else:
        check_backend("quantize", backend)
        _check_onnxruntime(parameters)
    if KEEP in parameters and "layers" in parameters:
        raise UsageError("keep of quantize names the layers that it leaves as they are: leave layers out.")
    others = [name for name in parameters if name not in (MAIN, KEEP)]
    if parameters[MAIN] in _quantize_torch.FLOATS and others:
        raise UsageError(
            f"{others[0]} of quantize says nothing with {parameters[MAIN]}, which has no scales. Leave it out."
        )
    _check_weights(parameters)
    # Of torch's linear layers it is the weights' scales that are one or one an output.
    free = ("granularity",) if _quantize_torch.FORMAT in backend.formats else ()
    without_use = [name for name in OF_STATIC if name in parameters and name not in free]
    if parameters.get("scales") == "dynamic" and without_use:
        raise UsageError(
            f"{without_use[0]} of quantize says nothing with scales=dynamic, which come from each batch. Leave it out."
        )


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns how many training samples the ranges of activations are taken from."""
    if (
        parameters[MAIN] in _quantize_torch.FLOATS
        or parameters.get("scales") == "dynamic"
        or _of_weights_alone(parameters)
    ):
        return 0
    return int(_value(parameters, "samples"))


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the quantized model: with QDQ nodes where scales are fixed, with integer operators where they are not.

    In float16 it still takes and gives float32. Layers that it keeps multiply in float32.
    """
    names = _kept(source, parameters)
    if parameters[MAIN] == "float16":
        _float16(source, target, names)
        return {}
    if _of_weights_alone(parameters):
        return _weights_alone.make(
            source,
            target,
            bits=BITS[parameters[MAIN]],
            group=int(_value(parameters, "group")),
            symmetric=_value(parameters, "symmetry") == "symmetric",
            without=_as_matmul(names),
        )
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        # Batch normalization goes into the convolutions, and every tensor gets its shape.
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        if samples is None:
            # onnxruntime has no integer convolution of signed weights.
            reduced = _value(parameters, "range") == "reduced"
            without = _as_matmul(names)
            quantize_dynamic(
                ready, target, weight_type=QuantType.QUInt8, reduce_range=reduced, nodes_to_exclude=without
            )
        else:
            _static(ready, target, parameters, samples, names)
    return {}


def make_of_network(
    workload: Workload, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the quantized network whose weights are at `source`, for torch."""
    return _quantize_torch.make(workload, source, target, {name: _value(parameters, name) for name in CHOICES}, samples)


def _as_matmul(names: list[str]) -> list[str]:
    """Returns the names of nodes, and those of the MatMul that onnxruntime makes of a Gemm first."""
    return [*names, *(f"{name}_MatMul" for name in names)]


def _of_weights_alone(parameters: Mapping[str, str]) -> bool:
    return _value(parameters, "what") == "weights"


def _check_onnxruntime(parameters: Mapping[str, str]) -> None:
    """Raises UsageError for what torch alone has."""
    if parameters[MAIN] == "bfloat16":
        raise UsageError("onnxruntime has no kernels for bfloat16 here. Use quantize:float16, or --backend torch.")
    if parameters.get("calibration") == "histogram":
        raise UsageError(
            "onnxruntime takes ranges of a histogram by percentile or by entropy. Use calibration=percentile|entropy."
        )


def _check_weights(parameters: Mapping[str, str]) -> None:
    """Raises UsageError where a parameter does not fit to what is quantized, weights alone or activations too."""
    if not _of_weights_alone(parameters):
        if parameters[MAIN] == "int4":
            raise UsageError("onnxruntime multiplies no activations in INT4. Use quantize:int4,what=weights.")
        if "group" in parameters:
            raise UsageError(
                "group of quantize belongs to what=weights, where each has a scale of its own. Leave it out."
            )
        return
    without_use = [name for name in parameters if name not in OF_WEIGHTS]
    if without_use:
        raise UsageError(
            f"{without_use[0]} of quantize says nothing with what=weights, which leaves activations in float32. "
            "Leave it out."
        )


def _kept(source: Path, parameters: Mapping[str, str]) -> list[str]:
    """Returns the names of the nodes that stay in float32; what their neighbours take and give is rounded still."""
    import onnx

    model = onnx.load(source)
    if _value(parameters, "layers") == "but-ends":
        # The first sees the image and the last makes the answer: what rounds worst, and is least of the work.
        parameters = {**parameters, KEEP: joined({0, len(layers(model)) - 1})}
    return [name for layer in kept("quantize", model, parameters) for name in layer.names]


def _float16(source: Path, target: Path, without: list[str]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True, node_block_list=without), target)


def _static(
    ready: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32], without: list[str]
) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    method = getattr(CalibrationMethod, METHODS[_value(parameters, "calibration")])
    symmetric = _value(parameters, "symmetry") == "symmetric"
    with tempfile.TemporaryDirectory() as folder:
        ranges = Path(folder) / "ranges.json"
        ranges.write_bytes(_ranges(ready, method, samples, symmetric=symmetric))

        def quantized(path: Path, options: Mapping[str, Any]) -> None:
            kind = {"uint8": "QUInt8", "int8": "QInt8"}[_value(parameters, "activations")]
            quantize_static(
                ready,
                path,
                None,
                quant_format=QuantFormat.QDQ,
                per_channel=_value(parameters, "granularity") == "channel",
                reduce_range=_value(parameters, "range") == "reduced",
                activation_type=getattr(QuantType, kind),
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                nodes_to_exclude=without,
                extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, **options},
                calibration_cache_path=ranges,
            )

        if _value(parameters, "scale") == "power-of-two":
            _powers.quantize(quantized, target)
        else:
            quantized(target, {})


def _ranges(model: Path, method: Any, samples: NDArray[np.float32], *, symmetric: bool) -> bytes:
    """Returns what `_calibrate` writes, from memory where that was asked last: entropy takes a minute."""
    key = digest_of([sha256_file(model), method.name, sha256_bytes(samples.tobytes()), symmetric])
    if key not in _taken:
        with tempfile.TemporaryDirectory() as folder:
            ranges = Path(folder) / "ranges.json"
            _calibrate(model, ranges, method, samples, symmetric=symmetric)
            _taken.clear()
            _taken[key] = ranges.read_bytes()
    return _taken[key]


def _calibrate(model: Path, ranges: Path, method: Any, samples: NDArray[np.float32], *, symmetric: bool) -> None:
    """Writes the ranges of a model's activations.

    By default onnxruntime takes 128 bins for entropy, of which 128 quantized ones leave nothing to choose, and has
    percentiles symmetric about zero, which costs what is never negative half of its codes.
    """
    from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

    bins = {} if method.name == "MinMax" else {"num_bins": BINS}
    with tempfile.TemporaryDirectory() as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        options = {"symmetric": symmetric, **bins}
        calibrator = create_calibrator(model, None, augmented, method, extra_options=options)
        for start in range(0, len(samples), CALIBRATION_BATCH):
            calibrator.collect_data(_reader(samples[start : start + CALIBRATION_BATCH]))
        save_tensors_data(calibrator.compute_data(), ranges)


def _reader(samples: NDArray[np.float32]) -> "CalibrationDataReader":
    """Returns what hands samples to onnxruntime's calibration, all at once."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out the samples once."""

        def __init__(self) -> None:
            self._left = [samples]

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Returns the samples by the model's input, then None."""
            return {"input": self._left.pop()} if self._left else None

    return Reader()


def _value(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, CHOICES[name][0])
