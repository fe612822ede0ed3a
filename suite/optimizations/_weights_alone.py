"""Weights alone as integers, a scale and a zero point for each group: onnxruntime's MatMulNBits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UsageError
from suite.optimizations._onnx import rewritten

# Of the operator's accuracy levels, the one that multiplies activations in float32, as they are.
IN_FLOAT32 = 1


def make(
    source: Path, target: Path, *, bits: int, group: int, symmetric: bool, without: Sequence[str]
) -> dict[str, Any]:
    """Writes the model with such weights in each MatMul and Gemm, and returns in how many of its layers.

    `without` are the names of nodes that stay in float32; `group` weights that are added up one after another have one
    scale; where `symmetric`, no zero point. Convolutions stay in float32, as onnxruntime has no such kernel for one.
    Raises UsageError where there is nothing else.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    with rewritten("quantize", source, target, {}) as (model, found):
        # The quantizer looks for weights in a MatMul alone.
        ONNXModel(model).replace_gemm_with_matmul()
        MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=group,
            is_symmetric=symmetric,
            accuracy_level=IN_FLOAT32,
            nodes_to_exclude=list(without),
        ).process()
        made = sum(node.op_type == "MatMulNBits" for node in model.graph.node)
        if not made:
            raise UsageError(
                "quantize finds no MatMul or Gemm in this model, and onnxruntime has kernels for integer weights "
                "beside float32 of these alone. Leave out what=weights."
            )
    return {"weights_alone": {"layers": len(found), "quantized": made}}
