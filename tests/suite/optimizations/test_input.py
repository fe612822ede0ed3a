"""Images in another form: bytes are answered alike, smaller ones as the network answers them, in whatever asks it."""

import functools
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Dataset, Workload
from reference_models.datasets import fashion_mnist
from reference_models.forms import NEAREST, Form, Normalization
from suite import plugins, prepare, recipes
from suite.backends import onnxruntime as backend
from suite.channel import Channel
from suite.export import load_network, reference_answers
from suite.optimizations import input as step
from suite.optimizations._network import Network
from suite.probes import unseen
from suite.probes.contest import Terms
from suite.subject import Subject, describe
from suite.tasks import contests
from suite.variant import Serving
from tests.conformance import loading
from tests.suite.optimizations import models

pytestmark = pytest.mark.side_by_side

RESNET, MOBILENET = (plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet"))
COUNT = 500
SERVING = Serving(64, 0, 1, 1, "cpu")


def described(workload: Workload, recipe: str) -> dict[str, Any]:
    chosen = loading.variant("onnxruntime", workload, recipe)
    folder = loading.data_folder(workload)
    return describe(workload.name, "onnxruntime", chosen.model, dict(chosen.options), folder)


def opened(workload: Workload, recipe: str) -> Subject:
    return Subject.open(described(workload, recipe))


@functools.cache
def outputs(workload: Workload, recipe: str) -> NDArray[Any]:
    """Returns what a variant makes of the first samples, as they come from its dataset."""
    subject = opened(workload, recipe)
    subject.dataset.load(range(COUNT))
    (session,) = subject.load(SERVING)
    return session.predict(subject.dataset.batch(range(COUNT)))


def reference(workload: Workload, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the outputs of the network in torch."""
    import torch

    with torch.inference_mode():
        found: NDArray[np.float32] = load_network(workload, workload.weights)(torch.from_numpy(images)).numpy()
    return found


def whole(workload: Workload) -> Dataset:
    dataset = workload.open_dataset(loading.data_folder(workload))
    dataset.load(range(dataset.total))
    return dataset


@pytest.mark.parametrize(
    ("workload", "recipe"),
    [
        (RESNET, "input:uint8"),
        (MOBILENET, "input:uint8"),
        (MOBILENET, "input:uint8,layout=nhwc"),
        (RESNET, "input:stored=raw"),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_the_first_layer_is_given_the_same_bits(workload: Workload, recipe: str) -> None:
    assert np.array_equal(outputs(workload, recipe), outputs(workload, ""))


def test_channels_that_come_last_are_put_where_the_network_wants_them(tmp_path: Path) -> None:
    """Of a grey image both layouts are the same bytes."""
    source = models.one_layer(tmp_path / "source.onnx", "Conv", [3, 6, 6], models.weights(4, 3, 3, 3))
    normalization, target = Normalization(0.4, 0.2), tmp_path / "target.onnx"
    said = step.make(source, target, {"type": "uint8", "layout": "nhwc"}, None, normalization)
    assert said == {"input": "uint8 NHWC"}
    pixels = np.random.default_rng(3).integers(0, 256, (9, 3, 6, 6), np.uint8)
    found = models.answers(target, np.ascontiguousarray(np.moveaxis(pixels, 1, -1)))
    assert np.array_equal(found, models.answers(source, normalization.done(pixels)))


@pytest.mark.parametrize(
    ("workload", "recipe"),
    [(RESNET, "input:resolution=14,resize=nearest"), (MOBILENET, "input:uint8,resolution=20")],
    ids=lambda one: getattr(one, "name", one),
)
def test_the_network_answers_the_smaller_image(workload: Workload, recipe: str) -> None:
    (parsed,) = recipes.parse(recipe)
    images = step.form({**parsed.parameters, "type": "float32"}).of_samples(
        loading.images(workload.name, COUNT), workload.normalization
    )
    found = outputs(workload, recipe)
    assert np.abs(found - reference(workload, images)).max() < 1e-3
    assert (found.argmax(1) != outputs(workload, "").argmax(1)).any()


def test_a_smaller_image_is_made_as_large_again_in_the_graph() -> None:
    import torch
    from torch.nn import functional

    small = Form(side=14).of_samples(loading.images(RESNET.name, COUNT), RESNET.normalization)
    large = functional.interpolate(torch.from_numpy(small), 28, mode="bilinear", align_corners=False).numpy()
    found = outputs(RESNET, "input:uint8,resolution=14,restore=yes")
    assert np.abs(found - reference(RESNET, large)).max() < 1e-3


def test_a_network_of_one_size_takes_smaller_images_only_restored(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("Gemm", ["flat", "w"], ["output"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in (("input", (1, 6, 6)), ("output", (4,)))
    ]
    held = [numpy_helper.from_array(models.weights(36, 4), "w")]
    graph = helper.make_graph(nodes, "flat", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), source)

    with pytest.raises(UsageError, match=r"takes no images of 3 x 3 pixels\. Add restore=yes"):
        step.make(source, target, {"resolution": "3"}, None, RESNET.normalization)
    assert not target.exists()
    step.make(source, target, {"resolution": "3", "restore": "yes"}, None, RESNET.normalization)
    images = np.full((7, 1, 3, 3), 0.5, np.float32)
    expected = models.answers(source, np.full((7, 1, 6, 6), 0.5, np.float32))
    assert np.allclose(models.answers(target, images), expected, atol=1e-5)


def test_what_follows_is_given_training_samples_in_the_same_form() -> None:
    """Whole images, or floating ones, would be refused by the model whose ranges are taken."""
    small = "input:uint8,resolution=14,resize=nearest"
    recipe = f"{small}+quantize:int8,range=reduced,samples=64"
    found, expected = outputs(MOBILENET, recipe), outputs(MOBILENET, small)
    assert np.mean(found.argmax(1) == expected.argmax(1)) > 0.95
    chosen = loading.variant("onnxruntime", MOBILENET, recipe)
    assert chosen.model.chain[2:] == (
        "input:uint8,resize=nearest,resolution=14",
        "quantize:int8,range=reduced,samples=64, by 64 training samples",
    )
    ran = backend.arithmetic(chosen.model, MOBILENET, device="cpu", threads=1, options=chosen.options)
    # A quarter of the pixels, in integers.
    assert set(ran) == {"uint8 x int8 on CPUExecutionProvider"} and sum(ran.values()) < 4_613_728 / 3


# Bytes are rounded; half the pixels an axis are hardly known to this network, beyond chance all the same.
@pytest.mark.parametrize(("recipe", "least"), [("input:uint8", 0.99), ("input:resolution=14", 0.2)])
def test_the_reference_is_asked_about_the_whole_of_the_same_unseen_image(recipe: str, least: float) -> None:
    subject = opened(MOBILENET, recipe)
    subject.dataset.load(range(subject.dataset.total))
    inputs = unseen.drawn(whole(MOBILENET), 5)
    assert np.array_equal(unseen.drawn(subject.whole(), 5), inputs)
    (session,) = subject.load(SERVING)
    found, expected = unseen.answers(subject, session, 64, 5), reference_answers(MOBILENET, inputs)
    raw = session.predict(subject.form.of_samples(inputs, MOBILENET.normalization))
    assert found == [row.tobytes().hex() for row in MOBILENET.encode(raw)]
    assert np.mean([one == other for one, other in zip(found, expected, strict=True)]) >= least
    assert unseen.repeat_probe(subject, session, 4, 5)["pairs"] >= unseen.LEAST_PAIRS


def test_it_takes_turns_with_a_reference_that_takes_whole_images() -> None:
    recipe = "input:uint8,resolution=7,resize=nearest"
    job = {
        "reference": described(MOBILENET, ""),
        "variant": described(MOBILENET, recipe),
        "serving": asdict(SERVING),
        "variant_serving": asdict(replace(SERVING, batch=16)),
        "terms": asdict(Terms.fixed(0.05, 1)),
        "stream": None,
    }
    (block,) = prepare.call("turns", job, 60, "test", quiet=True)
    assert len(block["variant"]) == len(block["reference"]) == 2
    job = {"subject": described(MOBILENET, recipe), "serving": asdict(SERVING)}
    found = prepare.call("answer", job, 60, "test", quiet=True)
    assert found["answers"][:COUNT] == outputs(MOBILENET, recipe).argmax(1).tolist()


@pytest.mark.parametrize("recipe", ["fuse:level=off", "input:uint8"])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_end_to_end_both_sides_decode_in_their_turns(
    monkeypatch: pytest.MonkeyPatch, recipe: str, end_to_end: bool
) -> None:
    """Whether both have the same samples or each has its own."""
    loaded, load = [], fashion_mnist.FashionMnist.load

    def noted(self: fashion_mnist.FashionMnist, indices: Any, decoded: bool = True) -> None:
        loaded.append(decoded)
        load(self, indices, decoded)

    serving = asdict(replace(SERVING, end_to_end=end_to_end))
    job = {"reference": described(RESNET, ""), "variant": described(RESNET, recipe)}
    monkeypatch.setattr(fashion_mnist.FashionMnist, "load", noted)
    job |= {"serving": serving, "variant_serving": serving, "stream": None, "terms": asdict(Terms.fixed(0.02, 1))}
    (block,) = contests.turns(job, Channel(os.open(os.devnull, os.O_WRONLY)))
    assert len(block["variant"]) == 2
    assert loaded == [not end_to_end] * (2 if recipe == "input:uint8" else 1)


def test_what_is_stored_as_pixels_has_nothing_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    stored, encoded = (opened(RESNET, text).dataset for text in ("input:stored=raw", ""))
    for dataset in (stored, encoded):
        dataset.load(range(COUNT), decoded=False)
    expected = encoded.batch(range(COUNT))

    def refused(*_: Any, **__: Any) -> bytes:
        raise AssertionError("something was decoded")

    monkeypatch.setattr(fashion_mnist.zlib, "decompress", refused)
    assert np.array_equal(stored.batch(range(COUNT)), expected)
    with pytest.raises(AssertionError, match="decoded"):
        encoded.batch(range(COUNT))


def test_a_smaller_image_is_smaller(tmp_path: Path) -> None:
    source = loading.model(RESNET, plugins.backend("onnxruntime")).path
    with pytest.raises(UsageError, match=r"images of 28 x 28 pixels, which a resolution of 28 makes no smaller"):
        step.make(source, tmp_path / "target.onnx", {"resolution": "28"}, None, RESNET.normalization)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("input", "input needs another form than the reference takes: input:uint8, input:layout=nhwc, "),
        ("input:float32,layout=nchw", "input needs another form than the reference takes"),
        ("input:uint8,resize=nearest", "resize of input says nothing without resolution. Leave it out."),
        ("input:restore=yes", "restore of input says nothing without resolution"),
        ("input:resolution=0", "resolution of input is a whole number from 1 to 1024, not '0'"),
        ("input:int8", "type of input cannot be 'int8'. Allowed: float32, uint8"),
        ("prune:0.5+input:uint8", "input cannot follow prune: put input first, and once."),
        ("input:uint8+quantize:int8+input:resolution=14", "input cannot follow quantize: put input first, and once."),
        ("input:uint8+input:resolution=14", "input cannot follow input: put input first, and once."),
    ],
)
def test_what_cannot_be_taken_is_refused_in_a_sentence(recipe: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.check(recipe, plugins.describe("onnxruntime"), {})
    assert sentence in str(caught.value)


def test_the_torch_backend_takes_no_other_form() -> None:
    with pytest.raises(UsageError, match="input makes an ONNX model, and the backend torch loads safetensors"):
        recipes.check("input:uint8", plugins.describe("torch"), {})


def test_a_way_of_serving_may_come_first() -> None:
    recipes.check("batch:16+fuse:level=all+input:uint8+prune:0.5", plugins.describe("onnxruntime"), {})


def test_smaller_images_are_for_the_open_division_and_bytes_are_not() -> None:
    assert recipes.open_because("input:uint8,layout=nhwc,stored=raw+quantize:int8") == []
    assert recipes.open_because("input:uint8,resolution=14+prune:0.1") == [
        "its images are made smaller",
        "it is pruned",
    ]


def test_a_model_tells_in_which_form_it_takes_images() -> None:
    chain = ["reference", "exported to ONNX, opset 20", "input:uint8,resize=nearest,resolution=14", "prune:0.5"]
    assert recipes.form(chain) == Form(raw=True, side=14, resize=NEAREST)
    assert recipes.form(chain[:2]) == Form()


def test_a_model_that_takes_bytes_can_be_trained() -> None:
    import onnx
    import torch

    subject = opened(MOBILENET, "input:uint8,layout=nhwc")
    subject.dataset.load(range(COUNT))
    inputs = torch.from_numpy(subject.dataset.batch(range(COUNT)))
    with torch.no_grad():
        found = Network(onnx.load(subject.model.path))(inputs).numpy()
    assert np.abs(found - outputs(MOBILENET, "")).max() < 1e-3
