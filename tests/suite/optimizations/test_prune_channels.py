"""Channels: which go together, which go, and that what is left computes what the model computes without them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from common.errors import UsageError
from suite import plugins
from suite.backends import onnxruntime as backend
from suite.optimizations import prune_channels
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

# Layers whose channels are added to one another, or that work on each other's one by one.
TOGETHER = {
    "fashion-resnet": (
        ("stem.0", "stages.0.body.3"),
        ("stages.0.body.0",),
        ("stages.1.body.0",),
        ("stages.1.body.3", "stages.1.shortcut.0"),
        ("stages.2.body.0",),
        ("stages.2.body.3", "stages.2.shortcut.0"),
    ),
    "fashion-mobilenet": (
        ("stem.0",),
        ("blocks.0.body.0.0", "blocks.0.body.1.0"),
        ("blocks.0.body.2", "blocks.1.body.2"),
        ("blocks.1.body.0.0", "blocks.1.body.1.0"),
        ("blocks.2.body.0.0", "blocks.2.body.1.0"),
        ("blocks.2.body.2", "blocks.3.body.2"),
        ("blocks.3.body.0.0", "blocks.3.body.1.0"),
        ("blocks.4.body.0.0", "blocks.4.body.1.0"),
        ("blocks.4.body.2",),
        ("last.0",),
    ),
}
MACS = {"fashion-resnet": 9_345_920, "fashion-mobilenet": 4_613_728}


def source(workload: str) -> Path:
    return loading.model(plugins.workload(workload), plugins.backend("onnxruntime")).path


def outputs(model: Path | bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"input": inputs})[0]
    return found


def silenced(model: Path, groups: Sequence[Sequence[str]], share: float) -> bytes:
    """Returns the model in which the weakest channels of each group are nothing but zero, and the same in number."""
    loaded = onnx.load(model)
    constants = {one.name: one for one in loaded.graph.initializer}
    for layers in groups:
        values = {
            name: numpy_helper.to_array(constants[name]).copy()
            for layer in layers
            for name in (f"{layer}.weight", f"{layer}.weight_bias")
        }
        size = len(values[f"{layers[0]}.weight"])
        strength = sum(np.abs(values[f"{layer}.weight"]).reshape(size, -1).sum(axis=1) for layer in layers)
        weakest = np.argsort(strength)[: round(share * size)]
        for name, value in values.items():
            value[weakest] = 0
            constants[name].CopyFrom(numpy_helper.from_array(value, name))
    return bytes(loaded.SerializeToString())


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize("workload", TOGETHER)
def test_what_is_left_computes_what_the_model_does_without_the_weakest(
    workload: str, share: float, tmp_path: Path
) -> None:
    model, images = source(workload), loading.images(workload, 200)
    prune_channels.make(model, tmp_path / "pruned.onnx", {"share": str(share), "multiple": "1"}, None)
    found, expected = (
        outputs(tmp_path / "pruned.onnx", images),
        outputs(silenced(model, TOGETHER[workload], share), images),
    )
    assert np.abs(found - expected).max() < 1e-4
    assert np.abs(found - outputs(model, images)).max() > 0.1


@pytest.mark.parametrize("workload", TOGETHER)
def test_the_card_says_what_is_left_of_channels_and_work(workload: str, tmp_path: Path) -> None:
    chosen = loading.variant("onnxruntime", plugins.workload(workload), "prune-channels:0.5")
    card = prune_channels.make(source(workload), tmp_path / "pruned.onnx", {"share": "0.5"}, None)
    assert {tuple(sorted(one["layers"])) for one in card["channels"]} == {
        tuple(sorted(f"{layer}.weight" for layer in layers)) for layers in TOGETHER[workload]
    }
    assert all(one["after"] == one["before"] / 2 for one in card["channels"])
    assert card["macs"]["before"] == MACS[workload]
    # As the runtime's own profile counts them.
    how: dict[str, Any] = {"device": "cpu", "threads": 1, "options": chosen.options}
    ran = backend.arithmetic(chosen.model, plugins.workload(workload), **how)
    assert card["macs"]["after"] == sum(ran.values()) < 0.35 * MACS[workload]


def test_a_multiple_keeps_more_channels_and_never_fewer(tmp_path: Path) -> None:
    plain, rounded = (
        prune_channels.make(source("fashion-mobilenet"), tmp_path / "pruned.onnx", parameters, None)["channels"]
        for parameters in ({"share": "0.3", "multiple": "1"}, {"share": "0.3", "multiple": "8"})
    )
    after = {tuple(one["layers"]): one["after"] for one in rounded}
    assert after and all(count % 8 == 0 for count in after.values())
    for one in plain:
        kept = after.get(tuple(one["layers"]), one["before"])
        assert one["after"] <= kept < one["after"] + 8


def test_a_pruned_model_is_quantized() -> None:
    workload, recipe = plugins.workload("fashion-mobilenet"), "prune-channels:0.1"
    answers = []
    for text in (recipe, f"{recipe}+quantize:int8,range=reduced"):
        with loading.session("onnxruntime", workload, text) as session:
            answers.append(workload.encode(session.predict(loading.images(workload.name, 1000))))
    assert np.mean(answers[0] == answers[1]) > 0.95


def written(
    path: Path, nodes: Sequence[onnx.NodeProto], constants: dict[str, NDArray[Any]], output: Sequence[int] = (3,)
) -> Path:
    """Returns the path of a model from "input", pictures of 2 channels and 6 x 6 pixels, to "output"."""
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 2, 6, 6])
    taken = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", *output])
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "made", [given], [taken], held)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], output, **attributes)


def random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def dead(values: NDArray[np.float32], *channels: int, axis: int = 0) -> NDArray[np.float32]:
    np.moveaxis(values, axis, 0)[list(channels)] = 0
    return values


def test_what_does_nothing_goes_and_nothing_changes(tmp_path: Path) -> None:
    """Normalization on its own, pools, a factor a channel, pictures made flat, and layers without a picture."""
    model = written(
        tmp_path / "model.onnx",
        [
            node("Conv", "input conv conv_bias", "a", pads=[1, 1, 1, 1]),
            node("BatchNormalization", "a scale shift mean variance", "b"),
            node("Relu", "b", "c"),
            node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
            node("Mul", "factors d", "e"),
            node("Flatten", "e", "f"),
            node("MatMul", "f first", "g"),
            node("Add", "g first_bias", "h"),
            node("Tanh", "h", "i"),
            node("Gemm", "i second second_bias", "output", transB=1),
        ],
        {
            "conv": dead(random(6, 2, 3, 3), 0, 4),
            "conv_bias": random(6),
            "scale": dead(random(6), 0, 4),
            "shift": dead(random(6), 0, 4),
            "mean": random(6),
            "variance": random(6) ** 2,
            "factors": random(1, 6, 1, 1),
            "first": dead(random(54, 10), 1, 2, 9, axis=1),
            "first_bias": dead(random(10), 1, 2, 9),
            "second": random(5, 10),
            "second_bias": random(5),
        },
        (5,),
    )
    card = prune_channels.make(model, tmp_path / "pruned.onnx", {"share": "0.3", "multiple": "1"}, None)
    assert card["channels"] == [
        {"layers": ["conv"], "before": 6, "after": 4},
        {"layers": ["first"], "before": 10, "after": 7},
    ]
    assert card["macs"] == {"before": 6 * 18 * 36 + 540 + 50, "after": 4 * 18 * 36 + 36 * 7 + 35}
    inputs = random(20, 2, 6, 6)
    assert np.allclose(outputs(tmp_path / "pruned.onnx", inputs), outputs(model, inputs), atol=1e-5)
    assert {tuple(one.dims) for one in onnx.load(tmp_path / "pruned.onnx").graph.initializer} >= {(36, 7), (5, 7), (4,)}


FIRST = node("Conv", "input one", "a")
HEAD = (
    node("Conv", "last three", "end"),
    node("GlobalAveragePool", "end", "mean"),
    node("Flatten", "mean", "flat"),
    node("Gemm", "flat head", "output"),
)
CONSTANTS = {
    "one": random(8, 2, 3, 3),
    "two": random(8, 8, 1, 1),
    "grouped": random(8, 2, 1, 1),
    "three": random(8, 8, 1, 1),
    "head": random(8, 3),
}


@pytest.mark.parametrize(
    ("between", "gone"),
    [
        ([node("Conv", "a two", "last")], {"one", "two", "three"}),
        # Along the channels a softmax is another one without some of them.
        ([node("Softmax", "a", "b", axis=1), node("Conv", "b two", "last")], {"two", "three"}),
        # Added to what is not known.
        ([node("Softmax", "a", "b", axis=1), node("Conv", "a two", "c"), node("Add", "b c", "last")], {"three"}),
        # One constant in two layers.
        ([node("Conv", "a two", "b"), node("Conv", "b two", "last")], {"three"}),
        # A layer whose filters see several channels each, and not all.
        ([node("Conv", "a grouped", "b", group=4), node("Conv", "b two", "last")], {"two", "three"}),
    ],
)
def test_what_is_not_known_keeps_its_channels(between: list[onnx.NodeProto], gone: set[str], tmp_path: Path) -> None:
    model = written(tmp_path / "model.onnx", [FIRST, *between, *HEAD], CONSTANTS)
    card = prune_channels.make(model, tmp_path / "pruned.onnx", {"share": "0.5"}, None)
    assert {name for one in card["channels"] for name in one["layers"]} == gone
    inputs = random(20, 2, 6, 6)
    assert outputs(tmp_path / "pruned.onnx", inputs).shape == outputs(model, inputs).shape == (20, 3)


def test_a_models_outputs_stay_and_one_channel_of_each_group(tmp_path: Path) -> None:
    model = written(tmp_path / "model.onnx", [FIRST, node("Conv", "a two", "output")], CONSTANTS, (8, 4, 4))
    card = prune_channels.make(model, tmp_path / "pruned.onnx", {"share": "0.9", "multiple": "1"}, None)
    assert card["channels"] == [{"layers": ["one"], "before": 8, "after": 1}]
    assert outputs(tmp_path / "pruned.onnx", random(4, 2, 6, 6)).shape == (4, 8, 4, 4)


def test_a_model_without_channels_to_spare_is_refused(tmp_path: Path) -> None:
    model = written(tmp_path / "model.onnx", [node("Conv", "input one", "output")], CONSTANTS, (8, 4, 4))
    with pytest.raises(UsageError, match="prune-channels finds no channels to take out of this model"):
        prune_channels.make(model, tmp_path / "pruned.onnx", {"share": "0.9"}, None)
    assert not (tmp_path / "pruned.onnx").exists()
