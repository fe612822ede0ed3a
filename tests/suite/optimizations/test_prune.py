"""Pruning: how many weights are zero, which ones, and what is left of the rest."""

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from suite import plugins
from suite.optimizations._onnx import input_axis, weights
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

RESNET = plugins.workload("fashion-resnet")


def layers(recipe: str) -> list[tuple[NDArray[np.float32], int]]:
    """Returns the weights of each layer, and the axis of its input channels."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(loading.variant("onnxruntime", RESNET, recipe).model.path)
    return [(numpy_helper.to_array(tensor), input_axis(node)) for node, tensor in weights(model)]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_the_smallest_of_each_layer_become_zero(sparsity: float) -> None:
    for (before, _), (after, _) in zip(layers(""), layers(f"prune:{sparsity}"), strict=True):
        gone = after == 0
        assert np.count_nonzero(gone) == pytest.approx(sparsity * before.size, abs=1)
        assert np.array_equal(after[~gone], before[~gone])
        assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()


def test_the_smallest_of_all_are_not_the_same_share_of_each_layer() -> None:
    before, after = ([value for value, _ in layers(recipe)] for recipe in ("", "prune:0.5,scope=all"))
    gone = np.concatenate([(value == 0).ravel() for value in after])
    every = np.abs(np.concatenate([value.ravel() for value in before]))
    assert gone.mean() == pytest.approx(0.5, abs=1e-4)
    assert every[gone].max() <= every[~gone].min()
    shares = [float((value == 0).mean()) for value in after]
    assert max(shares) - min(shares) > 0.1


def test_two_of_each_four_input_channels_stay() -> None:
    seen = 0
    for (before, axis), (after, _) in zip(layers(""), layers("prune:pattern=2:4"), strict=True):
        if before.shape[axis] % 4:
            assert np.array_equal(before, after)
            continue
        seen += 1
        old, new = (np.abs(np.moveaxis(value, axis, -1).reshape(-1, 4)) for value in (before, after))
        assert np.array_equal(np.count_nonzero(new, axis=1), np.full(len(new), 2))
        assert np.array_equal(np.sort(new, axis=1)[:, 2:], np.sort(old, axis=1)[:, 2:])
    assert seen > 5


@pytest.mark.parametrize("recipe", ["prune:0.5", "prune:0.5,scope=all", "prune:pattern=2:4"])
def test_a_network_of_torch_is_pruned_likewise(recipe: str) -> None:
    before, after = (load_file(loading.variant("torch", RESNET, text).model.path) for text in ("", recipe))
    layers = [name for name, one in before.items() if one.ndim > 1]
    zeros, total = sum(np.count_nonzero(after[name] == 0) for name in layers), sum(before[name].size for name in layers)
    # The first convolution has one input channel, and is no group of four.
    assert zeros / total == pytest.approx(0.5, abs=0.001)
    for name, one in before.items():
        changed = after[name] != one
        assert not after[name][changed].any() and (name in layers or not changed.any())
    if "2:4" in recipe:
        whole = [name for name in layers if before[name].shape[1] % 4 == 0]
        groups = [np.moveaxis(after[name], 1, -1).reshape(-1, 4) for name in whole]
        assert len(groups) > 5 and all((np.count_nonzero(one, axis=1) == 2).all() for one in groups)
    with loading.session("torch", RESNET, recipe) as session, loading.session("torch", RESNET) as reference:
        images = loading.images(RESNET.name, 64)
        assert np.abs(session.predict(images) - reference.predict(images)).max() > 0.1


def test_a_pruned_network_of_torch_is_quantized() -> None:
    variant = loading.variant("torch", RESNET, "prune:0.5+quantize:int8,range=reduced,samples=64")
    assert variant.model.format == "pt2" and [one.partition(",")[0] for one in variant.model.chain[-2:]] == [
        "prune:0.5",
        "quantize:int8",
    ]


def test_what_was_pruned_is_quantized_with_its_zeros() -> None:
    """A zero is a code of its own where scales are symmetric."""
    variant = loading.variant("onnxruntime", RESNET, "prune:0.5+quantize:int8,range=reduced")
    assert [step.partition(",")[0] for step in variant.model.chain[-2:]] == ["prune:0.5", "quantize:int8"]

    import onnx
    from onnx import TensorProto, numpy_helper

    graph = onnx.load(variant.model.path).graph
    codes = [numpy_helper.to_array(one) for one in graph.initializer if one.data_type == TensorProto.INT8]
    zeros = sum(np.count_nonzero(one == 0) for one in codes if one.size > 100)
    assert zeros >= 0.5 * sum(one.size for one in codes if one.size > 100)
