"""Layers of low rank: nearest to what they replace, the same at full rank, and only where they save work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from suite import plugins, shelf
from suite.backends import onnxruntime
from suite.export import TOLERANCE
from suite.optimizations import lowrank
from suite.optimizations._onnx import macs, weights
from tests.conformance import loading
from tests.suite.optimizations import models

pytestmark = pytest.mark.side_by_side

RESNET, MOBILENET = WORKLOADS = [plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet")]
# Of their cards, in multiply-accumulates: half of the operations.
TOTALS = {"fashion-resnet": 9_345_920, "fashion-mobilenet": 4_613_728}


def reference(workload: Workload) -> Path:
    return loading.model(workload, plugins.backend("onnxruntime")).path


def card(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(shelf.CARD).read_text())["lowrank"]
    return found


@pytest.mark.parametrize(("workload", "layers"), [(RESNET, 10), (MOBILENET, 13)], ids=["resnet", "mobilenet"])
def test_at_full_rank_the_answers_are_the_same(workload: Workload, layers: int, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(reference(workload))
    ranks = {
        node.output[0]: min(lowrank.as_matrix(node, numpy_helper.to_array(tensor)).shape)
        for node, tensor in weights(model)
        if lowrank.is_linear(node, tensor, everywhere=True)
    }
    # All but the depthwise ones.
    assert len(ranks) == layers
    before = {tensor.name for _, tensor in weights(model)}
    lowrank.replace(model.graph, ranks)
    assert len(before & {one.name for one in model.graph.initializer}) == len(before) - layers
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "model.onnx")
    images = loading.images(workload.name, 200)
    differences = models.answers(tmp_path / "model.onnx", images) - models.answers(reference(workload), images)
    assert 0 < np.abs(differences).max() < TOLERANCE


@pytest.mark.parametrize(
    ("operator", "inputs", "shapes", "attributes"),
    [
        ("MatMul", [24], [(24, 40)], {}),
        ("Gemm", [24], [(24, 40), (40,)], {"alpha": 2.0, "beta": 3.0}),
        ("Gemm", [24], [(40, 24), (40,)], {"transB": 1}),
        ("Conv", [24, 1, 1], [(40, 24, 1, 1), (40,)], {"strides": [2, 2]}),
        ("Conv", [6, 3, 3], [(40, 6, 3, 3), (40,)], {}),
    ],
)
def test_no_layer_of_that_rank_is_nearer(
    operator: str, inputs: list[int], shapes: list[tuple[int, ...]], attributes: dict[str, Any], tmp_path: Path
) -> None:
    """By Eckart and Young what is lost are the singular values that are left out."""
    constants = [models.weights(*shape) for shape in shapes]
    source = models.one_layer(tmp_path / "source.onnx", operator, inputs, *constants, **attributes)
    target = tmp_path / "target.onnx"
    facts = lowrank.make(source, target, {"rank": "0.3", "scope": "all"}, None)["lowrank"]
    assert facts["replaced"] == facts["layers"] == 1

    # One input at a time: rows of the matrix by which the layer multiplies.
    size = int(np.prod(inputs))
    every = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *inputs).astype(np.float32)
    found = [models.answers(path, every).reshape(size + 1, -1).astype(np.float64) for path in (source, target)]
    assert np.allclose(found[0][0], found[1][0], atol=1e-5)
    whole, low = (rows[1:] - rows[0] for rows in found)
    values = np.linalg.svd(whole, compute_uv=False)
    rank = round(0.3 * len(values))
    assert np.linalg.matrix_rank(low, tol=1e-4) == rank
    assert np.linalg.norm(whole - low) == pytest.approx(np.sqrt(np.sum(values[rank:] ** 2)), rel=1e-5)
    assert np.linalg.norm(whole - low, 2) == pytest.approx(values[rank], rel=1e-5)


@pytest.mark.parametrize(
    ("workload", "recipe"),
    [(RESNET, "lowrank:0.5,scope=all"), (MOBILENET, "lowrank:0.5"), (MOBILENET, "lowrank:energy=0.8,scope=all")],
    ids=["resnet", "mobilenet", "mobilenet-energy"],
)
def test_the_card_says_how_much_work_is_saved(workload: Workload, recipe: str) -> None:
    variant = loading.variant("onnxruntime", workload, recipe)
    said = card(variant.model.path)
    # By onnxruntime's own profile.
    ran = onnxruntime.arithmetic(variant.model, workload, device="cpu", threads=1, options=variant.options)
    assert said["macs_after"] == sum(ran.values()) < said["macs_before"] == TOTALS[workload.name]
    assert macs(reference(workload)) == TOTALS[workload.name]
    assert 0 < said["replaced"] <= said["layers"]
    # Two layers in the place of one.
    assert len(onnx_weights(variant.model.path)) == said["layers"] + said["replaced"]


@pytest.mark.parametrize("workload", WORKLOADS, ids=["resnet", "mobilenet"])
def test_what_saves_nothing_stays_as_it_is(workload: Workload) -> None:
    found = onnx_weights(loading.variant("onnxruntime", workload, "lowrank:0.5").model.path)
    stayed = []
    for name, values in onnx_weights(reference(workload)).items():
        outputs, inputs = len(values), values[0].size
        rank = round(0.5 * min(outputs, inputs))
        if values.ndim == 2 or values.shape[2:] == (1, 1):
            saves = rank * (outputs + inputs) < outputs * inputs
        else:
            saves = False
        assert saves == (name not in found)
        if not saves:
            stayed.append(name)
            assert np.array_equal(found[name], values)
    assert stayed


def onnx_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    import onnx
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for _, tensor in weights(onnx.load(path))}


@pytest.mark.parametrize(("energy", "rank"), [("0.8", 2), ("0.9", 3), ("0.95", 3), ("0.99", 4)])
def test_energy_decides_the_rank(energy: str, rank: int) -> None:
    # Of 30: 16, 25, 29 and 30.
    matrix = np.diag([1.0, 4.0, 2.0, 3.0]).astype(np.float32)
    assert lowrank.rank_of(matrix, {"energy": energy}) == rank


@pytest.mark.parametrize(
    ("operator", "inputs", "shape", "attributes"),
    [
        # Two halves of the channels, each for itself.
        ("Conv", [24, 2, 2], (40, 12, 1, 1), {"group": 2}),
        # Several matrices.
        ("MatMul", [3, 24], (2, 24, 40), {}),
        # k x k, unless it is asked for.
        ("Conv", [24, 3, 3], (40, 24, 3, 3), {}),
    ],
)
def test_what_is_no_linear_layer_is_refused(
    operator: str, inputs: list[int], shape: tuple[int, ...], attributes: dict[str, Any], tmp_path: Path
) -> None:
    source = models.one_layer(tmp_path / "source.onnx", operator, inputs, models.weights(*shape), **attributes)
    with pytest.raises(UsageError, match="lowrank saves nothing in any layer of this model"):
        lowrank.make(source, tmp_path / "target.onnx", {"rank": "0.1"}, None)
    assert not (tmp_path / "target.onnx").exists()


def test_weights_that_another_node_has_too_stay_for_it(tmp_path: Path) -> None:
    source = models.one_layer(tmp_path / "source.onnx", "MatMul", [24], models.weights(24, 24), layers=2)
    facts = lowrank.make(source, tmp_path / "target.onnx", {"rank": "0.4"}, None)["lowrank"]
    # Of 24 to 10 to 24, and of 24 to 24.
    assert facts == {"layers": 1, "replaced": 1, "macs_before": 2 * 24 * 24, "macs_after": 2 * 240 + 24 * 24}
    inputs = models.weights(5, 24)
    near, far = models.answers(tmp_path / "target.onnx", inputs), models.answers(source, inputs)
    assert 0 < np.linalg.norm(near - far) < np.linalg.norm(far)


def test_it_may_be_done_again_and_pruned() -> None:
    """No name comes twice: onnxruntime loads what was made of what was made."""
    steps = ["lowrank:0.5,scope=all", "lowrank:0.5,scope=all", "prune:0.1"]
    once, twice, pruned = (
        loading.variant("onnxruntime", RESNET, "+".join(steps[:count])).model.path for count in (1, 2, 3)
    )
    assert macs(pruned) == macs(twice) < macs(once)
    assert np.isfinite(models.answers(pruned, loading.images(RESNET.name, 10))).all()
