from dataclasses import replace
from typing import Any

import pytest

from tests.evidence_factory import Case, assert_refused, case, with_record, with_values

pytestmark = pytest.mark.side_by_side

SCENARIOS = ("offline", "server", "single-stream", "multi-stream")


def performance(scenario: str, **values: Any) -> Case:
    honest = case(scenario)
    return replace(honest, performance=with_values(honest.performance, **values))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("effective_qsl_rng_seed", 12),
        ("effective_sample_index_rng_seed", 0),
        ("effective_schedule_rng_seed", "13"),
        ("effective_min_duration_ms", 4),
        ("effective_min_duration_ms", -300),
        ("effective_min_duration_ms", "600000"),
        ("effective_min_duration_ms", 1e9),
        ("effective_min_sample_count", 1),
        ("effective_performance_sample_count", 1),
        ("effective_performance_sample_count", 2001),
        ("effective_accuracy_sample_count", 1999),
        ("qsl_reported_total_count", 100_000),
        ("effective_performance_issue_same", True),
        ("effective_performance_issue_same", 0),
        ("effective_performance_issue_unique", True),
        ("effective_performance_issue_same_index", 3),
        ("effective_sample_concatenate_permutation", True),
        ("effective_print_timestamps", True),
        ("effective_max_duration_ms", 1000),
        ("effective_max_query_count", 10),
        ("effective_max_query_count", False),
        ("effective_max_async_queries", 7),
        ("effective_target_latency_ns", 5_000_000_000),
        ("effective_target_qps", 0),
        ("effective_target_qps", float("nan")),
        ("effective_test_mode", "SubmissionRun"),
        ("effective_accuracy_log_sampling_target", 0),
        ("effective_accuracy_log_rng_seed", 7),
        ("effective_use_token_latencies", True),
        ("effective_qsl_rng_seed", None),
        ("effective_max_duration_ms", None),
        ("effective_performance_issue_same", None),
    ],
)
def test_a_loosened_setting_is_named(scenario: str, key: str, value: Any) -> None:
    assert key in assert_refused(performance(scenario, **{key: value}), "settings")


@pytest.mark.parametrize("scenario", ["server", "single-stream", "multi-stream"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("effective_min_query_count", 100),
        ("effective_samples_per_query", 2),
        ("effective_target_latency_percentile", 0.5),
        ("effective_target_latency_percentile", None),
        ("effective_target_duration_ms", 0),
        ("generated_query_count", 499),
        ("generated_query_duration", 299_000_000),
    ],
)
def test_a_loosened_setting_of_a_stream_of_queries_is_named(scenario: str, key: str, value: Any) -> None:
    assert key in assert_refused(performance(scenario, **{key: value}), "settings")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("effective_samples_per_query", 100),
        ("effective_min_query_count", 2),
        ("generated_query_count", 2),
    ],
)
def test_offline_is_one_query_of_enough_samples(key: str, value: Any) -> None:
    assert key in assert_refused(performance("offline", **{key: value}), "settings")


def test_threads_that_issue_are_the_suites_to_set() -> None:
    assert_refused(performance("server", requested_server_num_issue_query_threads=2), "settings")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_stricter_than_the_rules_is_allowed_but_for_what_is_exact(scenario: str) -> None:
    assert performance(scenario, effective_min_duration_ms=10_000).verdict().counts


def test_an_audit_file_is_named() -> None:
    honest = case("offline")
    result = honest.performance.result
    assert result
    warned = replace(result, warnings=("Found Audit Config file (audit.config). Overriding TestSettings",))
    detail = assert_refused(replace(honest, performance=replace(honest.performance, result=warned)), "settings")
    assert "audit file" in detail


@pytest.mark.parametrize("sets", [(), (1,), (1000, 1000)])
def test_the_samples_must_really_have_been_loaded(sets: tuple[int, ...]) -> None:
    honest = case("offline")
    result = honest.performance.result
    assert result
    loaded = replace(honest.performance, result=replace(result, loaded_sets=sets))
    assert "loaded_qsl_set" in assert_refused(replace(honest, performance=loaded), "settings")


def test_the_accuracy_runs_seeds_are_judged_too_and_its_durations_are_not() -> None:
    honest = case("server")
    loose = replace(honest, accuracy=with_values(honest.accuracy, effective_min_duration_ms=1))
    assert loose.verdict().counts
    seeded = replace(honest, accuracy=with_values(honest.accuracy, effective_qsl_rng_seed=12))
    assert "accuracy run" in assert_refused(seeded, "settings")


def test_a_run_is_judged_by_its_own_profile_alone() -> None:
    honest = case("offline")
    claimed = replace(
        honest,
        performance=with_record(honest.performance, "official", "profile"),
        accuracy=with_record(honest.accuracy, "official", "profile"),
    )
    assert "profile 'official'" in assert_refused(claimed, "settings")


def test_a_scenario_without_rules_is_not_judged_by_others() -> None:
    honest = case("offline")
    renamed = replace(
        honest,
        performance=with_record(honest.performance, "interactive", "scenario"),
        accuracy=with_record(honest.accuracy, "interactive", "scenario"),
    )
    assert {"settings", "valid"} <= renamed.failed()


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_the_record_says_that_loadgen_was_given_must_stand_in_its_log(scenario: str, mode: str) -> None:
    honest = case(scenario)
    run = getattr(honest, mode)
    for name, value in run.get("settings").items():
        other = "Other" if isinstance(value, str) else value * 1.01 + 1
        detail = assert_refused(replace(honest, **{mode: with_record(run, other, "settings", name)}), "settings")
        assert f"{mode} run: {name} was {other!r} by the record, LoadGen logged" in detail


def test_a_fraction_may_lose_the_digits_that_loadgen_does_not_write() -> None:
    honest = case("offline")
    given = with_record(honest.performance, 4_000_001.5, "settings", "offline_expected_qps")
    assert replace(honest, performance=given).verdict().counts


@pytest.mark.parametrize(("given", "right"), [(1_112_974, True), (1_112_900, False)])
def test_a_whole_number_that_loadgen_writes_as_a_fraction_may_lose_as_many(given: int, right: bool) -> None:
    honest = case("single-stream")
    logged = with_values(honest.performance, requested_single_stream_expected_latency_ns=1_112_970.0)
    run = with_record(logged, given, "settings", "single_stream_expected_latency_ns")
    assert replace(honest, performance=run).verdict().counts is right


def test_a_setting_that_loadgen_does_not_know_was_not_given() -> None:
    honest = case("offline")
    given = {**honest.performance.get("settings"), "offline_luck": 7}
    assert_refused(replace(honest, performance=with_record(honest.performance, given, "settings")), "settings")


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_what_the_record_says_that_loadgen_used_must_stand_in_its_log(mode: str) -> None:
    honest = case("offline")
    run = getattr(honest, mode)
    echoed = run.get("echoed")
    for name in echoed:
        for other in ({**echoed, name: "Other"}, {key: echoed[key] for key in echoed if key != name}):
            changed = replace(honest, **{mode: with_record(run, other, "echoed")})
            assert f"{mode} run: effective_{name} was" in assert_refused(changed, "settings")
    more = with_record(run, {**echoed, "luck": 7}, "echoed")
    assert_refused(replace(honest, **{mode: more}), "settings")


@pytest.mark.parametrize("part", ["settings", "echoed"])
@pytest.mark.parametrize("value", [None, {}, [], "all"])
def test_a_record_that_does_not_tell_the_settings_is_refused(part: str, value: object) -> None:
    honest = case("offline")
    run = with_record(honest.accuracy, value, part)
    assert "its record does not say which settings" in assert_refused(replace(honest, accuracy=run), "settings")


@pytest.mark.parametrize(
    ("scenario", "key", "value"),
    [
        ("offline", "generated_samples_per_query", 1023),
        ("server", "generated_samples_per_query", 2),
        ("multi-stream", "generated_samples_per_query", 1),
        ("server", "requested_server_max_async_queries", 4),
        ("multi-stream", "effective_min_sample_count", 700),
        ("offline", "effective_scenario", "Server"),
    ],
)
def test_what_a_scenario_demands_of_its_own(scenario: str, key: str, value: Any) -> None:
    detail = next(
        one.detail for one in performance(scenario, **{key: value}).verdict().checks if one.name == "settings"
    )
    assert f"{key} is {value!r}" in detail


def test_loadgen_writes_six_digits_and_no_fewer() -> None:
    honest = case("offline")
    for factor, right in ((1 + 4e-6, True), (1 + 2e-5, False)):
        given = with_record(honest.performance, 4e6 * factor, "settings", "offline_expected_qps")
        assert replace(honest, performance=given).verdict().counts is right
