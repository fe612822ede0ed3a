from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scenarios.harness import logs
from suite.law.base import Pair
from suite.law.valid import check
from tests.evidence_factory import Case, assert_refused, case, with_values

SCENARIOS = ("offline", "server", "single-stream", "multi-stream")
RATE = {"offline": "result_samples_per_second", "server": "result_completed_samples_per_sec"}


def changed(scenario: str, **values: Any) -> Case:
    honest = case(scenario)
    return replace(honest, performance=with_values(honest.performance, **values))


def value(scenario: str, key: str) -> Any:
    result = case(scenario).performance.result
    assert result
    return result.values[key]


def with_timeline(scenario: str, **arrays: Any) -> Case:
    honest = case(scenario)
    assert honest.performance.timeline
    timeline = replace(honest.performance.timeline, **arrays)
    return replace(honest, performance=replace(honest.performance, timeline=timeline))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("validity", ["INVALID", "", None, True])
def test_loadgen_must_call_it_valid_in_both_its_logs(scenario: str, validity: Any) -> None:
    codes = ("valid", "finished") if validity is None else ("valid",)
    assert_refused(changed(scenario, result_validity=validity), *codes)
    honest = case(scenario)
    assert honest.performance.result
    summary = replace(honest.performance.result, summary_validity="INVALID")
    contradicting = replace(honest, performance=replace(honest.performance, result=summary))
    assert "summary" in assert_refused(contradicting, "valid")


@pytest.mark.parametrize("key", ["result_min_duration_met", "result_min_queries_met", "early_stopping_met"])
@pytest.mark.parametrize("said", [False, None, 1, "true"])
def test_each_of_loadgens_judgements_must_hold(key: str, said: Any) -> None:
    assert key in assert_refused(changed("server", **{key: said}), "valid")


def test_the_servers_limit_must_be_held_by_loadgens_word() -> None:
    assert_refused(changed("server", result_perf_constraints_met=False), "valid")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_timeline_no_validity(scenario: str) -> None:
    honest = case(scenario)
    gone = replace(honest, performance=replace(honest.performance, timeline=None))
    assert {"valid", "drain"} <= gone.failed()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_impossible_timeline_is_refused(scenario: str) -> None:
    assert case(scenario).performance.timeline is not None
    ends = case(scenario).performance.timeline.batch_ns.copy()  # type: ignore[union-attr]
    ends[-1] = 0
    assert "before it arrived" in assert_refused(with_timeline(scenario, batch_ns=ends), *unknown_figure(scenario))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_loadgens_percentiles_are_never_below_the_timelines(scenario: str) -> None:
    """Each is lowered to just below what the timeline says, the others stay; a clock is read to a microsecond."""
    run = case(scenario).performance
    assert run.timeline
    multi = scenario == "multi-stream"
    ours = run.timeline.query_latencies_ns if multi else run.timeline.sample_latencies_ns
    for percentile in ("50.00", "90.00", "97.00", "99.00", "99.90"):
        key = f"result_{percentile}_percentile_{'per_query_' * multi}latency_ns"
        bound = int(ours[int(len(ours) * float(percentile) / 100)])
        detail = assert_refused(changed(scenario, **{key: bound - 2_000}), "valid")
        assert f"latency ({float(percentile):.1f}%)" in detail


def test_all_latencies_scaled_alike_are_below_the_timeline_still() -> None:
    result = case("single-stream").performance.result
    assert result
    scaled = {
        key: int(number * 0.9) for key, number in result.values.items() if key.endswith(("latency_ns", "latency_ss"))
        and key.startswith(("result_", "early_"))
    }  # fmt: skip
    detail = assert_refused(changed("single-stream", **scaled), "valid")
    assert "early-stopping estimate" in detail and "mean" in detail


@pytest.mark.parametrize(
    ("scenario", "key"), [("single-stream", "early_stopping_latency_ss"), ("multi-stream", "early_stopping_latency_ms")]
)
def test_the_estimate_that_is_the_headline_is_bounded(scenario: str, key: str) -> None:
    assert "estimate" in assert_refused(changed(scenario, **{key: value(scenario, key) // 2}), "valid")


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_a_throughput_above_the_timelines_is_refused(scenario: str) -> None:
    rate = RATE[scenario]
    detail = assert_refused(changed(scenario, **{rate: value(scenario, rate) * 1.25}), "valid")
    assert "the timeline allows at most" in detail


def test_a_throughput_and_its_latency_edited_alike_are_refused_by_the_timeline() -> None:
    rate, longest = value("offline", RATE["offline"]), value("offline", "result_max_latency_ns")
    edited = changed("offline", result_samples_per_second=rate * 1.5, result_max_latency_ns=int(longest / 1.5))
    assert_refused(edited, "valid")


def test_a_timeline_squeezed_with_the_log_no_longer_fits_loadgens_window() -> None:
    """The window is LoadGen's wall clock from start to last completion, cut to a millisecond."""
    honest = case("single-stream")
    timeline = honest.performance.timeline
    assert timeline
    begin = timeline.callback_ns[0]
    squeezed = {name: begin + (getattr(timeline, name) - begin) // 2 for name in ("callback_ns", "batch_ns")}
    assert "window" in check(_pair(with_timeline("single-stream", **squeezed))).detail


@pytest.mark.parametrize("scenario", ["server", "single-stream", "multi-stream"])
def test_a_run_shorter_than_the_rules_is_refused_whatever_loadgen_says(scenario: str) -> None:
    honest = case(scenario)
    name = {**honest.rules.scenarios, scenario: replace(honest.rules.scenarios[scenario], min_duration_ms=5_000)}
    longer = replace(honest, rules=replace(honest.rules, scenarios=name))
    detail = check(_pair(longer)).detail
    assert "it ran 0." in detail and "not 5 s" in detail


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fewer_queries_than_the_rules_want_are_refused_whatever_loadgen_says(scenario: str) -> None:
    honest = case(scenario)
    more = {**honest.rules.scenarios, scenario: replace(honest.rules.scenarios[scenario], min_query_count=10**6)}
    assert "were run, not 1000000" in check(_pair(replace(honest, rules=replace(honest.rules, scenarios=more)))).detail


def test_more_late_queries_than_early_stopping_allows_are_refused() -> None:
    over = changed("server", result_overlatency_query_count=300)
    assert "early stopping does not hold" in assert_refused(over, "valid")


@pytest.mark.parametrize("over", [None, -1, "0", 10**9, True])
def test_a_count_of_late_queries_that_is_none_is_refused(over: Any) -> None:
    assert "result_overlatency_query_count" in assert_refused(
        changed("server", result_overlatency_query_count=over), "valid"
    )


def test_late_queries_that_the_timeline_holds_cannot_be_denied() -> None:
    honest = case("server")
    timeline = honest.performance.timeline
    assert timeline
    late = timeline.batch_ns.copy()
    late[-100:] += 60_000_000
    assert "the timeline holds at least 100" in check(_pair(with_timeline("server", batch_ns=late))).detail


def test_a_latency_above_the_limit_contradicts_no_late_query() -> None:
    slow = {f"result_{percentile}_percentile_latency_ns": 60_000_000 for percentile in ("99.00", "99.90")}
    detail = assert_refused(changed("server", **slow, result_max_latency_ns=60_000_000), "valid")
    assert "limit 50.000 ms" in detail and "contradict" in detail


@pytest.mark.parametrize("key", ["result_99.90_percentile_latency_ns", "result_min_latency_ns"])
def test_latencies_ascend(key: str) -> None:
    wrong = 0 if "99" in key else 10**12
    assert "do not ascend" in assert_refused(changed("offline", **{key: wrong}), "valid")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_loadgens_queries_are_those_that_arrived(scenario: str) -> None:
    count = value(scenario, "result_query_count")
    detail = assert_refused(changed(scenario, result_query_count=count + 1), "finished", "valid")
    assert str(count + 1) in detail or "samples differ" in detail


def test_queries_of_a_stream_come_one_by_one() -> None:
    honest = case("single-stream")
    timeline = honest.performance.timeline
    assert timeline
    joined = with_timeline(
        "single-stream",
        callback_ns=np.delete(timeline.callback_ns, 1),
        callback_samples=np.concatenate(([2], timeline.callback_samples[2:])).astype(np.int64),
    )
    assert "callbacks arrived" in check(_pair(joined)).detail


@pytest.mark.parametrize("key", ["power_begin", "power_end"])
@pytest.mark.parametrize("time", ["yesterday", 5, "13-40-2026 00:00:00.000"])
def test_a_window_that_is_no_time_is_refused(key: str, time: Any) -> None:
    assert "is no time" in assert_refused(changed("offline", **{key: time}), "valid")


def test_what_is_wrong_with_the_headline_is_wrong_with_the_run() -> None:
    gone = changed("offline", result_samples_per_second=None)
    assert_refused(gone, *unknown_figure("offline"))
    with pytest.raises(logs.LogError):
        logs.headline(gone.performance.result)  # type: ignore[arg-type]


def unknown_figure(scenario: str) -> tuple[str, ...]:
    """Returns the rules that refuse a run without a figure: Offline's is held against unseen inputs too."""
    return "valid", "drain", *(("not-from-memory",) if scenario == "offline" else ())


def _pair(case: Case) -> Pair:
    return Pair(case.performance, case.accuracy, case.rules, case.facts)
