"""Codebooks: how many values are left of a layer, and that they are the right ones."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from suite import plugins
from suite.optimizations._onnx import weights
from suite.optimizations.cluster import clustered
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

RESNET = plugins.workload("fashion-resnet")


@pytest.mark.parametrize("bits", [4, 8])
def test_each_layer_has_as_many_values_as_codes(bits: int) -> None:
    import onnx
    from onnx import numpy_helper

    models = [onnx.load(loading.variant("onnxruntime", RESNET, text).model.path) for text in ("", f"cluster:{bits}")]
    pairs = [[numpy_helper.to_array(tensor) for _, tensor in weights(model)] for model in models]
    for before, after in zip(*pairs, strict=True):
        assert len(np.unique(after)) <= 2**bits
        if before.size > 1000:
            # A code less is worth a factor of two at most, evenly spaced ones are the worst that may come out.
            step = (before.max() - before.min()) / (2**bits - 1)
            assert np.sqrt(np.mean((before - after) ** 2)) < step / np.sqrt(12)


def test_each_layer_of_a_network_of_torch_has_a_codebook() -> None:
    before, after = (load_file(loading.variant("torch", RESNET, text).model.path) for text in ("", "cluster:4"))
    for name, one in after.items():
        assert len(np.unique(one)) <= 16 if one.ndim > 1 else np.array_equal(one, before[name])


def test_centroids_are_the_means_of_what_is_nearest_to_them() -> None:
    values = np.random.default_rng(7).normal(size=(40, 50)).astype(np.float32)
    found = clustered(values, 16)
    for centroid in np.unique(found):
        assert centroid == pytest.approx(values[found == centroid].mean(), abs=1e-6)
    assert np.abs(values - found).max() <= np.abs(values[..., None] - np.unique(found)).min(axis=-1).max() + 1e-6


def test_what_was_pruned_stays_pruned() -> None:
    values = np.random.default_rng(7).normal(size=1000).astype(np.float32)
    values[:300] = 0
    found = clustered(values, 16)
    assert not found[:300].any() and np.count_nonzero(found) == 700 and len(np.unique(found)) <= 16


def test_fewer_values_than_codes_stay_as_they_are() -> None:
    values = np.array([0.5, -1.0, 0.5, 2.0], np.float32)
    assert np.array_equal(clustered(values, 16), values)
