from dataclasses import replace

import pytest

from suite import recipes
from suite.evidence import Evidence
from suite.verdict import judge_single
from tests.evidence_factory import VARIANT, assert_refused, case, with_preparation, with_record, with_variant

pytestmark = pytest.mark.side_by_side


def test_what_is_said_not_to_be_eligible_does_not_count() -> None:
    honest = case("offline")
    emulated = {"eligible": False, "not_eligible_because": "int4 is emulated in float"}
    assert "emulated" in assert_refused(
        replace(
            honest,
            performance=with_variant(honest.performance, **emulated),
            accuracy=with_variant(honest.accuracy, **emulated),
        ),
        "eligible",
    )


@pytest.mark.parametrize("value", [False, None, "true", 1])
def test_only_true_is_eligible(value: object) -> None:
    honest = case("offline")
    assert_refused(replace(honest, accuracy=with_record(honest.accuracy, value, "variant", "eligible")), "eligible")


def test_a_reason_against_it_holds_whatever_else_is_said() -> None:
    honest = case("offline")
    reasoned = with_record(honest.performance, "simulated", "variant", "not_eligible_because")
    assert_refused(replace(honest, performance=reasoned), "eligible")


@pytest.mark.parametrize("backend", ["null", "simulated"])
def test_a_backend_without_a_model_never_counts_whatever_the_record_says(backend: str) -> None:
    honest = case("offline")
    runs = [
        with_record(with_variant(run, backend=backend), backend, "backend", "name")
        for run in (honest.performance, honest.accuracy)
    ]
    assert backend in assert_refused(replace(honest, performance=runs[0], accuracy=runs[1]), "eligible")


def test_the_backends_own_name_is_enough() -> None:
    honest = case("offline")
    null = with_record(honest.performance, "null", "backend", "name")
    assert "eligible" in replace(honest, performance=null).failed()


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ({"uint8 x int8 on CPU": 5}, True),
        ({"uint8 x int8 on CPU": 1, "float32 on CPU": 99}, True),
        ({"float32 on CPU": 5}, False),
        ({"float32 on CPU": 1, "float16 on CUDA": 9}, True),
        ({"float32 on CPU": 99, "float32 x int4 on CPU": 1}, True),
        # Nobody can tell.
        (None, False),
        ({}, False),
    ],
)
def test_a_quantized_model_that_multiplied_in_float32_alone_is_emulated(found: object, counts: bool) -> None:
    model = replace(VARIANT.model, chain=(*VARIANT.model.chain, "quantize:int8, by 256 training samples"))

    def quantized(run: Evidence) -> Evidence:
        return with_preparation(with_variant(run, recipe="quantize:int8", model=model), found, "arithmetic")

    honest = case("offline")
    made = replace(honest, performance=quantized(honest.performance), accuracy=quantized(honest.accuracy))
    if counts:
        assert made.verdict().counts
    else:
        assert "nothing shows that it multiplied in anything but float32" in assert_refused(made, "eligible")


def emulated(run: Evidence, **said: object) -> Evidence:
    """Returns evidence of a variant whose recipe emulates, and what its record says of that."""
    model = replace(VARIANT.model, chain=(*VARIANT.model.chain, "emulate:int8, by 256 training samples"))
    made = with_variant(run, recipe="emulate:int8", model=model, **said)
    return with_preparation(made, {"float32 on CPU": 5}, "arithmetic")


@pytest.mark.parametrize(
    "said",
    [
        {"eligible": False, "not_eligible_because": recipes.EMULATED},
        # Whatever somebody makes of the record.
        {"eligible": True, "not_eligible_because": None},
        {"eligible": True, "not_eligible_because": "nothing"},
    ],
)
def test_a_recipe_that_emulates_never_counts(said: dict[str, object]) -> None:
    honest = case("offline")
    runs = [emulated(run, **said) for run in (honest.performance, honest.accuracy)]
    detail = assert_refused(replace(honest, performance=runs[0], accuracy=runs[1]), "eligible")
    assert detail.count("no throughput of its own") == 2


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_one_run_that_emulates_is_told_so(mode: str) -> None:
    honest = case("offline")
    run = emulated(getattr(honest, mode), eligible=True, not_eligible_because=None)
    closing = judge_single(run, honest.rules, honest.facts).closing
    assert closing == f"can never count: {recipes.EMULATED}"
