from dataclasses import replace
from typing import Any

import pytest

from suite.evidence import Evidence
from suite.law.together import EQUAL
from tests.evidence_factory import Case, assert_refused, case, with_record, with_variant, without_record

pytestmark = pytest.mark.side_by_side


def accuracy(change: Any) -> Case:
    honest = case("offline")
    return replace(honest, accuracy=change(honest.accuracy))


def both(change: Any) -> Case:
    honest = case("offline")
    return replace(honest, performance=change(honest.performance), accuracy=change(honest.accuracy))


def also_refused(name: str) -> set[str]:
    """Other rules that the same change offends: each reads the field for itself."""
    own = {key: {"prepared"} for key in ("variant", "backend version", "sources", "machine")}
    return {"scenario": {"settings"}, "profile": {"settings"}, **own}.get(name, set())


@pytest.mark.parametrize("name", EQUAL)
def test_what_must_be_equal_must_be_equal(name: str) -> None:
    path = EQUAL[name]
    detail = assert_refused(accuracy(lambda run: with_record(run, "another", *path)), "together", *also_refused(name))
    assert f"{name} differs" in detail


@pytest.mark.parametrize("name", EQUAL)
def test_what_is_missing_in_both_runs_is_not_equal(name: str) -> None:
    case_without = both(lambda run: without_record(run, *EQUAL[name]))
    assert "together" in case_without.failed()
    detail = next(check.detail for check in case_without.verdict().checks if check.name == "together")
    assert f"{name} is missing" in detail


@pytest.mark.parametrize("key", ["cpu_model", "cores", "memory_bytes", "kernel", "device", "packages"])
def test_two_machines_are_told_apart_by_each_trait(key: str) -> None:
    detail = assert_refused(accuracy(lambda run: with_record(run, "other", "fingerprint", key)), "together", "prepared")
    assert f"machine differs ({key}:" in detail


def test_eager_and_compiled_are_two_variants() -> None:
    compiled = {"compile": "compiled"}
    detail = assert_refused(accuracy(lambda run: with_variant(run, options=compiled)), "together")
    assert "variant differs" in detail and "options differs (compile: eager and compiled)" in detail


def test_an_artifact_swapped_in_both_runs_is_not_that_of_the_id() -> None:
    swapped = both(lambda run: with_record(run, "b" * 64, "variant", "model", "sha256"))
    assert "was altered" in assert_refused(swapped, "together")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("workload", "name"), "other-net"),
        (("workload", "dataset_sha256"), "f" * 64),
        (("workload", "preprocessing"), "upside down"),
    ],
)
def test_what_the_runs_agree_on_must_be_the_sources(path: tuple[str, ...], value: str) -> None:
    assert "the source's is" in assert_refused(both(lambda run: with_record(run, value, *path)), "together")


def test_runs_in_each_others_place_are_refused() -> None:
    honest = case("offline")
    swapped = replace(honest, performance=honest.accuracy, accuracy=honest.performance)
    assert "together" in swapped.failed()
    same = replace(honest, accuracy=honest.performance)
    assert {"together", "settings", "complete"} <= same.failed()


def test_two_scenarios_are_no_pair() -> None:
    mixed = replace(case("offline"), accuracy=case("server").accuracy)
    assert "scenario differs (offline and server)" in assert_refused(mixed, "together")


def test_two_versions_of_loadgen_are_no_pair() -> None:
    def other(run: Evidence) -> Evidence:
        assert run.result
        return replace(run, result=replace(run.result, values={**run.result.values, "loadgen_version": "5.1"}))

    assert "LoadGen's version differs" in assert_refused(accuracy(other), "together")


@pytest.mark.parametrize("value", [None, [], "text", 7, {"id": ["x"]}])
def test_a_variant_that_is_no_record_is_refused(value: object) -> None:
    assert "together" in both(lambda run: with_record(run, value, "variant")).failed()


@pytest.mark.parametrize("path", [("attempt",), ("started_at",), ("hint",), ("accuracy_log_rng_seed",), ("asked",)])
def test_what_may_differ_may_differ(path: tuple[str, ...]) -> None:
    assert accuracy(lambda run: with_record(run, 12345, *path)).verdict().counts


def test_all_that_makes_two_runs_one_system_must_be_equal() -> None:
    assert set(EQUAL) == {
        *("workload", "dataset", "preprocessing", "variant", "model", "options", "backend", "backend version"),
        *("device", "scenario", "serving", "sources", "machine", "profile"),
    }


@pytest.mark.parametrize(("name", "other"), [("backend", "torch"), ("workload", "other-net")])
def test_a_variant_is_of_the_backend_and_the_workload_that_the_record_names(name: str, other: str) -> None:
    renamed = both(lambda run: with_variant(run, **{name: other}))
    detail = next(one.detail for one in renamed.verdict().checks if one.name == "together")
    assert f"the variant's {name} is {other}, not" in detail
