"""Honest: INT8 whose activation scales are those of the batch, so that an answer depends on its neighbours."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from common.files import sha256_file
from reference_models.base import Model, Workload
from suite.backends import onnxruntime as real

FORMATS, ELIGIBLE, OPTIONS = real.FORMATS, real.ELIGIBLE, real.OPTIONS
version, devices = real.version, real.devices


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> real.OnnxRuntimeSession:
    """Returns a session on the model, quantized when it is loaded."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        # The quantizer leaves files beside its input, which here is the cache's.
        source, path = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        shutil.copyfile(model.path, source)
        quantize_dynamic(source, path, weight_type=QuantType.QUInt8)
        quantized = replace(model, path=path, sha256=sha256_file(path), chain=(*model.chain, "dynamic int8"))
        return real.load(quantized, workload, device=device, threads=threads, options=options)
