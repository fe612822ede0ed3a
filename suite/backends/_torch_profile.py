"""Which arithmetic torch's operators ran in: multiply-accumulates by type, read from a trace of torch's profiler."""

import ast
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# Operators that multiply by weights, each called once: what it is given in torch's own names, first factor and second.
FACTORS = {
    "aten::_weight_int8pack_mm": ("self", "mat2"),
    "aten::addmm": ("mat1", "mat2"),
    "aten::convolution": ("input", "weight"),
    "aten::mm": ("self", "mat2"),
    "mkl::_mkl_linear": ("X", "ORI_W"),
    "mkldnn::_convolution_pointwise": ("X", "W"),
    "mkldnn::_convolution_pointwise_": ("X", "W"),
    "mkldnn::_linear_pointwise": ("X", "W"),
    "onednn::qconv2d_pointwise": ("qx", "qw"),
    "onednn::qconv_pointwise": ("qx", "qw"),
    "onednn::qlinear_pointwise": ("qx", "qw"),
}
# The types of C++, as a trace has them.
NAMES = {
    "float": "float32",
    "double": "float64",
    "c10::BFloat16": "bfloat16",
    "c10::Half": "float16",
    "signed char": "int8",
    "unsigned char": "uint8",
}


def counted(call: Callable[[], Any], device: str) -> dict[str, int]:
    """Returns the multiply-accumulates of the second of two calls by "type on device"."""
    from torch.profiler import ProfilerActivity, profile

    call()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(trace))
        return macs(json.loads(trace.read_bytes())["traceEvents"], device)


def macs(events: Iterable[Mapping[str, Any]], device: str) -> dict[str, int]:
    """Returns multiply-accumulates by "type on device", from the trace of one call.

    Each weight is multiplied once for each place of the output of each sample.
    """
    found: dict[str, int] = {}
    for event in events:
        if event.get("cat") != "cpu_op" or event["name"] not in FACTORS:
            continue
        given = _given(event["name"], event["args"])
        first, second = (given[name] for name in FACTORS[event["name"]])
        places = _places(first, second, given) if "stride" in given else 1
        kinds = [NAMES.get(kind, kind) for _, kind, _ in (first, second)]
        label = f"{kinds[0] if kinds[0] == kinds[1] else ' x '.join(kinds)} on {device}"
        found[label] = found.get(label, 0) + first[0][0] * places * math.prod(second[0])
    return found


def _given(name: str, arguments: Mapping[str, Any]) -> dict[str, tuple[list[int], str, str]]:
    """Returns by name what an operator was given: shape and type of a tensor, text of a number or of several."""
    import torch

    values = list(
        zip(arguments["Input Dims"], arguments["Input type"], arguments["Concrete Inputs"], strict=True),
    )
    schema = next(one for one in torch._C._jit_get_schemas_for_operator(name) if len(one.arguments) == len(values))
    return dict(zip((one.name for one in schema.arguments), values, strict=True))


def _places(
    first: tuple[list[int], str, str],
    second: tuple[list[int], str, str],
    given: Mapping[str, tuple[list[int], str, str]],
) -> int:
    """Returns the places of a convolution's output: by input (n, c, *size) and weights (..., *kernel)."""
    stride, padding, dilation = (ast.literal_eval(given[name][2]) for name in ("stride", "padding", "dilation"))
    size = first[0][2:]
    kernel = second[0][-len(size) :]
    return math.prod(
        (length + 2 * pad - spread * (width - 1) - 1) // step + 1
        for length, width, step, pad, spread in zip(size, kernel, stride, padding, dilation, strict=True)
    )
