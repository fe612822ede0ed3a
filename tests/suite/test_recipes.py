"""Recipes are parsed into steps, written in one way, and folded into variants."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UsageError
from reference_models.base import Model
from suite import environment, plugins, recipes
from suite.recipes import Step
from suite.variant import Requested, Variant

pytestmark = pytest.mark.side_by_side

MODEL = Model("onnx", Path("model.onnx"), "ab" * 32, ("reference",))


def fold(recipe: str, backend: str, **options: str) -> Variant:
    return recipes.fold(
        recipe,
        workload="fashion-resnet",
        backend=plugins.describe(backend),
        model=MODEL,
        requested=Requested(),
        made=lambda step, model: replace(model, sha256="cd" * 32, chain=(*model.chain, recipes.canonical([step]))),
        options=options,
    )


@pytest.mark.parametrize("text", ["", "  "])
def test_the_empty_recipe_is_the_reference(text: str) -> None:
    assert recipes.parse(text) == ()
    assert recipes.canonical(()) == ""


def test_a_bare_word_is_the_main_parameter() -> None:
    assert recipes.parse("fuse:compile") == (Step("fuse", {"mode": "compile"}),)
    assert recipes.parse("fuse:compile") == recipes.parse("fuse:mode=compile")


def test_steps_follow_one_another() -> None:
    assert recipes.parse("fuse:level=off+fuse:level=all") == (
        Step("fuse", {"level": "off"}),
        Step("fuse", {"level": "all"}),
    )


@pytest.mark.parametrize(
    "text", ["fuse:mode=compile,level=off", "fuse:level=off,compile", " FUSE : compile , level = off "]
)
def test_one_recipe_has_one_text(text: str) -> None:
    assert recipes.canonical(recipes.parse(text)) == "fuse:compile,level=off"
    assert recipes.canonical(recipes.parse(recipes.canonical(recipes.parse(text)))) == "fuse:compile,level=off"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("fus:compile", "Unknown optimization 'fus'. Did you mean 'fuse'?"),
        ("fuse:levle=all", "Unknown parameter of fuse: 'levle'. Did you mean 'level'?"),
        ("fuse:level=most", "level of fuse cannot be 'most'. Allowed: off, basic, extended, all"),
        ("fuse:compiled", "mode of fuse cannot be 'compiled'. Allowed: eager, compile"),
        ("fuse:level=off,level=all", "gives level twice"),
        ("fuse:compile,mode=eager", "gives mode twice"),
        ("cluster:4,keep=0|1", "keep of cluster is numbers of layers joined by /, as in 0/7, not '0|1'"),
        ("cluster:4,keep=", "keep of cluster is numbers of layers"),
        ("cluster:4,keep=-1", "not '-1'"),
        ("cluster:4,keep=1/", "not '1/'"),
        ("cluster:4,keep=²", "not '²'"),
        ("fuse:compile,keep=1", "Unknown parameter of fuse: 'keep'"),
        ("fuse:", "'fuse:' is not complete"),
        ("fuse:compile+", "'' is not complete"),
        ("+fuse:compile", "'' is not complete"),
        (":compile", "':compile' is not complete"),
    ],
)
def test_what_is_no_recipe_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.parse(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("given", ["0/7/12", "12/7/0", "7/12/7/0", "007/12/0"])
def test_the_layers_that_a_step_keeps_have_one_text(given: str) -> None:
    assert recipes.canonical(recipes.parse(f"cluster:keep={given},4")) == "cluster:4,keep=0/7/12"
    assert fold(f"quantize:float16,keep={given}", "onnxruntime").recipe == "quantize:float16,keep=0/7/12"


def test_a_folded_variant_says_what_it_is() -> None:
    variant = fold("fuse:level=basic", "onnxruntime")
    assert variant.recipe == "fuse:level=basic"
    assert variant.options == {"graph_level": "basic", "pipeline": "1"}
    assert (variant.eligible, variant.not_eligible_because) == (True, None)
    assert variant.model is MODEL


def test_fuse_reaches_both_runtimes() -> None:
    assert fold("", "torch").options == {"compile": "no", "graphs": "yes", "fold": "no"}
    assert fold("fuse:compile,batchnorm=folded", "torch").options == {"compile": "yes", "graphs": "yes", "fold": "yes"}
    eager = fold("fuse:compile+fuse:eager", "torch", graphs="no").options
    assert eager == {"compile": "no", "graphs": "no", "fold": "no"}
    assert fold("", "onnxruntime").options == {"graph_level": "all", "pipeline": "1"}


@pytest.mark.parametrize(
    ("recipe", "backend", "remedy"),
    [
        ("fuse:compile", "onnxruntime", "Use fuse:level=off|basic|extended|all."),
        ("fuse:level=off", "torch", "Use fuse:mode=eager|compile."),
        ("fuse:compile", "null", "Leave fuse out."),
        ("fuse", "torch", "fuse needs a parameter"),
    ],
)
def test_fuse_is_refused_where_it_cannot_be_had(recipe: str, backend: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        fold(recipe, backend)
    assert remedy in str(caught.value)


@pytest.mark.parametrize("backend", ["null", "simulated"])
def test_a_backend_without_a_model_is_never_eligible(backend: str) -> None:
    variant = fold("", backend)
    assert not variant.eligible
    assert variant.not_eligible_because == f"the backend '{backend}' runs no real model"


def test_runtime_options_are_all_written_out() -> None:
    assert fold("", "simulated", per_batch_us="7").options == {"per_batch_us": "7", "per_sample_us": "100"}
    assert fold("", "onnxruntime").id == fold("", "onnxruntime", graph_level="all").id
    assert fold("", "ONNXRuntime").id == fold("", "onnxruntime").id


@pytest.mark.parametrize(
    ("backend", "options", "sentence"),
    [
        ("torch", {"compiled": "yes"}, "Unknown option of the backend torch, 'compiled'. Did you mean 'compile'?"),
        ("torch", {"compile": "maybe"}, "option compile of the backend torch cannot be 'maybe'. Allowed: no, yes"),
        ("simulated", {"per_batch_us": "-1"}, "per_batch_us of the backend simulated is a whole number from 0 up"),
        ("simulated", {"per_batch_us": "1.5"}, "whole number from 0 up, not '1.5'"),
        ("simulated", {"per_batch_us": "²"}, "whole number from 0 up, not '²'"),
        ("simulated", {"per_batch_us": ""}, "whole number from 0 up, not ''"),
    ],
)
def test_a_wrong_runtime_option_is_refused_in_a_sentence(backend: str, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        fold("", backend, **options)
    assert sentence in str(caught.value)


def test_a_step_that_makes_a_model_is_followed_by_one_that_sets_an_option() -> None:
    variant = fold("prune:0.5+quantize:int8,granularity=tensor+fuse:level=basic", "onnxruntime")
    assert variant.model.chain == ("reference", "prune:0.5", "quantize:int8,granularity=tensor")
    assert variant.options == {"graph_level": "basic", "pipeline": "1"}
    assert variant.id != fold("fuse:level=basic", "onnxruntime").id


@pytest.mark.parametrize(
    ("recipe", "backend", "sentence"),
    [
        ("quantize:int4", "torch", "quantize makes no int4 for torch. Use quantize:int8|bfloat16|float16, or"),
        (
            "quantize:int8,activations=int8",
            "torch",
            "activations=int8 of quantize is not for torch, which has activations=",
        ),
        ("quantize:int8,calibration=entropy", "torch", "which has calibration=minmax|histogram. Leave it out"),
        ("quantize:int8,what=weights,samples=64", "torch", "samples of quantize says nothing with what=weights"),
        ("quantize:int8,what=weights,scales=dynamic", "torch", "scales of quantize says nothing with what=weights for"),
        ("quantize:int8,scales=dynamic,samples=64", "torch", "samples of quantize says nothing with scales=dynamic"),
        ("quantize:int8,keep=0", "torch", "keep=0 of quantize is not for torch. Leave it out, or"),
        ("quantize:bfloat16,samples=64", "torch", "samples of quantize says nothing with bfloat16"),
        ("quantize:bfloat16", "onnxruntime", "no kernels for bfloat16 here. Use quantize:float16, or --backend torch."),
        ("quantize:int8,calibration=histogram", "onnxruntime", "Use calibration=percentile|entropy."),
        ("prune:0.5,tune=1+quantize:int8", "torch", "tune of prune is for ONNX models, and the backend torch loads"),
        ("prune:0.5,keep=0", "torch", "keep of prune is for ONNX models, and the backend torch loads safetensors, pt2"),
        ("cluster:4,keep=0", "torch", "keep of cluster is for ONNX models, and the backend torch loads"),
        ("fuse:batchnorm=folded", "onnxruntime", "onnxruntime, which has no option fold. Use fuse:level="),
        ("quantize", "onnxruntime", "quantize needs a type: quantize:int8."),
        ("quantize:granularity=tensor", "onnxruntime", "quantize needs a type"),
        ("quantize:int2", "onnxruntime", "type of quantize cannot be 'int2'. Allowed: int8, int4, float16"),
        ("quantize:int4", "onnxruntime", "Use quantize:int4,what=weights."),
        ("quantize:int8,group=16", "onnxruntime", "group of quantize belongs to what=weights"),
        ("quantize:int8,what=weights,granularity=channel", "onnxruntime", "granularity of quantize says nothing with"),
        (
            "quantize:int8,what=weights,scales=dynamic",
            "onnxruntime",
            "scales of quantize says nothing with what=weights",
        ),
        ("lowrank", "onnxruntime", "lowrank needs a share either of rank, as in lowrank:0.5, or"),
        ("lowrank:0.5,energy=0.9", "onnxruntime", "lowrank needs a share either of rank, as in lowrank:0.5, or"),
        ("lowrank:1.0", "onnxruntime", "rank of lowrank cannot be '1.0'"),
        ("lowrank:0.5", "torch", "lowrank makes an ONNX model, and the backend torch loads safetensors"),
        ("quantize:float16,granularity=tensor", "onnxruntime", "granularity of quantize says nothing with float16"),
        ("cluster", "onnxruntime", "cluster needs the bits of a code: cluster:4 or cluster:8."),
        ("cluster:2", "onnxruntime", "bits of cluster cannot be '2'. Allowed: 4, 8"),
        ("quantize:int8,scales=dynamic,calibration=minmax", "onnxruntime", "calibration of quantize says nothing with"),
        ("prune", "onnxruntime", "prune needs a sparsity, as in prune:sparsity=0.5"),
        ("prune:1.0", "onnxruntime", "sparsity of prune cannot be '1.0'"),
        ("prune:0.5,pattern=2:4", "onnxruntime", "leave out sparsity"),
        ("prune:0.5,samples=50000", "onnxruntime", "samples of prune says nothing without tune"),
        (
            "prune:0.5,keep=0,tune=1",
            "onnxruntime",
            "keep of prune leaves layers as they were, and tune trains them all",
        ),
        ("prune-channels", "onnxruntime", "prune-channels needs a share of the channels, as in prune-channels:0.3."),
        (
            "prune-channels:0.3,tune=0,samples=10000",
            "onnxruntime",
            "samples of prune-channels says nothing without tune",
        ),
        (
            "prune-channels:0.3,tune=4",
            "onnxruntime",
            "tune of prune-channels cannot be '4'. Allowed: 0, 1, 2, 3, 5, 10, 20",
        ),
        ("prune-channels:0.3", "torch", "prune-channels makes an ONNX model, and the backend torch loads safetensors"),
        ("quantize:int8,scales=dynamic,scale=power-of-two", "onnxruntime", "scale of quantize says nothing with"),
        ("quantize:int8,what=weights,scale=power-of-two", "onnxruntime", "scale of quantize says nothing with what"),
        ("quantize:int8,scales=dynamic,granularity=tensor", "onnxruntime", "granularity of quantize says nothing with"),
        (
            "quantize:int8+prune:0.5",
            "onnxruntime",
            "prune cannot follow quantize, whose model has no weights in plain float32",
        ),
        ("quantize:int8+fuse:level=all+quantize:int8", "onnxruntime", "put quantize last, and once"),
        ("emulate:bf16+quantize:int8", "onnxruntime", "quantize cannot follow emulate"),
        ("quantize:int8+emulate:bf16", "onnxruntime", "emulate cannot follow quantize"),
        ("emulate:what=weights", "onnxruntime", "emulate needs a format, as in emulate:fp8-e4m3. Allowed: bf16,"),
        ("emulate:fp8-e4m3,scale=power-of-two", "onnxruntime", "scale of emulate says nothing with fp8-e4m3"),
        ("emulate:int8,what=activations,granularity=tensor", "onnxruntime", "is that of weights"),
        ("emulate:fp8-e4m3", "torch", "the backend torch loads safetensors, pt2. Use --backend onnxruntime."),
    ],
)
def test_what_a_maker_cannot_do_is_refused_before_it_begins(recipe: str, backend: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        fold(recipe, backend)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("recipe", ["emulate:int8", "prune:0.5+emulate:int8+fuse:level=off"])
def test_a_variant_that_emulates_is_never_eligible(recipe: str) -> None:
    variant = fold(recipe, "onnxruntime")
    assert variant.recipe == recipe and not variant.eligible
    assert variant.not_eligible_because == recipes.EMULATED
    assert "no throughput of its own" in recipes.EMULATED
    # As it is without the step.
    assert fold("prune:0.5+fuse:level=off", "onnxruntime").eligible


def test_a_backend_that_loads_onnx_too_has_all_of_a_step() -> None:
    for recipe in ("prune:0.5,tune=1", "prune:0.5,keep=0", "cluster:4,keep=0"):
        recipes.check(recipe, plugins.describe("null"), {})


def test_a_recipe_begins_in_a_format_that_its_makers_take() -> None:
    both = replace(plugins.describe("null"), formats=("safetensors", "onnx"))
    assert recipes.formats("", both) == recipes.formats("fuse:level=all", both) == ("safetensors", "onnx")
    assert recipes.formats("prune-channels:0.5", both) == ("onnx",)
    # The maker's own order, where it takes both.
    assert recipes.formats("quantize:int8", both) == ("onnx", "safetensors")
    assert recipes.formats("quantize:int8", plugins.describe("torch")) == ("safetensors",)
    assert recipes.formats("prune:0.5+quantize:int8", both) == ("onnx", "safetensors")
    assert recipes.formats("lowrank:0.5+quantize:int8", both) == ("onnx",)


def test_every_optimization_says_what_it_takes() -> None:
    for name in plugins.names("suite.optimizations"):
        module = plugins.load("suite.optimizations", "optimization", name)
        assert module.MAIN in module.PARAMETERS
        # Of another its key would not know the version.
        assert set(getattr(module, "PACKAGES", ())) <= set(environment.PACKAGES)
        assert callable(module.make if hasattr(module, "make") else module.apply)


@pytest.mark.parametrize(
    ("recipe", "because"),
    [
        ("", []),
        ("quantize:int8+fuse:level=all", []),
        ("prune:0.5", ["it is pruned"]),
        ("prune-channels:0.3+prune:0.1,tune=1+quantize:int8", ["it is pruned", "it is trained again"]),
    ],
)
def test_a_recipe_says_what_the_closed_division_forbids(recipe: str, because: list[str]) -> None:
    assert recipes.open_because(recipe) == because
