"""INT8 by onnxruntime: what is made, which kernels run, and from which samples."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from common.errors import UsageError
from reference_models.base import Calibration, Workload
from reference_models.datasets import fashion_mnist
from suite import derived, plugins, recipes, shelf
from suite.backends import onnxruntime
from suite.optimizations import _powers
from suite.recipes import Step
from tests.conformance import loading
from tests.suite.commands import ROOT

pytestmark = pytest.mark.side_by_side

WORKLOADS = [plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet")]
RESNET, MOBILENET = WORKLOADS
COUNT = 1000


def answers(recipe: str, workload: Workload = RESNET) -> NDArray[np.int64]:
    dataset = workload.open_dataset(loading.data_folder(workload))
    dataset.load(np.arange(COUNT))
    with loading.session("onnxruntime", workload, recipe) as session:
        return workload.encode(session.predict(dataset.batch(np.arange(COUNT))))


def arithmetic(recipe: str, workload: Workload = RESNET) -> dict[str, int]:
    variant = loading.variant("onnxruntime", workload, recipe)
    return onnxruntime.arithmetic(variant.model, workload, device="cpu", threads=1, options=variant.options)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize(
    "more",
    [
        "range=reduced",
        "granularity=tensor",
        "granularity=tensor,scale=power-of-two",
        "scales=dynamic,range=reduced",
        "calibration=percentile,range=reduced,samples=64",
    ],
)
def test_nearly_all_answers_are_those_of_the_reference(workload: Workload, more: str) -> None:
    changed = np.count_nonzero(answers(f"quantize:int8,{more}", workload) != answers("", workload))
    # Another arithmetic: some, and few.
    assert 0 < changed <= 0.03 * COUNT


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        ("", {"float32"}),
        ("quantize:int8", {"uint8 x int8"}),
        ("quantize:int8,scales=dynamic", {"uint8"}),
        # A CPU without kernels for it, as most are, turns it back.
        ("quantize:float16", {"float32"}),
        # Without fusion the integers are turned back before each convolution.
        ("quantize:int8+fuse:level=off", {"float32"}),
        # onnxruntime has no kernel for some of these on a CPU.
        ("quantize:int8,activations=int8,symmetry=symmetric", {"uint8 x int8", "float32"}),
    ],
)
def test_the_profile_says_which_arithmetic_ran(recipe: str, kinds: set[str]) -> None:
    for workload, total in zip(WORKLOADS, (9_345_920, 4_613_728), strict=True):
        found = arithmetic(recipe, workload)
        assert {label.partition(" on ")[0] for label in found} == kinds
        # Half of the operations of the network's card, whatever does them.
        assert sum(found.values()) == total


@pytest.mark.parametrize("more", ["granularity=tensor", "range=reduced", "activations=int8,symmetry=symmetric"])
def test_scales_are_powers_of_two_where_that_is_asked_for(more: str) -> None:
    """Each is the float scale rounded up, zero stays a code, and integer kernels run it."""

    def values(recipe: str) -> dict[str, NDArray[Any]]:
        graph = onnx.load(loading.variant("onnxruntime", MOBILENET, recipe).model.path).graph
        return {one.name: numpy_helper.to_array(one) for one in graph.initializer}

    plain, powers = values(f"quantize:int8,{more}"), values(f"quantize:int8,scale=power-of-two,{more}")
    scales = [name for name in powers if name.endswith("_scale") and not name.endswith("_quantized_scale")]
    assert len(scales) >= 38
    for name in scales:
        assert np.all(np.frexp(powers[name])[0] == 0.5), name
        assert np.all((plain[name] <= powers[name]) & (powers[name] < 2 * plain[name])), name
        zero = f"{name.removesuffix('_scale')}_zero_point"
        least = [(np.iinfo(one[zero].dtype).min - one[zero].astype(float)) * one[name] for one in (plain, powers)]
        assert np.all(least[1] <= least[0] + powers[name] / 2), name
    assert "uint8 x int8" in " ".join(arithmetic(f"quantize:int8,scale=power-of-two,{more}", MOBILENET))


def test_a_scale_is_rounded_up() -> None:
    scales = np.array([1.0, 1.0000001, 0.75, 2.0**-20, 3.0], np.float32)
    assert _powers.up(scales).tolist() == [1.0, 2.0, 1.0, 2.0**-20, 4.0]


def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path) -> None:
    source = loading.model(RESNET, plugins.backend("onnxruntime"))
    (step,) = recipes.parse("quantize:int8,range=reduced")
    script = (
        "import sys; from pathlib import Path; from suite import derived, plugins, recipes; "
        "from tests.conformance import loading\n"
        "workload = plugins.workload('fashion-resnet'); (step,) = recipes.parse(sys.argv[1])\n"
        "source = loading.model(workload, plugins.backend('onnxruntime'))\n"
        "derived.make(step, source, workload, loading.data_folder(workload), Path(sys.argv[2]))\n"
    )
    for seed, cache in (("1", "one"), ("2", "two")):
        # Sets of names have another order in each.
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-c", script, recipes.canonical([step]), str(tmp_path / cache)]
        subprocess.run(words, env=environment, check=True, timeout=60, capture_output=True)
    one, two = (derived.cached(step, source, RESNET, tmp_path / cache) for cache in ("one", "two"))
    assert one and two and one.sha256 == two.sha256
    assert one.chain[-1] == "quantize:int8,range=reduced, by 256 training samples"
    card = json.loads(one.path.with_name(shelf.CARD).read_text())
    assert len(set(card["calibration"]["indices"])) == 256


def test_each_setting_makes_another_model(tmp_path: Path) -> None:
    texts = ["", "range=reduced", "granularity=tensor", "calibration=percentile", "activations=int8", "samples=64"]
    recipe = [f"quantize:int8{',' if text else ''}{text}" for text in texts]
    found = [loading.variant("onnxruntime", RESNET, text).model.sha256 for text in recipe]
    assert len(set(found)) == len(texts)


def test_a_model_is_kept_under_all_that_goes_into_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source, (step,) = loading.model(RESNET, plugins.backend("onnxruntime")), recipes.parse("quantize:int8")
    keys = {derived._key(step, source, RESNET)}
    keys.add(derived._key(step, replace(source, sha256="0" * 64), RESNET))
    keys.add(derived._key(step, source, replace(RESNET, training_sha256="0" * 64)))
    keys.add(derived._key(step, source, replace(RESNET, calibrate=answers)))
    keys.add(derived._key(Step("quantize", {"type": "int8", "samples": "64"}), source, RESNET))
    monkeypatch.setattr(derived, "packages", lambda: {"onnx": "9"})
    keys.add(derived._key(step, source, RESNET))
    (tmp_path / "another.py").write_text("")
    monkeypatch.setattr(derived, "STEPS", tmp_path)
    keys.add(derived._key(step, source, RESNET))
    assert len(keys) == 7


def test_calibration_samples_are_of_the_training_set_alone() -> None:
    folder = loading.data_folder(RESNET)
    drawn = fashion_mnist.calibrate(folder, 256)
    assert drawn.indices == fashion_mnist.calibrate(folder, 256).indices[:256] and len(set(drawn.indices)) == 256
    assert fashion_mnist.calibrate(folder, 64).indices == drawn.indices[:64]
    train = fashion_mnist.images(folder, "train")
    assert np.array_equal(drawn.samples, fashion_mnist.preprocess(train[list(drawn.indices)]))
    judged = {image.tobytes() for image in fashion_mnist.images(folder, "test")}
    assert not judged & {train[index].tobytes() for index in drawn.indices}


def test_a_training_sample_that_a_model_is_judged_by_is_refused(tmp_path: Path) -> None:
    judged = loading.images(RESNET.name, 300)
    workload = replace(RESNET, calibrate=lambda folder, count: Calibration(judged[290:], tuple(range(1290, 1300))))
    source = loading.model(RESNET, plugins.backend("onnxruntime"))
    step, folder = Step("quantize", {"type": "int8"}), loading.data_folder(RESNET)
    with pytest.raises(UsageError, match="Training sample 1290 is sample 290 of the evaluation set"):
        derived.make(step, source, workload, folder, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_training_samples_the_command_that_brings_them_is_named(tmp_path: Path) -> None:
    source = loading.model(RESNET, plugins.backend("onnxruntime"))
    with pytest.raises(UsageError, match="train-images-idx3-ubyte.*--split train"):
        derived.make(Step("quantize", {"type": "int8"}), source, RESNET, tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or not any((tmp_path / "cache" / "artifacts").iterdir())


def test_a_model_that_was_altered_in_the_cache_is_refused(tmp_path: Path) -> None:
    source, step = loading.model(RESNET, plugins.backend("onnxruntime")), Step("prune", {"sparsity": "0.5"})
    derived.make(step, source, RESNET, tmp_path, tmp_path)
    found = derived.cached(step, source, RESNET, tmp_path)
    assert found and derived.cached(step, replace(source, sha256="0" * 64), RESNET, tmp_path) is None
    found.path.write_bytes(found.path.read_bytes() + b"1")
    with pytest.raises(UsageError, match="is corrupt or foreign: expected SHA-256"):
        derived.cached(step, source, RESNET, tmp_path)


def test_the_first_and_the_last_layer_can_be_left_as_they_are() -> None:
    kinds = arithmetic("quantize:int8,layers=but-ends")
    named = arithmetic("quantize:int8,keep=0/9")
    assert {kind.partition(" on ")[0] for kind in kinds} == {"uint8 x int8", "float32"} and kinds == named
    with pytest.raises(UsageError, match="keep of quantize names the layers"):
        arithmetic("quantize:int8,keep=0,layers=but-ends")
    with pytest.raises(UsageError, match="layers of quantize says nothing with what=weights"):
        arithmetic("quantize:int8,what=weights,layers=but-ends")
