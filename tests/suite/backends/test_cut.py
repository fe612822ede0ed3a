"""A graph is cut by cost, where its stages answer what the whole answers, bit by bit."""

import itertools
import random
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from suite import plugins
from suite.backends._cut import MOST_STAGES, Seam, balanced, cut, seams
from suite.backends._products import node_macs
from tests.conformance.loading import WORKLOADS, images, session, variant
from tests.suite.optimizations import models

pytestmark = pytest.mark.side_by_side

# Static integers go on from stage to stage, and dynamic ones depend on all samples of a batch.
RECIPES = ("", "quantize:int8,samples=64", "quantize:int8,scales=dynamic")


@cache
def path_of(workload: str, recipe: str = "") -> Path:
    return variant("onnxruntime", plugins.workload(workload), recipe).model.path


def seams_of(path: Path) -> list[Seam]:
    import onnx

    return seams(onnx.shape_inference.infer_shapes(onnx.load(path)).graph, node_macs(path))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_in_two_stages_and_cut_at_every_seam_it_answers_as_the_whole_bit_by_bit(workload: str, recipe: str) -> None:
    opened, samples = plugins.workload(workload), images(workload, 200)
    most = len(seams_of(path_of(workload, recipe))) + 1
    assert 3 <= most <= MOST_STAGES
    with session("onnxruntime", opened, recipe) as uncut:
        expected = {size: uncut.predict(samples[:size]) for size in (1, 7, 64, 200)}
    for stages in (2, most):
        pipelined = "+".join(filter(None, (recipe, f"pipeline:{stages}")))
        with session("onnxruntime", opened, pipelined, threads=stages) as staged:
            for size, outputs in expected.items():
                assert np.array_equal(staged.predict(samples[:size]), outputs), (stages, size)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_stages_have_each_node_once_and_are_as_equal_as_seams_allow(workload: str, count: int) -> None:
    import onnx

    path = path_of(workload)
    parts = [onnx.load_model_from_string(part).graph for part in cut(path, count)]
    assert [node.name for part in parts for node in part.node] == [node.name for node in onnx.load(path).graph.node]
    for before, after in pairwise(parts):
        assert [one.name for one in before.output] == [one.name for one in after.input]
    macs = node_macs(path)
    dearest = max(sum(macs.get(node.name, 0) for node in part.node) for part in parts)
    ends = [
        (0, *chosen, sum(macs.values()))
        for chosen in itertools.combinations([one.before for one in seams_of(path)], count - 1)
    ]
    assert dearest == min(max(after - before for before, after in pairwise(one)) for one in ends)


def test_the_dearest_stage_is_as_cheap_as_can_be() -> None:
    drawn = random.Random(7)
    for _ in range(50):
        costs = sorted(drawn.sample(range(1, 100), 8))
        for count in (2, 3, 5, 9):
            found = balanced(costs, 100, count)
            assert found is not None and len(found) == count - 1
            every = [(0, *one, 100) for one in itertools.combinations(costs, count - 1)]
            dearest = [max(after - before for before, after in pairwise(one)) for one in every]
            chosen = (0, *(costs[number] for number in found), 100)
            assert max(after - before for before, after in pairwise(chosen)) == min(dearest)
    assert balanced(costs, 100, 10) is None


def test_a_seam_is_behind_what_is_fused_where_least_goes_on_and_not_where_a_shortcut_begins(tmp_path: Path) -> None:
    """Between products it is behind the activation, or where values are of few bytes; a constant is none that goes on.

    f is added behind the next product, too.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    constants = {"weights": np.eye(4, dtype=np.float32), "row": np.ones(4, np.float32)}
    steps: list[tuple[str, list[str], str, dict[str, int]]] = [
        ("Neg", ["row"], "constant", {}),
        ("MatMul", ["x", "weights"], "a", {}),
        ("Relu", ["a"], "b", {}),
        ("MatMul", ["b", "weights"], "c", {}),
        ("Cast", ["c"], "d", {"to": TensorProto.FLOAT16}),
        ("Cast", ["d"], "e", {"to": TensorProto.FLOAT}),
        ("MatMul", ["e", "weights"], "f", {}),
        ("MatMul", ["f", "weights"], "g", {}),
        ("Add", ["f", "g"], "h", {}),
        ("Add", ["h", "constant"], "i", {}),
        ("MatMul", ["i", "weights"], "y", {}),
    ]
    nodes = [helper.make_node(operator, inputs, [output], output, **more) for operator, inputs, output, more in steps]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "joined", ends[:1], ends[1:], weights)
    path = tmp_path / "joined.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert seams_of(path) == [Seam("b", 16, 16), Seam("d", 32, 8), Seam("i", 64, 16)]


def test_more_stages_than_a_graph_has_are_refused(tmp_path: Path) -> None:
    path = path_of("fashion-resnet")
    most = len(seams_of(path)) + 1
    with pytest.raises(
        UsageError, match=rf"cannot be cut into {most + 1} stages .* are {most}\. Use pipeline:{most}\."
    ):
        cut(path, most + 1)
    alone = models.one_layer(tmp_path / "alone.onnx", "MatMul", [4], models.weights(4, 4))
    with pytest.raises(UsageError, match=r"cannot be cut into 2 stages .* the most are 1\. Leave pipeline out\."):
        cut(alone, 2)
