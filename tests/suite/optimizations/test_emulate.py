"""Emulated arithmetic: every code of every format and what lies between, as weights and through onnxruntime."""

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Model, Workload
from suite import plugins, shelf
from suite.backends import onnxruntime
from suite.optimizations import emulate
from suite.optimizations._onnx import weights
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

RESNET, MOBILENET = (plugins.workload(name) for name in ("fashion-resnet", "fashion-mobilenet"))
COUNT = 400
Values = NDArray[np.float32]


# What ml_dtypes and numpy have of the formats; a cast to them rounds to nearest, ties to even.
TYPES = {
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8-e4m3": ml_dtypes.float8_e4m3fn,
    "fp8-e5m2": ml_dtypes.float8_e5m2,
    "int8": np.int8,
    "int4": ml_dtypes.int4,
    "fp4": ml_dtypes.float4_e2m1fn,
}
# What a tensor's largest magnitude becomes; with that magnitude the scale is 1.
REACHES = {"fp8-e4m3": 448, "fp8-e5m2": 57344, "int8": 127, "int4": 7}
SCALAR = ("fp16", "bf16", "tf32", *REACHES)


def codes(form: str) -> Values:
    """Returns every finite value of a format, in order, negative zero left out."""
    if form == "tf32":
        # Not all 2**19: a 32nd of them, and all near 1, of the smallest and of the largest.
        first = (0, 0x3F000000, 0x7F700000)
        near = [np.arange(one, one + 2**20, 2**13, dtype=np.uint32) for one in first]
        found = np.concatenate([np.arange(0, 2**31, 2**18, dtype=np.uint32), *near]).view(np.float32)
        found = np.concatenate([found, -found])
    else:
        kind = np.dtype(TYPES[form])
        if form in ("int8", "int4"):
            lowest, largest = (-128, 127) if form == "int8" else (-8, 7)
            found = np.arange(lowest, largest + 1).astype(kind).astype(np.float32)
        elif kind.itemsize == 2:
            found = np.arange(2**16, dtype=np.uint16).view(kind).astype(np.float32)
        else:
            found = np.arange(16 if form == "fp4" else 256, dtype=np.uint8).view(kind).astype(np.float32)
    return np.unique(found[np.isfinite(found)])


def asked(form: str) -> Values:
    """Returns codes, midpoints of neighbours, what is just beside these, zeros, and what lies beyond the ends."""
    own = codes(form)
    middles = ((own[1:].astype(np.float64) + own[:-1]) / 2).astype(np.float32)
    beside = [np.nextafter(middles, np.float32(end)) for end in (-np.inf, np.inf)]
    beyond = own[-1].astype(np.float64) * np.array([1.01, 1.5, 100])
    beyond = beyond[beyond < np.finfo(np.float32).max].astype(np.float32)
    extremes = np.array([0.0, -0.0, 1e-45, -1e-45, np.finfo(np.float32).max, -np.finfo(np.float32).max], np.float32)
    return np.concatenate([own, middles, *beside, beyond, -beyond, extremes])


def expected(form: str, values: Values) -> Values:
    """Returns what a format makes of values: TF32 by its bits, whole numbers in Python, the rest by ml_dtypes."""
    own = codes(form)
    bounded = np.clip(values, own[0], own[-1])
    if form == "tf32":
        bits = bounded.view(np.uint32)
        even = (bits + np.uint32(0xFFF) + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
        return even.view(np.float32)
    if form in ("int8", "int4"):
        return np.array([round(value) for value in bounded.tolist()], np.float32)
    return bounded.astype(TYPES[form]).astype(np.float32)


def by_blocks(form: str, values: Values, reach: float) -> Values:
    """Returns what a block format makes of rows of values: block by block, with the types of ml_dtypes.

    `reach` is the largest magnitude of the tensor, for NVFP4's own scale.
    """
    size = 16 if form == "nvfp4" else 32
    element = np.dtype(TYPES["fp8-e4m3" if form == "mxfp8" else "fp4"])
    most = float(ml_dtypes.finfo(element).max)
    tensor = np.float64(np.float32(reach / (6 * 448)))
    found = np.empty_like(values)
    for row, out in zip(values.astype(np.float64), found, strict=True):
        for start in range(0, len(row), size):
            block = row[start : start + size]
            largest = np.abs(block).max()
            if form == "nvfp4":
                # The spacing of subnormal E4M3 where the scale would be 0.
                scale = np.minimum(largest / 6 / tensor, 448).astype(TYPES["fp8-e4m3"]).astype(np.float64)
                scale = max(scale, 2.0**-9) * tensor
            else:
                # math.frexp has mantissas from a half.
                scale = 2.0 ** (math.frexp(largest)[1] - math.frexp(most)[1]) if largest else 1.0
            out[start : start + size] = np.clip(block / scale, -most, most).astype(element).astype(np.float64) * scale
    return found


class Multiplier:
    """A model of one layer, on disk: `weights` (k, m) or, for a convolution, (m, k, height, width)."""

    def __init__(self, folder: Path, weights: Values, bias: Values | None = None, **attributes: object) -> None:
        from onnx import TensorProto, helper, numpy_helper, save

        self.source, self.target = folder / "source.onnx", folder / "target.onnx"
        operator = "MatMul" if weights.ndim == 2 else "Conv"
        shape = ["n", weights.shape[0]] if weights.ndim == 2 else ["n", None, None, None]
        ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        ends += [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        given = {"w": weights} if bias is None else {"w": weights, "b": bias}
        constants = [numpy_helper.from_array(values, name) for name, values in given.items()]
        layer = helper.make_node(operator, ["x", *given], ["y"], name="layer", **attributes)
        graph = helper.make_graph([layer], "one", ends[:1], ends[1:], constants)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), self.source)

    def emulated(self, samples: Values | None = None, **parameters: str) -> "Multiplier":
        emulate.make(self.source, self.target, parameters, samples)
        return self

    @property
    def weights(self) -> Values:
        import onnx
        from onnx import numpy_helper

        ((_, tensor),) = weights(onnx.load(self.target))
        return np.asarray(numpy_helper.to_array(tensor))

    def constants(self) -> list[Values]:
        import onnx
        from onnx import numpy_helper

        return [np.asarray(numpy_helper.to_array(one)) for one in onnx.load(self.target).graph.initializer]

    def outputs(self, samples: Values, level: str = "all") -> Values:
        model = Model("onnx", self.target, "", ())
        options = {"graph_level": level, "pipeline": "1"}
        opened = onnxruntime.load(model, RESNET, device="cpu", threads=1, options=options)
        return opened.predict(samples)


def assert_same(found: Values, wanted: Values) -> None:
    """Asserts that values are the same to the last bit; of whole numbers zero has no sign."""
    assert found.dtype == np.float32
    wrong = found != wanted
    assert not wrong.any(), (found[wrong][:5], wanted[wrong][:5])


@pytest.mark.parametrize("form", SCALAR)
def test_weights_become_the_nearest_codes(form: str, tmp_path: Path) -> None:
    values = asked(form)
    if form in REACHES:
        # Of weights the largest decides the scale, so that nothing lies beyond; here it is 1.
        values = values[np.abs(values) <= REACHES[form]]
    more = {"granularity": "tensor"} if form.startswith("int") else {}
    model = Multiplier(tmp_path, values[None]).emulated(format=form, what="weights", **more)
    assert_same(model.weights[0], expected(form, values))
    if not form.startswith("int"):
        assert np.array_equal(np.signbit(model.weights[0]), np.signbit(values))


@pytest.mark.parametrize("level", ["all", "off"])
@pytest.mark.parametrize("form", SCALAR)
def test_inputs_become_the_nearest_codes_in_onnxruntime(form: str, level: str, tmp_path: Path) -> None:
    values = asked(form)
    reach = np.array([[REACHES[form]]], np.float32) if form in REACHES else None
    model = Multiplier(tmp_path, np.ones((1, 1), np.float32)).emulated(reach, format=form, what="activations")
    assert_same(model.outputs(values[:, None], level)[:, 0], expected(form, values))


@pytest.mark.parametrize("form", ["int8", "fp8-e4m3"])
@pytest.mark.parametrize("largest", [0.3, 1.0000001, 127.0005, 448.002, 6.0, 1e-42, 3e38])
def test_what_is_scaled_becomes_the_nearest_code_of_its_scale(form: str, largest: float, tmp_path: Path) -> None:
    """Scales just beside 1 among them, whose operations onnxruntime leaves out."""
    values = (np.random.default_rng(3).uniform(-1.1, 1.1, 4000) * largest).astype(np.float32)
    reach = np.float32(largest)
    model = Multiplier(tmp_path, np.ones((1, 1), np.float32)).emulated(
        reach[None, None], format=form, what="activations"
    )
    scale = float(max(np.float32(float(reach) / REACHES[form]), np.finfo(np.float32).tiny))
    wanted = expected(form, (values / scale).astype(np.float64)) * scale
    assert_same(model.outputs(values[:, None])[:, 0], wanted.astype(np.float32))


def rows(count: int, channels: int) -> Values:
    """Returns rows of values of all sizes: blocks of zeros, of codes of FP4, and of what lies between."""
    random = np.random.default_rng(channels)
    found = random.normal(size=(count, channels)) * 2.0 ** random.integers(-40, 40, (count, 1))
    found[0] = 0
    found[1] = random.choice(np.arange(-6, 6.25, 0.25), channels)
    found[2, :] = np.ldexp(1.0, random.integers(-12, 12, channels))
    found[3] *= 2.0 ** random.integers(-20, 1, channels)
    return found.astype(np.float32)


@pytest.mark.parametrize("form", ["mxfp4", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("channels", [1, 16, 32, 72])
def test_blocks_along_the_input_channels_have_scales_of_their_own(form: str, channels: int, tmp_path: Path) -> None:
    values, one = rows(200, channels), np.eye(channels, dtype=np.float32)
    reach = float(np.abs(values).max())
    wanted = by_blocks(form, values, reach)
    model = Multiplier(tmp_path, values.T.copy()).emulated(format=form, what="weights")
    assert_same(model.weights.T, wanted)
    model = Multiplier(tmp_path, values[..., None, None]).emulated(format=form, what="weights")
    assert_same(model.weights[..., 0, 0], wanted)

    samples = np.full((1, channels), reach, np.float32) if form == "nvfp4" else None
    model = Multiplier(tmp_path, one).emulated(samples, format=form, what="activations")
    assert_same(model.outputs(values), wanted)
    images = values.reshape(10, 20, channels).transpose(0, 2, 1)[..., None].copy()
    samples = samples[..., None, None] if samples is not None else None
    model = Multiplier(tmp_path, one[..., None, None]).emulated(samples, format=form, what="activations")
    assert_same(model.outputs(images)[..., 0].transpose(0, 2, 1).reshape(200, channels), wanted)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_position_is_the_smallest_power_of_two_that_reaches(granularity: str, bits: int, tmp_path: Path) -> None:
    most = 2 ** (bits - 1) - 1
    values = np.random.default_rng(bits).normal(size=(30, 40)).astype(np.float32) * 10
    # One that reaches exactly, one just beyond, and zeros alone.
    values[:, 0] = values[:, 0] / np.abs(values[:, 0]).max() * most * 0.25
    values[0, 1], values[1:, 1], values[:, 2] = np.nextafter(np.float32(most), np.float32(np.inf)), 1, 0
    parameters = {"scale": "power-of-two", "granularity": granularity, "what": "weights"}
    found = Multiplier(tmp_path, values).emulated(format=f"int{bits}", **parameters).weights
    largest = np.abs(values).max(axis=0) if granularity == "channel" else np.full(40, np.abs(values).max())
    scales = [next(2.0**power for power in range(-40, 40) if most * 2.0**power >= one) for one in largest.tolist()]
    assert_same(found, (np.rint(values / scales) * scales).astype(np.float32))


def test_a_scale_for_each_output_channel_is_its_own(tmp_path: Path) -> None:
    values = (
        np.random.default_rng(1).normal(size=(8, 5, 1, 1)).astype(np.float32)
        * np.logspace(-3, 3, 8)[:, None, None, None]
    )
    values = values.astype(np.float32)
    kinds = {}
    for granularity in ("channel", "tensor"):
        model = Multiplier(tmp_path, values).emulated(format="int8", what="weights", granularity=granularity)
        kinds[granularity] = np.abs(model.weights - values).max(axis=(1, 2, 3)) / np.abs(values).max(axis=(1, 2, 3))
    assert kinds["channel"].max() <= 0.5 / 127 + 1e-6
    # The smallest channels have no code but 0.
    assert kinds["tensor"][0] == 1


def added_in_fp16(products: Values, bias: Values) -> Values:
    """Returns the sums of products (..., n), which begin with the bias: of 8 at a time, rounded to FP16 each time."""
    sums = bias
    for start in range(0, products.shape[-1], 8):
        with np.errstate(over="ignore"):
            sums = (sums + products[..., start : start + 8].sum(-1)).astype(np.float16).astype(np.float32)
    return sums


def test_fp16_adds_up_eight_products_at_a_time_in_fp16(tmp_path: Path) -> None:
    """Of whole numbers float32's sums are exact in any order; beyond 2,048 FP16 has gaps, beyond 65,504 infinity."""
    random = np.random.default_rng(5)
    for inputs in (5, 8, 77):
        weights = random.integers(-60, 200, (inputs, 4)).astype(np.float32)
        samples = random.integers(-9, 20, (50, inputs)).astype(np.float32)
        samples[0], weights[:, 0] = 19, 199
        model = Multiplier(tmp_path, weights).emulated(format="fp16", accumulate="fp16")
        wanted = added_in_fp16((samples[:, None] * weights.T).astype(np.float32), np.zeros((), np.float32))
        assert np.array_equal(model.outputs(samples), wanted), inputs
        assert np.isinf(wanted).any() == (inputs == 77)


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (16, 1), (6, 6)])
def test_convolutions_add_up_in_fp16_along_their_filters(channels: int, groups: int, tmp_path: Path) -> None:
    random = np.random.default_rng(channels)
    weights = random.integers(-90, 200, (12, channels // groups, 3, 3)).astype(np.float32)
    bias = random.integers(-4000, 4000, 12).astype(np.float32)
    images = random.integers(-3, 12, (4, channels, 6, 5)).astype(np.float32)
    model = Multiplier(tmp_path, weights, bias, group=groups, pads=[1, 1, 1, 1], strides=[2, 1])
    found = model.emulated(format="fp16", accumulate="fp16").outputs(images)
    assert not any(tensor.shape == weights.shape and (tensor == weights).all() for tensor in model.constants())
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2]
    # (image, output, height, width, channel of the group and place in the filter)
    windows = np.repeat(windows.reshape(4, groups, channels // groups, 3, 5, 9), 12 // groups, 1)
    products = windows.transpose(0, 1, 3, 4, 2, 5).reshape(4, 12, 3, 5, -1) * weights.reshape(12, 1, 1, -1)
    assert np.array_equal(found, added_in_fp16(products.astype(np.float32), bias[:, None, None]))


def test_what_is_not_a_number_stays_so(tmp_path: Path) -> None:
    model = Multiplier(tmp_path, np.ones((1, 1), np.float32)).emulated(format="bf16")
    found = model.outputs(np.array([[np.nan], [np.inf], [-np.inf]], np.float32))[:, 0]
    assert np.isnan(found[0]) and found[1] == -found[2] == codes("bf16")[-1]


def layers(recipe: str, workload: Workload = RESNET) -> list[Values]:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(loading.variant("onnxruntime", workload, recipe).model.path)
    return [np.asarray(numpy_helper.to_array(tensor)) for _, tensor in weights(model)]


def answers(recipe: str, workload: Workload) -> NDArray[np.int64]:
    with loading.session("onnxruntime", workload, recipe) as session:
        return workload.encode(session.predict(loading.images(workload.name, COUNT)))


@pytest.mark.parametrize(
    ("recipe", "workload", "least", "most"),
    [("tf32", MOBILENET, 0.0, 0.005), ("int8", RESNET, 0.0, 0.03), ("int4", MOBILENET, 0.03, 1.0)],
)
def test_a_workload_is_answered_almost_as_by_the_reference(
    recipe: str, workload: Workload, least: float, most: float
) -> None:
    changed = np.mean(answers(f"emulate:{recipe}", workload) != answers("", workload))
    # Four bits are few for the depthwise network.
    assert least <= changed <= most


def test_it_is_float32_that_multiplies() -> None:
    """Nothing becomes a kernel of integers or halves, and nothing goes missing."""
    for recipe in ("emulate:int8", "emulate:fp16"):
        variant = loading.variant("onnxruntime", MOBILENET, recipe)
        found = onnxruntime.arithmetic(variant.model, MOBILENET, device="cpu", threads=1, options=variant.options)
        assert found == {"float32 on CPUExecutionProvider": 4_613_728}


def test_its_card_says_what_was_rounded_and_by_which_samples() -> None:
    cards = {}
    for recipe in ("emulate:int8", "emulate:int8,layers=but-ends", "emulate:bf16,what=weights"):
        variant = loading.variant("onnxruntime", MOBILENET, recipe)
        cards[recipe] = json.loads(variant.model.path.with_name(shelf.CARD).read_text())
    assert [card["emulated"] for card in cards.values()] == [
        {"weights": 18, "activations": 18},
        {"weights": 16, "activations": 16},
        {"weights": 18, "activations": 0},
    ]
    assert len(cards["emulate:int8"]["calibration"]["indices"]) == 256
    assert "calibration" not in cards["emulate:bf16,what=weights"]


def test_the_ends_stay_as_they_were() -> None:
    before, after = layers(""), layers("emulate:int4,layers=but-ends")
    same = [np.array_equal(*pair) for pair in zip(before, after, strict=True)]
    assert same == [True, *[False] * (len(before) - 2), True]


def test_layers_that_are_kept_are_neither_rounded_nor_given_rounded_inputs() -> None:
    variant = loading.variant("onnxruntime", MOBILENET, "emulate:int8,keep=0/3")
    card = json.loads(variant.model.path.with_name(shelf.CARD).read_text())
    assert card["emulated"] == {"weights": 16, "activations": 16}
    before, after = layers("", MOBILENET), layers("emulate:int8,keep=0/3", MOBILENET)
    same = [number for number, pair in enumerate(zip(before, after, strict=True)) if np.array_equal(*pair)]
    assert same == [0, 3]
    with pytest.raises(UsageError, match="keep of emulate names the layers that it leaves as they are"):
        loading.variant("onnxruntime", MOBILENET, "emulate:int4,layers=but-ends,keep=1")


def test_what_was_pruned_stays_pruned_and_what_was_clustered_is_rounded() -> None:
    for pruned, rounded in zip(layers("prune:0.5"), layers("prune:0.5+emulate:mxfp4"), strict=True):
        assert not rounded[pruned == 0].any()
    for clustered, rounded in zip(layers("cluster:4"), layers("cluster:4+emulate:fp8-e4m3"), strict=True):
        assert len(np.unique(rounded)) <= len(np.unique(clustered)) <= 16
