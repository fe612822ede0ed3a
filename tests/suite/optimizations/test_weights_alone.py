"""Integer weights beside float32: how far they are from what they were, and what really multiplies them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from reference_models.base import Model, Workload
from suite import plugins
from suite.backends import onnxruntime
from suite.law.eligible import emulates
from suite.optimizations import quantize
from tests.conformance import loading
from tests.suite.optimizations import models

pytestmark = pytest.mark.side_by_side

WORKLOADS = [plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet")]
SIZE, OUTPUTS, GROUP = 96, 24, 32


@pytest.mark.parametrize("symmetry", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("bits", [8, 4])
def test_each_group_of_weights_has_a_scale(bits: int, symmetry: str, tmp_path: Path) -> None:
    # Groups of other sizes, as far apart as their scales must be.
    weights = models.weights(SIZE, OUTPUTS) * np.repeat([1.0, 100.0, 0.01], GROUP)[:, None].astype(np.float32)
    source = models.one_layer(tmp_path / "source.onnx", "MatMul", [SIZE], weights)
    target = tmp_path / "target.onnx"
    parameters = {"type": f"int{bits}", "what": "weights", "group": str(GROUP), "symmetry": symmetry}
    assert quantize.make(source, target, parameters, None) == {"weights_alone": {"layers": 1, "quantized": 1}}

    # One input at a time: the weights as they are multiplied.
    found = models.answers(target, np.eye(SIZE, dtype=np.float32))
    groups, kept = (one.reshape(-1, GROUP, OUTPUTS) for one in (weights, found))
    if symmetry == "symmetric":
        steps = 2 * np.abs(groups).max(axis=1) / 2**bits
    else:
        steps = (np.maximum(groups.max(axis=1), 0) - np.minimum(groups.min(axis=1), 0)) / (2**bits - 1)
    # What is rounded is off by half a step at most; of the largest one more half may be cut off.
    assert np.all(np.abs(groups - kept) <= 1.01 * steps[:, None])
    assert np.mean(np.abs(groups - kept) <= 0.51 * steps[:, None]) > 0.9
    assert all(len(np.unique(kept[group, :, column])) <= 2**bits for group in range(3) for column in range(OUTPUTS))

    # With activations in 8 bits it would be off by a hundredth.
    inputs = models.weights(5, SIZE)
    assert np.allclose(models.answers(target, inputs), inputs @ found, rtol=1e-4, atol=1e-3)
    workload = replace(WORKLOADS[0], input_shape=(SIZE,))
    options = {"graph_level": "all", "pipeline": "1"}
    ran = onnxruntime.arithmetic(Model("onnx", target, "", ()), workload, device="cpu", threads=1, options=options)
    assert ran == {f"float32 x int{bits} on CPUExecutionProvider": SIZE * OUTPUTS}


@pytest.mark.parametrize("recipe", ["quantize:int8,what=weights", "quantize:int4,what=weights,group=16"])
@pytest.mark.parametrize(("workload", "last"), [(WORKLOADS[0], 64), (WORKLOADS[1], 224)], ids=["resnet", "mobilenet"])
def test_of_a_network_of_convolutions_only_the_last_layer_is_quantized(
    workload: Workload, last: int, recipe: str
) -> None:
    variant, reference = (loading.variant("onnxruntime", workload, text) for text in (recipe, ""))
    ran, whole = (
        onnxruntime.arithmetic(one.model, workload, device="cpu", threads=1, options=one.options)
        for one in (variant, reference)
    )
    quantized = f"float32 x {recipe[9:13]} on CPUExecutionProvider"
    assert ran == {
        quantized: 10 * last,
        "float32 on CPUExecutionProvider": sum(whole.values()) - 10 * last,
    }
    assert not emulates(recipe, ran) and emulates(recipe, whole)
    images = loading.images(workload.name, 500)
    near, far = (workload.encode(models.answers(one.model.path, images)) for one in (variant, reference))
    assert np.count_nonzero(near != far) <= 5


def test_without_a_layer_that_has_a_kernel_it_is_refused(tmp_path: Path) -> None:
    source = models.one_layer(tmp_path / "source.onnx", "Conv", [3, 8, 8], models.weights(4, 3, 3, 3))
    with pytest.raises(UsageError, match="finds no MatMul or Gemm in this model"):
        quantize.make(source, tmp_path / "target.onnx", {"type": "int4", "what": "weights"}, None)
    assert not (tmp_path / "target.onnx").exists()
