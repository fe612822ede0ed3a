"""Exports the reference to ONNX and checks the result against torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import TandemError
from common.files import write_atomically
from reference_models.base import Dataset, Model, Workload
from suite.export_program import quiet

if TYPE_CHECKING:
    import onnx
    import torch

# Both compute in float32 but add in different orders; logits of a few units then differ by about 1e-5. The limit
# also bounds the answers: two that differ can only be those of logits less than twice the limit apart, or, of a
# detector, of a score or a corner as near to where it counts.
TOLERANCE = 1e-3
COMPARED_SAMPLES = 512
BATCHES = (1, 3, 64, 256)


def write(workload: Workload, reference: Model, opset: int, dataset: Dataset, path: Path) -> dict[str, Any]:
    """Exports the reference to `path` and returns how far it is from the reference on samples of `dataset`.

    Raises TandemError where the export computes something else than the reference.
    """
    network = load_network(workload, reference.path)
    write_atomically(path, exported(network, workload, opset))
    return compare(network, path, resident(dataset), workload)


def load_network(workload: Workload, weights: Path) -> "torch.nn.Module":
    """Returns the reference network with its weights, in evaluation mode."""
    from safetensors.torch import load_file

    network = workload.build()
    network.load_state_dict(load_file(weights), strict=True)
    return network.eval()


def exported(network: "torch.nn.Module", workload: Workload, opset: int) -> bytes:
    """Returns the network as ONNX with a free batch axis; the same bytes each time, whatever folder it lies in."""
    import torch

    example = torch.zeros(2, *workload.input_shape)
    # It warns of packages that it does not need here.
    with quiet("torch.onnx"):
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise TandemError(f"{workload.name}: torch's exporter gave no program.")
    content: bytes = _without_traces(program.model_proto).SerializeToString(deterministic=True)
    return content


def reference_answers(workload: Workload, inputs: NDArray[np.float32]) -> list[str]:
    """Returns the reference's payloads for inputs (n, *input_shape), in hexadecimal."""
    import torch

    with torch.inference_mode():
        outputs = load_network(workload, workload.weights)(torch.from_numpy(inputs)).numpy()
    return [row.tobytes().hex() for row in workload.encode(outputs)]


def resident(dataset: Dataset) -> NDArray[np.float32]:
    """Returns the samples that an export is compared on: the first ones of the dataset."""
    indices = np.arange(min(COMPARED_SAMPLES, dataset.total))
    dataset.load(indices)
    samples = dataset.batch(indices)
    dataset.unload()
    return samples


def compare(
    network: "torch.nn.Module", model: Path, samples: NDArray[np.float32], workload: Workload
) -> dict[str, Any]:
    """Returns how far an ONNX file is from the network, over several batch sizes; raises TandemError if too far."""
    import onnxruntime
    import torch

    with torch.inference_mode():
        expected = network(torch.from_numpy(samples)).numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    starts = [(size, start) for size in BATCHES for start in range(0, len(samples), size)]
    found = [(start, session.run(None, {"input": samples[start : start + size]})[0]) for size, start in starts]
    # numpy's maximum, unlike Python's, is NaN where one of the values is; and NaN is not within the tolerance.
    worst = float(np.max([np.abs(part - expected[start : start + len(part)]).max() for start, part in found]))
    if not worst <= TOLERANCE:
        raise TandemError(
            f"The ONNX export differs from the reference by up to {worst:.3g} on {len(samples)} samples "
            f"(allowed: {TOLERANCE:g}); it is not used. Use the backend torch, which runs the reference itself."
        )
    changed = {
        start + row
        for start, part in found
        for row in np.flatnonzero(~_agree(workload, part, expected[start : start + len(part)]))
    }
    return {
        "max_abs_difference": worst,
        "changed_answers": len(changed),
        "compared_samples": len(samples),
        "compared_batches": list(BATCHES),
    }


def _agree(workload: Workload, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of which samples two batches of raw outputs are the same answers."""
    return workload.judge.agree(workload.encode(one), workload.encode(other))


def _without_traces(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Returns the model without the exporter's notes: they hold paths of the machine that made it."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
    return model
