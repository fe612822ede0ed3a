"""What upstream's harness has no flags for comes with the model: nothing to compute, or a number of threads."""

import json
import math

from reference_models.base import Workload

# As suite.artifacts exports. A runtime that is older than an IR refuses to read it.
OPSET = 20
IR_VERSION = 9

# The metadata that ONNX Runtime takes session options from, where the environment has LOAD_CONFIG=1.
# Source: onnxruntime, core/session/inference_session_utils.h.
CONFIG_KEY = "ort_config"
LOAD_CONFIG = "ORT_LOAD_CONFIG_FROM_MODEL"


def null_model(workload: Workload) -> bytes:
    """Returns an ONNX model of the workload's shapes, with a free batch axis: its outputs are the first inputs.

    Upstream's own null backend sleeps in each call and answers one sample of a batch, so that batches break on it.
    """
    from onnx import TensorProto, helper

    outputs = math.prod(workload.output_shape)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("Slice", ["flat", "start", "end", "axis"], ["output"]),
        ],
        "null",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *workload.input_shape])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", outputs])],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("start", 0), ("end", outputs), ("axis", 1))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    content: bytes = model.SerializeToString()
    return content


def with_intra_op_threads(model: bytes, threads: int) -> bytes:
    """Returns the model with the number of threads that ONNX Runtime is to compute it on in its metadata."""
    import onnx

    loaded = onnx.load_model_from_string(model)
    entry = loaded.metadata_props.add()
    entry.key = CONFIG_KEY
    entry.value = json.dumps({"session_options": {"intra_op_num_threads": threads}})
    content: bytes = loaded.SerializeToString()
    return content
