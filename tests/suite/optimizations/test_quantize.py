"""INT8 by onnxruntime: what is made, which kernels run, and from which samples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.datasets import fashion_mnist
from suite import derived, plugins, recipes, shelf
from suite.backends import onnxruntime
from suite.recipes import Step
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

WORKLOADS = [plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet")]
RESNET = WORKLOADS[0]
COUNT = 1000


def answers(recipe: str, workload: plugins.Workload = RESNET) -> NDArray[np.int64]:
    dataset = workload.open_dataset(loading.data_folder(workload))
    dataset.load(np.arange(COUNT))
    with loading.session("onnxruntime", workload, recipe) as session:
        return workload.encode(session.predict(dataset.batch(np.arange(COUNT))))


def arithmetic(recipe: str) -> dict[str, int]:
    variant = loading.variant("onnxruntime", RESNET, recipe)
    return onnxruntime.arithmetic(variant.model, RESNET, device="cpu", threads=1, options=variant.options)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
@pytest.mark.parametrize(
    "more", ["range=reduced", "granularity=tensor", "scales=dynamic", "calibration=percentile,range=reduced,samples=64"]
)
def test_nearly_all_answers_are_those_of_the_reference(workload: plugins.Workload, more: str) -> None:
    changed = np.count_nonzero(answers(f"quantize:int8,{more}", workload) != answers("", workload))
    # Another arithmetic: some, and few.
    assert 0 < changed <= 0.03 * COUNT


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        ("", {"float32"}),
        ("quantize:int8", {"uint8 x int8"}),
        ("quantize:int8,scales=dynamic", {"uint8"}),
        # Without fusion the integers are turned back before each convolution.
        ("quantize:int8+fuse:level=off", {"float32"}),
        # onnxruntime has no kernel for some of these on a CPU.
        ("quantize:int8,activations=int8,symmetry=symmetric", {"uint8 x int8", "float32"}),
    ],
)
def test_the_profile_says_which_arithmetic_ran(recipe: str, kinds: set[str]) -> None:
    found = arithmetic(recipe)
    assert {label.partition(" on ")[0] for label in found} == kinds
    # Half of the 18.7 million operations of the network's card, whatever does them.
    assert sum(found.values()) == 9_345_920


def test_the_same_recipe_makes_the_same_bytes(tmp_path: Path) -> None:
    source = loading.model(RESNET, plugins.backend("onnxruntime"))
    (step,) = recipes.parse("quantize:int8,range=reduced")
    for cache in ("one", "two"):
        derived.make(step, source, RESNET, loading.data_folder(RESNET), tmp_path / cache)
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


def test_calibration_samples_are_of_the_training_set_alone() -> None:
    folder = loading.data_folder(RESNET)
    drawn = fashion_mnist.calibrate(folder, 256)
    assert drawn.indices == fashion_mnist.calibrate(folder, 256).indices[:256] and len(set(drawn.indices)) == 256
    assert fashion_mnist.calibrate(folder, 64).indices == drawn.indices[:64]
    train = fashion_mnist.images(folder, "train")
    assert np.array_equal(drawn.samples, fashion_mnist.preprocess(train[list(drawn.indices)]))
    judged = {image.tobytes() for image in fashion_mnist.images(folder, "test")}
    assert not judged & {train[index].tobytes() for index in drawn.indices}


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
