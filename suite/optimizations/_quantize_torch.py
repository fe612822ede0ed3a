"""quantize for torch: INT8 by its PT2E, a program that oneDNN's integer operators run; or everything in 16 bits.

PT2E (torchao): a quantizer says of a traced network what is to be in integers, observers see training samples, and what
comes of it quantizes and dequantizes around each operator. suite.backends.torch has oneDNN's operators in their place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from suite import export_program
from suite.environment import packages
from suite.export import load_network

if TYPE_CHECKING:
    import torch
    from torchao.quantization.pt2e.quantizer import Quantizer

# A backend that loads these runs what is made here.
FORMAT = export_program.FORMAT
PACKAGE = "torchao"

# What torch has of each parameter; where a parameter is missing here, it has nothing of it.
TYPES = ("int8", "bfloat16", "float16")
FLOATS = ("bfloat16", "float16")
ALLOWED = {
    "what": ("all",),
    # Of scales that come from each batch oneDNN has no integer convolution.
    "scales": ("static",),
    "granularity": ("channel", "tensor"),
    "calibration": ("minmax", "histogram"),
    "activations": ("uint8",),
    "symmetry": ("asymmetric", "symmetric"),
    "range": ("full", "reduced"),
    "samples": ("256", "64", "1024"),
}
# The codes of activations. Reduced by a bit, two products of theirs and of weights fit into the 16 bits in which
# processors without VNNI add them up.
CODES = {"full": (0, 255), "reduced": (0, 127)}
# No scale is smaller: that of torch's own configuration for x86.
EPSILON = 2**-12
# As many samples at a time.
CALIBRATION_BATCH = 32


def check(parameters: Mapping[str, str]) -> None:
    """Raises UsageError where torch has no such type, parameter or value."""
    if parameters["type"] not in TYPES:
        raise UsageError(
            f"quantize makes no {parameters['type']} for torch. Use quantize:{'|'.join(TYPES)}, or "
            "--backend onnxruntime."
        )
    for name, value in parameters.items():
        if name != "type" and value not in ALLOWED.get(name, ()):
            raise UsageError(
                f"{name}={value} of quantize is not for torch"
                + (f", which has {name}={'|'.join(ALLOWED[name])}" if name in ALLOWED else "")
                + ". Leave it out, or use --backend onnxruntime."
            )
    if parameters["type"] not in FLOATS and PACKAGE not in packages():
        raise UsageError(f"quantize:{parameters['type']} for torch needs {PACKAGE}. Run: pip install {PACKAGE}")


def make(
    workload: Workload, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the network with the weights at `source` quantized: its program, or its weights in 16 bits.

    `parameters` has a value for each; the scales of activations come from `samples`, which 16 bits do not need.
    """
    if parameters["type"] in FLOATS:
        _cast(source, target, parameters["type"])
        return {}
    import torch

    assert samples is not None
    example = torch.zeros(2, *workload.input_shape)
    with export_program.quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        # The quantizer knows its operators by the functions that they were traced from, which strict tracing notes.
        graph = export_program.traced(load_network(workload, source), example, strict=True).module(check_guards=False)
        observed = prepare_pt2e(graph, _quantizer(parameters))
        for start in range(0, len(samples), CALIBRATION_BATCH):
            observed(torch.from_numpy(samples[start : start + CALIBRATION_BATCH]))
        program = export_program.traced(_without_unused(convert_pt2e(observed)), example)
        export_program.save(program.run_decompositions(_decompositions()), target)
    return {"format": FORMAT}


def _cast(source: Path, target: Path, kind: str) -> None:
    """Writes all weights that are no integers in 16 bits, batch normalization's too."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(source)
    save_file(
        {name: one.to(getattr(torch, kind)) if one.is_floating_point() else one for name, one in weights.items()},
        target,
    )


def _without_unused(graph: "torch.fx.GraphModule") -> "torch.fx.GraphModule":
    """Returns a graph without the weights that it had before they were quantized."""
    used = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in (*graph.named_parameters(), *graph.named_buffers()) if name not in used]:
        owner, _, own = name.rpartition(".")
        delattr(graph.get_submodule(owner), own)
    return graph


def _decompositions() -> dict[Any, Any]:
    """Returns what operators are made of, as far as the passes that find integer operators want to see it.

    They know ReLU6 by its two bounds, of which the exporter's table would make a clamp again, and so on without end.
    """
    import torch
    from torch._inductor.decomposition import decompositions

    aten = torch.ops.aten
    table = {**torch.export.default_decompositions()}
    for bound in (aten.clamp_min.default, aten.clamp_max.default):
        table.pop(bound, None)
    return {**table, **{one: decompositions[one] for one in (aten.hardtanh.default, aten.clamp.default)}}


def _quantizer(parameters: Mapping[str, str]) -> "Quantizer":
    """Returns what says which operators run in integers, and how."""
    import torch
    from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer

    class OneScale(PerChannelMinMaxObserver):  # type: ignore[misc]
        """Gives all channels the scale of the widest: oneDNN's operators want one for each."""

        def calculate_qparams(self) -> "tuple[torch.Tensor, torch.Tensor]":
            """Returns the scales and zero points, shape (channels,)."""
            scales, zeros = super().calculate_qparams()
            return torch.full_like(scales, scales.max()), zeros

    observer = {"minmax": MinMaxObserver, "histogram": HistogramObserver}[parameters["calibration"]]
    lowest, highest = CODES[parameters["range"]]
    symmetric = parameters["symmetry"] == "symmetric"
    activations = QuantizationSpec(
        dtype=torch.uint8,
        quant_min=lowest,
        quant_max=highest,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=observer.with_args(eps=EPSILON),
    )
    weights = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=(
            PerChannelMinMaxObserver if parameters["granularity"] == "channel" else OneScale
        ).with_args(eps=EPSILON),
    )
    return X86InductorQuantizer().set_global(QuantizationConfig(activations, activations, weights, None, False))
