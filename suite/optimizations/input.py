"""Takes images in another form: as bytes (`input:uint8`), channels last, or made smaller (`input:resolution=14`).

Bytes are normalised in the graph, by the operations of the reference's preprocessing in their order, so that the first
layer is given the same bits. They are not made a part of that layer: a convolution pads with zeros what is normalised
already, and the pixel of which normalization makes zero, 255 * mean, need not be a whole number.

A smaller image is the network's input as it is, where a pool over all that is left lets it take any size; or the graph
makes it as large again (`restore=yes`), so that less is gathered and as much computed.

Samples that are stored as pixels (`stored=raw`) have nothing to decode, which shows end to end alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.forms import AREA, BILINEAR, ENCODED, NEAREST, RAW, REFERENCE, WHITE, Form, Normalization
from suite.optimizations._onnx import FORMATS as FORMATS
from suite.optimizations._onnx import check_backend
from suite.parameters import Values
from suite.plugins import BackendDescription

if TYPE_CHECKING:
    import onnx

MAIN = "type"
# The first value of each is what is taken where none is given; of a resolution that is the reference's.
CHOICES = {
    "type": ("float32", "uint8"),
    "layout": ("nchw", "nhwc"),
    "resize": (AREA, NEAREST, BILINEAR),
    "restore": ("no", "yes"),
    "stored": (ENCODED, RAW),
}
PARAMETERS: Mapping[str, Values] = {**CHOICES, "resolution": range(1, 1025)}
PACKAGES = ("onnx", "onnxruntime", "onnxruntime-gpu", "numpy")
FINAL = False

# An operator, what it takes beside an image (None for what is left out), and its attributes.
Operation = tuple[str, Sequence[NDArray[Any] | None], Mapping[str, Any]]

OF_RESOLUTION = ("resize", "restore")
# Images on which a model that was made is tried.
TRIED = 2


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no ONNX, or nothing is asked for that the reference does not do."""
    check_backend("input", backend)
    without_use = [name for name in OF_RESOLUTION if name in parameters and "resolution" not in parameters]
    if without_use:
        raise UsageError(f"{without_use[0]} of input says nothing without resolution. Leave it out.")
    if form(parameters) == REFERENCE:
        raise UsageError(
            "input needs another form than the reference takes: input:uint8, input:layout=nhwc, input:resolution=14 or "
            "input:stored=raw."
        )


def form(parameters: Mapping[str, str]) -> Form:
    """Returns the form in which the model takes images."""
    return Form(
        raw=_value(parameters, "type") == "uint8",
        channels_last=_value(parameters, "layout") == "nhwc",
        side=int(parameters["resolution"]) if "resolution" in parameters else None,
        resize=_value(parameters, "resize"),
        stored=_value(parameters, "stored"),
    )


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns that no training samples are looked at."""
    return 0


def open_because(parameters: Mapping[str, str]) -> list[str]:
    """Returns what of it MLPerf's closed division forbids.

    Source: MLPerf Inference Rules, "Closed Division": pre-processing is equivalent to the reference's. By "Pre- and
    post-processing" numerical formats, layouts and the place of normalization are free.
    """
    return ["its images are made smaller"] if "resolution" in parameters else []


def make(
    source: Path,
    target: Path,
    parameters: Mapping[str, str],
    samples: NDArray[np.float32] | None,
    normalization: Normalization | None = None,
) -> dict[str, Any]:
    """Writes the model with another input, and returns in words what is done to an image before.

    Raises UsageError where the images would not be smaller, or the model takes none that are.
    """
    import onnx
    from onnx import TensorProto

    assert normalization
    model, taken = onnx.load(source), form(parameters)
    given = model.graph.input[0].type.tensor_type
    whole = tuple(axis.dim_value for axis in given.shape.dim[1:])
    if taken.side is not None and taken.side >= min(whole[1:]):
        raise UsageError(
            f"The model takes images of {whole[1]} x {whole[2]} pixels, which a resolution of {taken.side} makes no "
            f"smaller. Give one below {min(whole[1:])}."
        )
    size = whole[1:] if _value(parameters, "restore") == "yes" else None
    _prepend(model, _undoing(taken, normalization, size))
    given.elem_type = TensorProto.UINT8 if taken.raw else TensorProto.FLOAT
    shape = taken.shape(whole)
    for axis, length in zip(given.shape.dim[1:], shape, strict=True):
        axis.dim_value = length
    # They were those of a larger image.
    del model.graph.value_info[:]
    if taken.side is not None and not _answers(model, np.zeros((TRIED, *shape), taken.dtype)):
        raise UsageError(
            f"The network takes no images of {taken.side} x {taken.side} pixels. Add restore=yes, which has the graph "
            "make them as large again."
        )
    onnx.save(model, target)
    return {"input": taken.said(normalization)}


def _undoing(taken: Form, normalization: Normalization, size: Sequence[int] | None) -> list[Operation]:
    """Returns what makes of an image in a form what the reference takes; as large as `size`, where that is given."""
    from onnx import TensorProto

    found: list[Operation] = []
    if taken.channels_last:
        found.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if taken.raw:
        found.append(("Cast", [], {"to": TensorProto.FLOAT}))
        operands = (("Div", WHITE), ("Sub", normalization.mean), ("Div", normalization.std))
        found += [(operator, [np.array(operand, np.float32)], {}) for operator, operand in operands]
    if size is not None:
        # Before the size come a region of interest and factors, neither of which is wanted.
        found.append(("Resize", [None, None, np.array(size)], {"axes": [2, 3], "mode": "linear"}))
    return found


def _prepend(model: "onnx.ModelProto", operations: Sequence[Operation]) -> None:
    """Puts operations, one after another, between a model's input and what takes it."""
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    name = last = graph.input[0].name
    nodes = []
    for number, (operator, operands, attributes) in enumerate(operations):
        made = f"{name}/{operator}_{number}"
        names = ["" if operand is None else f"{made}/{place}" for place, operand in enumerate(operands)]
        graph.initializer.extend(
            numpy_helper.from_array(operand, one)
            for one, operand in zip(names, operands, strict=True)
            if operand is not None
        )
        nodes.append(helper.make_node(operator, [last, *names], [made], made, **attributes))
        last = made
    for node in graph.node:
        node.input[:] = [last if one == name else one for one in node.input]
    # Copied before the old ones go.
    ordered = onnx.GraphProto(node=[*nodes, *graph.node])
    del graph.node[:]
    graph.node.extend(ordered.node)


def _answers(model: "onnx.ModelProto", images: NDArray[Any]) -> bool:
    """Tells whether a model answers images, each in the shape that it says."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    # What it does not answer is no news.
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: images})[0].shape
    except (state.Fail, state.InvalidArgument, state.InvalidGraph, state.RuntimeException):
        return False
    _, *said = session.get_outputs()[0].shape
    return bool(found[0] == len(images) and list(found[1:]) == said)


def _value(parameters: Mapping[str, str], name: str) -> str:
    return parameters.get(name, CHOICES[name][0])
