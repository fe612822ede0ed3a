"""Training of what was pruned: torch computes what the graph says, comes nearer, and leaves zeros alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from common.errors import UsageError
from suite import derived, plugins, recipes, shelf
from suite.optimizations import _tuning, prune, prune_channels
from suite.optimizations._network import Network
from suite.optimizations._onnx import weights
from suite.recipes import Step
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

RESNET = plugins.workload("fashion-resnet")
ONCE = {"tune": "1"}


@pytest.fixture(scope="module")
def source() -> Path:
    return loading.model(RESNET, plugins.backend("onnxruntime")).path


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float32]:
    return RESNET.calibrate(loading.data_folder(RESNET), 1000).samples


def outputs(model: Path | bytes, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, {"input": inputs})[0]
    return found


def in_torch(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        return np.asarray(Network(model)(torch.from_numpy(inputs)))


def values(model: Path) -> list[NDArray[np.float32]]:
    return [numpy_helper.to_array(tensor) for _, tensor in weights(onnx.load(model))]


def train(source: Path, target: Path, samples: NDArray[np.float32]) -> dict[str, Any]:
    return _tuning.train(source, target, ONCE, samples, lambda count: None)


# Nothing else is trained: what detects gives no logits of classes.
CLASSIFIERS = [name for name in plugins.names("reference_models") if len(plugins.workload(name).output_shape) == 1]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_torch_computes_what_onnxruntime_does(name: str) -> None:
    path = loading.model(plugins.workload(name), plugins.backend("onnxruntime")).path
    images = loading.images(name, 100)
    assert np.allclose(in_torch(onnx.load(path), images), outputs(path, images), atol=1e-4)


def test_torch_reads_what_operators_are_told() -> None:
    """Uneven padding, strides, a scaled sum, other axes: what the reference models have no need of."""
    drawn = np.random.default_rng(1)
    shapes = {
        "conv": (4, 1, 3, 3),
        "bias": (4,),
        "scale": (4,),
        "shift": (4,),
        "mean": (4,),
        "head": (5, 24),
        "add": (5,),
    }
    held = {name: drawn.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    held |= {"variance": held["scale"] ** 2, "low": np.float32(-0.5), "sizes": np.array([0, -1])}
    nodes = [
        helper.make_node("Conv", ["input", "conv", "bias"], ["a"], pads=[0, 1, 2, 1], strides=[2, 1], dilations=[1, 2]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "variance"], ["b"], epsilon=0.1),
        helper.make_node("Clip", ["b", "low"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["d"], axes=[3], keepdims=0),
        helper.make_node("Reshape", ["d", "sizes"], ["e"]),
        helper.make_node("Gemm", ["e", "head", "add"], ["output"], transB=1, alpha=0.5, beta=2.0),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 12, 12])
    taken = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 5])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "made", [given], [taken], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inputs = drawn.normal(size=(7, 1, 12, 12)).astype(np.float32)
    assert np.allclose(in_torch(model, inputs), outputs(model.SerializeToString(), inputs), atol=1e-4)


def test_what_lost_channels_comes_nearer_to_what_it_was(
    source: Path, samples: NDArray[np.float32], tmp_path: Path
) -> None:
    pruned, trained = tmp_path / "pruned.onnx", tmp_path / "trained.onnx"
    prune_channels.make(source, pruned, {"share": "0.3"}, None)
    shutil.copy(pruned, trained)
    card = train(source, trained, samples)
    assert card["retrained"] and card["training"]["divergence_after"] < 0.7 * card["training"]["divergence_before"]
    # Images that it was not trained on, and of which it is not judged by itself.
    images = loading.images(RESNET.name, 1000)
    wanted, before, after = (outputs(path, images).argmax(axis=1) for path in (source, pruned, trained))
    assert np.mean(after == wanted) > np.mean(before == wanted) + 0.2


def test_zeros_stay_and_the_other_weights_learn(source: Path, samples: NDArray[np.float32], tmp_path: Path) -> None:
    made = []
    for name in ("one.onnx", "two.onnx"):
        prune.make(source, tmp_path / name, {"sparsity": "0.5"}, None)
        before = values(tmp_path / name)
        assert train(source, tmp_path / name, samples[:256])["retrained"]
        made.append((tmp_path / name).read_bytes())
    for old, new in zip(before, values(tmp_path / "two.onnx"), strict=True):
        assert np.array_equal(old == 0, new == 0)
        assert np.mean(old != new) > 0.4
    assert made[0] == made[1], "the same each time"


def test_what_cannot_come_nearer_stays_as_it_is(source: Path, samples: NDArray[np.float32], tmp_path: Path) -> None:
    shutil.copy(source, tmp_path / "model.onnx")
    assert not train(source, tmp_path / "model.onnx", samples[:128])["retrained"]
    assert all(np.array_equal(*pair) for pair in zip(values(source), values(tmp_path / "model.onnx"), strict=True))


def test_an_operator_that_cannot_be_trained_is_named(source: Path) -> None:
    model = onnx.load(source)
    model.graph.node[1].op_type = "Softplus"
    with pytest.raises(UsageError, match="operator Softplus cannot be trained here.*Leave out tune."):
        Network(model)


def test_training_is_told_as_it_goes_and_stands_on_the_card(tmp_path: Path) -> None:
    told: list[int] = []
    # Fewer samples than a recipe can ask for.
    step = Step("prune-channels", {"share": "0.3", "tune": "2", "samples": "96"})
    model = loading.model(RESNET, plugins.backend("onnxruntime"))
    derived.make(step, model, RESNET, loading.data_folder(RESNET), tmp_path, told.append)
    trainer = recipes.trainer(step)
    assert trainer and sum(told) == trainer.to_train(step.parameters) == 192 and max(told) <= 96
    made = derived.cached(step, model, RESNET, tmp_path)
    assert made and made.chain[-1] == "prune-channels:0.3,samples=96,tune=2, by 96 training samples"
    card = json.loads(made.path.with_name(shelf.CARD).read_text())
    assert card["retrained"] and card["training"]["epochs"] == 2
    assert len(set(card["calibration"]["indices"])) == 96 and "torch" in card["versions"]
    assert card["macs"]["after"] < card["macs"]["before"]


@pytest.mark.parametrize("recipe", ["prune:0.5", "prune-channels:0.3", "quantize:int8", "fuse:level=all"])
def test_nothing_is_trained_unless_it_is_asked_for(recipe: str) -> None:
    (step,) = recipes.parse(recipe)
    assert recipes.trainer(step) is None
