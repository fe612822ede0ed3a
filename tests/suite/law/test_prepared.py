from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from reference_models.base import Model
from suite.evidence import Evidence
from suite.export import TOLERANCE
from suite.law.prepared import EQUAL
from tests.evidence_factory import (
    FINGERPRINT,
    VARIANT,
    Case,
    assert_refused,
    case,
    with_environment,
    with_preparation,
    with_record,
    with_variant,
)

pytestmark = pytest.mark.side_by_side

MODES = ("performance", "accuracy")


def one(mode: str, change: Callable[[Evidence], Evidence]) -> Case:
    honest = case("offline")
    return replace(honest, **{mode: change(getattr(honest, mode))})


def both(change: Callable[[Evidence], Evidence]) -> Case:
    honest = case("offline")
    return replace(honest, performance=change(honest.performance), accuracy=change(honest.accuracy))


def compared(**changes: Any) -> Case:
    """Returns a case in which both preparations say something else of the export."""
    found = {**case("offline").performance.preparation["artifact_check"], **changes}
    return both(lambda run: with_preparation(run, found, "artifact_check"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("value", ["another", None])
def test_a_preparation_of_something_else_is_refused(mode: str, name: str, value: object) -> None:
    detail = assert_refused(one(mode, lambda run: with_preparation(run, value, *EQUAL[name][0])), "prepared")
    assert f"{mode} run: its preparation {'is of another' if value else 'names no'} {name}" in detail


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", FINGERPRINT)
def test_an_environment_of_another_machine_is_refused(mode: str, key: str) -> None:
    detail = assert_refused(one(mode, lambda run: with_environment(run, "other", "fingerprint", key)), "prepared")
    assert f"{mode} run: its environment is of another machine" in detail


def test_a_record_of_another_machine_in_both_runs_is_not_that_of_their_environment() -> None:
    assert_refused(both(lambda run: with_record(run, "Another CPU", "fingerprint", "cpu_model")), "prepared")


@pytest.mark.parametrize("packages", [{"onnxruntime": "1.31.0"}, {"onnxruntime-gpu": "1.31.0"}])
def test_a_backend_that_was_not_installed_is_refused(packages: dict[str, str]) -> None:
    detail = assert_refused(both(lambda run: installed(run, packages)), "prepared")
    assert "its backend is onnxruntime 1.32.0, and onnxruntime 1.31.0 was installed" in detail


@pytest.mark.parametrize("packages", [{}, {"onnxruntime-gpu": "1.32.0"}, {"torch": "2.0.0", "onnxruntime": "1.32.0"}])
def test_a_backend_may_come_from_the_package_for_gpus_or_from_none(packages: dict[str, str]) -> None:
    assert both(lambda run: installed(run, packages)).verdict().counts


def installed(run: Evidence, packages: dict[str, str]) -> Evidence:
    fingerprint = {**FINGERPRINT, "packages": packages}
    changed = with_record(run, fingerprint, "fingerprint")
    return with_preparation(with_environment(changed, fingerprint, "fingerprint"), fingerprint, "fingerprint")


@pytest.mark.parametrize("value", [None, {}, [], "ok"])
def test_an_export_that_was_not_compared_is_refused(value: object) -> None:
    for mode in MODES:
        detail = assert_refused(one(mode, lambda run: with_preparation(run, value, "artifact_check")), "prepared")
        assert f"{mode} run: its preparation does not hold the export's comparison" in detail


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 511},
        {"samples": None},
        {"samples": True},
        {"max_abs_difference": None},
        {"max_abs_difference": float("nan")},
        {"max_abs_difference": "0.0"},
        {"max_abs_difference": -1.0},
        {"changed_answers": None},
        {"changed_answers": -1},
        {"changed_answers": 0.0},
        {"changed_answers": 2},
    ],
)
def test_a_comparison_that_says_nothing_or_the_wrong_is_refused(changes: dict[str, Any]) -> None:
    assert_refused(compared(**changes), "prepared")


def test_the_tolerance_is_our_own() -> None:
    assert compared(max_abs_difference=TOLERANCE, tolerance=0.0).verdict().counts
    detail = assert_refused(compared(max_abs_difference=2 * TOLERANCE, tolerance=1.0), "prepared")
    assert "differs from the reference by up to 0.002, allowed 0.001" in detail


RECIPE = "prune:0.5+quantize:int8+fuse:level=all"
STEPS = ("prune:0.5", "quantize:int8, by 256 training samples")
TRAINED = replace(VARIANT.model, format="safetensors", chain=VARIANT.model.chain[:1])


def made(*steps: str, base: Model = VARIANT.model) -> Model:
    return replace(base, chain=(*base.chain, *steps))


def optimized(run: Evidence, recipe: str, *steps: str) -> Evidence:
    """Returns evidence of a variant that these steps made, and that was seen to multiply in integers."""
    run = with_preparation(run, {"uint8 x int8 on CPU": 1}, "arithmetic")
    return with_variant(run, recipe=recipe, model=made(*steps))


def test_the_reference_itself_is_compared_with_nothing() -> None:
    def other(run: Evidence) -> Evidence:
        return with_preparation(with_variant(run, model=TRAINED), None, "artifact_check")

    assert both(other).verdict().counts


@pytest.mark.parametrize(("recipe", "steps"), [("fuse:level=all", ()), (RECIPE, STEPS)])
def test_an_export_is_compared_whatever_the_recipe(recipe: str, steps: tuple[str, ...]) -> None:
    assert both(lambda run: optimized(run, recipe, *steps)).verdict().counts
    without = both(lambda run: with_preparation(optimized(run, recipe, *steps), None, "artifact_check"))
    assert "the export's comparison" in assert_refused(without, "prepared")


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        (RECIPE, ()),
        (RECIPE, STEPS[:1]),
        (RECIPE, STEPS[::-1]),
        (RECIPE, (*STEPS, "another")),
        (RECIPE, ("prune:0.1", STEPS[1])),
        ("", STEPS),
    ],
)
def test_a_model_that_was_made_otherwise_than_its_recipe_says_is_refused(recipe: str, steps: tuple[str, ...]) -> None:
    case = both(lambda run: optimized(run, recipe, *steps))
    assert "and its recipe says" in assert_refused(case, "prepared")


def test_a_model_of_no_export_is_refused() -> None:
    foreign = replace(VARIANT.model, chain=(VARIANT.model.chain[0], "found somewhere"))
    detail = assert_refused(both(lambda run: with_variant(run, model=foreign)), "prepared")
    assert "made of 'found somewhere', and not of an export" in detail


def test_these_belong_to_their_run() -> None:
    assert set(EQUAL) == {"variant", "backend version", "sources", "machine"}


def test_one_changed_answer_is_within_the_tolerance_and_two_are_not() -> None:
    assert compared(changed_answers=1).verdict().counts
    assert "2 of 512 samples otherwise" in assert_refused(compared(changed_answers=2), "prepared")


def test_a_machine_that_nobody_names_is_none() -> None:
    def nameless(run: Evidence) -> Evidence:
        changed = with_environment(with_record(run, None, "fingerprint"), None, "fingerprint")
        return with_preparation(changed, None, "fingerprint")

    detail = next(one.detail for one in both(nameless).verdict().checks if one.name == "prepared")
    assert "its environment names no machine" in detail and "its preparation names no machine" in detail
