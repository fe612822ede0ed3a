"""INT8 and 16 bits on torch: what is made, which kernels run, and what a file may not hold."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from suite import export_program, plugins, shelf
from suite.backends import torch as backend
from suite.optimizations import _quantize_torch
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

RESNET, MOBILENET = (plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet"))
COUNT = 300
# A processor without such instructions widens 16 bits to float32, and multiplies that.
NATIVE = torch.cpu._is_avx512_bf16_supported()
# Half of the operations of the networks' cards, whatever does them.
MACS = {"fashion-resnet": 9_345_920, "fashion-mobilenet": 4_613_728}
INT8 = "quantize:int8,range=reduced,samples=64"
PER_TENSOR = "quantize:int8,granularity=tensor,range=reduced,samples=64"


def outputs(recipe: str, workload: Workload, batch: int = COUNT) -> NDArray[np.float32]:
    samples = loading.images(workload.name, COUNT)
    with loading.session("torch", workload, recipe) as session:
        return np.concatenate([session.predict(samples[start : start + batch]) for start in range(0, COUNT, batch)])


@pytest.mark.parametrize(
    ("workload", "recipe", "kind"),
    [
        (RESNET, "", "float32"),
        (RESNET, INT8, "uint8 x int8"),
        (MOBILENET, PER_TENSOR, "uint8 x int8"),
        (RESNET, "quantize:bfloat16", "bfloat16" if NATIVE else "float32"),
    ],
)
def test_the_profile_says_which_arithmetic_ran(workload: Workload, recipe: str, kind: str) -> None:
    variant = loading.variant("torch", workload, recipe)
    found = backend.arithmetic(variant.model, workload, device="cpu", threads=1, options=variant.options)
    assert found == {f"{kind} on cpu": MACS[workload.name]}


def test_relu6_is_part_of_the_integer_operator_before_it() -> None:
    """By itself, in float32 between two integer operators, it takes longer than they do."""
    program = export_program.load(loading.variant("torch", MOBILENET, PER_TENSOR).model.path)
    ran = [str(node.target) for node in backend._lowered(program).graph.nodes if node.op == "call_function"]
    assert sum("qconv" in one for one in ran) == 17
    assert not [one for one in ran if "clamp" in one or "hardtanh" in one]


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("quantize:int8,scales=dynamic,range=reduced", "uint8 x int8"),
        ("quantize:int8,what=weights", "float32 x int8"),
    ],
)
@pytest.mark.parametrize(("workload", "last"), [(RESNET, 64), (MOBILENET, 224)], ids=["resnet", "mobilenet"])
def test_scales_of_a_batch_and_weights_alone_are_for_linear_layers(
    workload: Workload, last: int, recipe: str, kind: str
) -> None:
    """Each of these networks has one, of ten outputs."""
    variant = loading.variant("torch", workload, recipe)
    found = backend.arithmetic(variant.model, workload, device="cpu", threads=1, options=variant.options)
    assert found == {"float32 on cpu": MACS[workload.name] - 10 * last, f"{kind} on cpu": 10 * last}
    # So few of the products are in integers that hardly an answer changes.
    ours, theirs = outputs(recipe, workload), outputs("", workload)
    assert 1e-4 < np.abs(ours - theirs).max() < 0.5
    assert np.count_nonzero(workload.encode(ours) != workload.encode(theirs)) <= 0.01 * COUNT


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_scales_are_powers_of_two_where_that_is_wanted(granularity: str) -> None:
    recipe = f"quantize:int8,scale=power-of-two,granularity={granularity},range=reduced,samples=64"
    model = loading.variant("torch", RESNET, recipe).model
    program = export_program.load(model.path)
    weights = [one for name, one in program.state_dict.items() if "scale" in name]
    # Those of activations are numbers in the graph, behind what is quantized.
    numbers = [
        node.args[1]
        for node in program.graph.nodes
        if "quantize_per_tensor" in str(node.target) and isinstance(node.args[1], float)
    ]
    found = [*torch.cat([one.flatten() for one in weights]).tolist(), *numbers]
    assert weights and numbers and all(np.log2(scale) % 1 == 0 for scale in found)
    ours, theirs = (RESNET.encode(outputs(text, RESNET)) for text in (recipe, ""))
    assert np.count_nonzero(ours != theirs) <= 0.05 * COUNT


def test_a_network_without_a_linear_layer_has_nothing_for_weights_alone() -> None:
    with pytest.raises(UsageError, match="for linear layers, of which this network has none"):
        _quantize_torch._with_integer_weights(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)))


@pytest.mark.parametrize("recipe", [INT8, "quantize:bfloat16"])
def test_nearly_all_answers_are_those_of_the_reference(recipe: str) -> None:
    found, expected = outputs(recipe, RESNET), outputs("", RESNET)
    # Another arithmetic: the outputs differ, and few of the answers.
    assert np.count_nonzero(RESNET.encode(found) != RESNET.encode(expected)) <= 0.03 * COUNT
    assert np.abs(found - expected).max() > 1e-3


def test_fixed_scales_answer_alike_in_every_batch() -> None:
    assert np.array_equal(outputs(INT8, RESNET), outputs(INT8, RESNET, 7))


def test_the_file_holds_the_weights_in_integers() -> None:
    model = loading.variant("torch", RESNET, INT8).model
    assert model.format == export_program.FORMAT and model.path.suffix == ".pt2"
    assert json.loads(model.path.with_name(shelf.CARD).read_text())["format"] == export_program.FORMAT
    state = export_program.load(model.path).state_dict
    assert {str(one.dtype) for one in state.values() if one.ndim > 1} == {"torch.int8"}
    assert model.path.stat().st_size < 0.6 * RESNET.weights.stat().st_size


def test_per_tensor_is_one_scale_for_all_channels() -> None:
    def scales(workload: Workload, recipe: str) -> list[int]:
        """Returns of each layer how many different scales its weights have."""
        state = export_program.load(loading.variant("torch", workload, recipe).model.path).state_dict
        return [len(set(one.tolist())) for name, one in state.items() if "scale" in name]

    assert scales(MOBILENET, PER_TENSOR) == [1] * 18
    # Layers of 16, 32 and 64 channels, and the head.
    assert min(scales(RESNET, INT8)) >= 10 and max(scales(RESNET, INT8)) == 64


def damaged(tmp_path: Path, changed: dict[str, bytes]) -> Path:
    """Returns a copy of a program with parts of its archive changed, or added."""
    source, copy = loading.variant("torch", RESNET, INT8).model.path, tmp_path / "model.pt2"
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(copy, "w") as after:
        root = before.namelist()[0].partition("/")[0]
        for name in before.namelist():
            part = name.partition("/")[2]
            after.writestr(name, changed.pop(part, before.read(name)))
        for part, content in changed.items():
            after.writestr(f"{root}/{part}", content)
    return copy


def test_what_torch_would_run_as_code_is_refused(tmp_path: Path) -> None:
    pickled = {"config": {"weight": {"path_name": "weight_0", "is_param": True, "use_pickle": True}}}
    for changed in (
        {"data/weights/model_weights_config.json": json.dumps(pickled).encode()},
        {"data/sample_inputs/model.pt": b"anything"},
        {"data/aotinductor/model/library.so": b"anything"},
        {"data/constants/custom_obj_0": b"anything"},
    ):
        with pytest.raises(UsageError, match=r"model\.pt2 holds .*, which torch would run as code"):
            export_program.load(damaged(tmp_path, dict(changed)))
    source = loading.variant("torch", RESNET, INT8).model.path
    with zipfile.ZipFile(source) as archive:
        name = next(one for one in archive.namelist() if one.endswith("models/model.json"))
        graph = archive.read(name)
    changed_graph = {"models/model.json": graph.replace(b"Symbol('s", b"print('s")}
    assert changed_graph["models/model.json"] != graph
    with pytest.raises(UsageError, match=r"holds print\(.*, which torch would run as code"):
        export_program.load(damaged(tmp_path, changed_graph))
    assert export_program.load(damaged(tmp_path, {}))


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(UsageError, match=r"model\.pt2 is no program of torch"):
        export_program.load(tmp_path / "model.pt2")


def test_integers_are_not_compiled() -> None:
    variant = loading.variant("torch", RESNET, f"{INT8}+fuse:compile")
    with pytest.raises(UsageError, match=r"torch\.compile does not run .* quantize:int8\. Leave out fuse:compile"):
        backend.load(variant.model, RESNET, device="cpu", threads=1, options=variant.options)
