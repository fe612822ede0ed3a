"""Layers that a step keeps: they stay as they were, in float32, and all others change."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from suite import plugins, recipes
from suite.backends import onnxruntime
from suite.optimizations._onnx import described, layers
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

MOBILENET, RESNET = (plugins.workload(name) for name in ("fashion-mobilenet", "fashion-resnet"))
LAYERS = 18


def source() -> Path:
    return loading.model(MOBILENET, plugins.backend("onnxruntime")).path


def weights(model: Path) -> list[NDArray[np.float32]]:
    import onnx
    from onnx import numpy_helper

    return [numpy_helper.to_array(layer.tensor) for layer in layers(onnx.load(model))]


def made(recipe: str, target: Path) -> Path:
    (step,) = recipes.parse(recipe)
    recipes.maker(step.name).make(source(), target, step.parameters, None)
    return target


@pytest.mark.parametrize("recipe", ["prune:0.5", "prune:0.5,scope=all", "cluster:4"])
def test_weights_that_are_kept_are_the_same_bits_and_the_others_change(recipe: str, tmp_path: Path) -> None:
    before, after = weights(source()), weights(made(f"{recipe},keep=3/0/17", tmp_path / "model.onnx"))
    same = [number for number, (one, other) in enumerate(zip(before, after, strict=True)) if np.array_equal(one, other)]
    assert same == [0, 3, 17]


def test_what_is_kept_counts_for_no_share(tmp_path: Path) -> None:
    after = weights(made("prune:0.5,scope=all,keep=16", tmp_path / "model.onnx"))
    others = np.concatenate([one.ravel() for number, one in enumerate(after) if number != 16])
    assert np.mean(others == 0) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("more", ["granularity=tensor", "scales=dynamic"])
def test_kept_layers_and_no_others_multiply_in_float32(more: str) -> None:
    """The first convolution, a depthwise one, and the last layer, another operator where scales are dynamic."""
    variant = loading.variant("onnxruntime", MOBILENET, f"quantize:int8,{more},keep=0/2/17")
    ran = onnxruntime.arithmetic(variant.model, MOBILENET, device="cpu", threads=1, options=variant.options)
    floating = sum(count for label, count in ran.items() if label.startswith("float32"))
    # Outputs by products of each: 28 x 28 of 16 channels by 3 x 3, 14 x 14 of 32 by 3 x 3, and 10 by 224.
    assert floating == 28 * 28 * 16 * 9 + 14 * 14 * 32 * 9 + 10 * 224
    assert sum(ran.values()) == 4_613_728


def test_layers_in_float32_are_no_float16() -> None:
    import onnx
    from onnx import TensorProto

    graph = onnx.load(loading.variant("onnxruntime", MOBILENET, "quantize:float16,keep=1").model.path).graph
    kept = described(source())[1].weights
    types = {one.name: one.data_type for one in graph.initializer if len(one.dims) > 1}
    assert [name for name, kind in types.items() if kind == TensorProto.FLOAT] == [kept] and len(types) == LAYERS


def test_layers_are_numbered_in_the_order_of_the_graph() -> None:
    found = described(source())
    assert [one.operator for one in found] == ["Conv"] * 17 + ["Gemm"]
    assert found[0].weights.startswith("stem") and found[2].shape == (32, 1, 3, 3) and found[17].shape == (10, 224)
    residual = described(loading.model(RESNET, plugins.backend("onnxruntime")).path)
    assert len(residual) == 10 and [one.shape[2:] for one in residual].count((1, 1)) == 2


def test_every_node_is_some_layers() -> None:
    import onnx

    graph = onnx.load(source()).graph
    names = [name for layer in layers(onnx.load(source())) for name in layer.names]
    assert names == [node.name for node in graph.node] and len(set(names)) == len(names) and all(names)


@pytest.mark.parametrize("recipe", ["quantize:int8,scales=dynamic", "prune:0.5", "cluster:4"])
@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ("0/18", "cannot keep layer 18: the model has 18, numbered from 0 to 17"),
        ("/".join(map(str, range(LAYERS))), "is to keep all 18 layers, so that nothing would change"),
    ],
)
def test_layers_that_cannot_be_kept_are_named(recipe: str, keep: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        made(f"{recipe},keep={keep}", tmp_path / "model.onnx")


def test_what_is_kept_stands_in_the_chain_and_on_the_card() -> None:
    variant = loading.variant("onnxruntime", MOBILENET, "prune:0.5,keep=17/1")
    assert variant.recipe == variant.model.chain[-1] == "prune:0.5,keep=1/17"
    assert json.loads((variant.model.path.parent / "artifact.json").read_text())["pruned"]["layers"] == LAYERS - 2
