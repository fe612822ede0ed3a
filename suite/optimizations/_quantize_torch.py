"""quantize for torch: INT8 by its PT2E, a program that oneDNN's integer operators run; or everything in 16 bits.

PT2E (torchao): a quantizer says of a traced network what is to be in integers, observers see training samples, and what
comes of it quantizes and dequantizes around each operator. suite.backends.torch has oneDNN's operators in their place.
With scales of each batch, and of weights alone, torch has kernels for linear layers and none for convolutions.
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
    "what": ("all", "weights"),
    "scales": ("static", "dynamic"),
    "granularity": ("channel", "tensor"),
    "scale": ("float", "power-of-two"),
    "calibration": ("minmax", "histogram"),
    "activations": ("uint8",),
    "symmetry": ("asymmetric", "symmetric"),
    "range": ("full", "reduced"),
    "samples": ("256", "64", "1024"),
}
# All that there is to choose of where weights alone are quantized: each output has a scale, and none a zero point.
OF_WEIGHTS = ("type", "what")
# The codes of activations. Reduced by a bit, two products of theirs and of weights fit into the 16 bits in which
# processors without VNNI add them up.
CODES = {"full": (0, 255), "reduced": (0, 127)}
# No scale is smaller: that of torch's own configuration for x86.
EPSILON = 2**-12
# The largest code of a weight that has a negative one beside it.
WIDEST = 127
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
    without_use = [name for name in parameters if name not in OF_WEIGHTS]
    if parameters.get("what") == "weights" and without_use:
        raise UsageError(
            f"{without_use[0]} of quantize says nothing with what=weights for torch, whose linear layers have one "
            "scale an output. Leave it out."
        )
    if parameters["type"] not in FLOATS and parameters.get("what") != "weights" and PACKAGE not in packages():
        raise UsageError(f"quantize:{parameters['type']} for torch needs {PACKAGE}. Run: pip install {PACKAGE}")


def make(
    workload: Workload, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the network with the weights at `source` quantized: its program, or its weights in 16 bits.

    `parameters` has a value for each; the scales of activations come from `samples`, where they are fixed.
    """
    if parameters["type"] in FLOATS:
        _cast(source, target, parameters["type"])
        return {}
    import torch

    network, example = load_network(workload, source), torch.zeros(2, *workload.input_shape)
    with export_program.quiet(), torch.no_grad():
        if parameters["what"] == "weights":
            made = _with_integer_weights(network)
        else:
            made = _without_unused(_in_integers(network, example, parameters, samples))
        export_program.save(export_program.traced(made, example).run_decompositions(_decompositions()), target)
    return {"format": FORMAT}


def _in_integers(
    network: "torch.nn.Module",
    example: "torch.Tensor",
    parameters: Mapping[str, str],
    samples: NDArray[np.float32] | None,
) -> "torch.fx.GraphModule":
    """Returns a network that quantizes and dequantizes around its operators, by the ranges of samples or of a batch."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    # The quantizer knows its operators by the functions that they were traced from, which strict tracing notes.
    graph = export_program.traced(network, example, strict=True).module(check_guards=False)
    observed = prepare_pt2e(graph, _quantizer(parameters))
    # Without samples activations' ranges are not wanted; one call shows the weights to their observers.
    seen = [example] if samples is None else torch.split(torch.from_numpy(samples), CALIBRATION_BATCH)
    for batch in seen:
        observed(batch)
    found: torch.fx.GraphModule = convert_pt2e(observed)
    return found


def _with_integer_weights(network: "torch.nn.Module") -> "torch.nn.Module":
    """Returns a network whose linear layers have weights of INT8, which torch's operator widens as it multiplies.

    Raises UsageError where there is no linear layer.
    """
    import torch

    class Linear(torch.nn.Module):
        """A linear layer with one scale an output."""

        bias: torch.Tensor | None

        def __init__(self, layer: torch.nn.Linear) -> None:
            super().__init__()
            # A row of zeros has a scale, too.
            scales = (layer.weight.abs().amax(dim=1) / WIDEST).clamp(min=torch.finfo(torch.float32).tiny)
            self.register_buffer("weight", torch.round(layer.weight / scales[:, None]).to(torch.int8))
            self.register_buffer("scales", scales)
            self.register_buffer("bias", layer.bias)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            """Returns the layer's outputs, shape (..., outputs)."""
            rows = inputs.reshape(-1, inputs.shape[-1])
            products = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scales)
            outputs: torch.Tensor = products.reshape(*inputs.shape[:-1], products.shape[-1])
            return outputs if self.bias is None else outputs + self.bias

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)]
    if not layers:
        raise UsageError(
            "torch has integer kernels of weights alone for linear layers, of which this network has none. Use "
            "quantize:int8."
        )
    for name, layer in layers:
        network.set_submodule(name, Linear(layer))
    return network


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
    from torchao.quantization.pt2e import (
        HistogramObserver,
        MinMaxObserver,
        PerChannelMinMaxObserver,
        PlaceholderObserver,
    )
    from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer

    class OneScale(PerChannelMinMaxObserver):  # type: ignore[misc]
        """Gives all channels the scale of the widest: oneDNN's operators want one for each."""

        def calculate_qparams(self) -> "tuple[torch.Tensor, torch.Tensor]":
            """Returns the scales and zero points, shape (channels,)."""
            scales, zeros = super().calculate_qparams()
            return torch.full_like(scales, scales.max()), zeros

    dynamic, powers = parameters["scales"] == "dynamic", parameters["scale"] == "power-of-two"
    observer = {"minmax": MinMaxObserver, "histogram": HistogramObserver}[parameters["calibration"]]
    lowest, highest = CODES[parameters["range"]]
    symmetric = parameters["symmetry"] == "symmetric"
    activations = QuantizationSpec(
        dtype=torch.uint8,
        quant_min=lowest,
        quant_max=highest,
        qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        is_dynamic=dynamic,
        observer_or_fake_quant_ctr=_observing(PlaceholderObserver if dynamic else observer, powers),
    )
    weights = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=_observing(
            PerChannelMinMaxObserver if parameters["granularity"] == "channel" else OneScale, powers
        ),
    )
    config = QuantizationConfig(activations, activations, weights, None, False)
    if dynamic:
        return X86InductorQuantizer().set_function_type_qconfig(torch.nn.functional.linear, config)
    return X86InductorQuantizer().set_global(config)


def _observing(observer: type[Any], powers: bool) -> Any:
    """Returns what makes observers of a kind, whose scales are rounded up to powers of two where that is wanted."""
    import torch

    class Powers(observer):  # type: ignore[misc]
        """Rounds scales up, so that no value is cut off; where codes are not symmetric the lowest keeps its value."""

        def calculate_qparams(self) -> "tuple[torch.Tensor, torch.Tensor]":
            """Returns the scales and zero points."""
            scales, zeros = super().calculate_qparams()
            rounded = torch.exp2(torch.ceil(torch.log2(scales)))
            if self.qscheme == torch.per_tensor_affine:
                moved = self.quant_min - (self.quant_min - zeros) * scales / rounded
                zeros = torch.round(moved).to(zeros.dtype)
            return rounded, zeros

    return (Powers if powers else observer).with_args(eps=EPSILON)
