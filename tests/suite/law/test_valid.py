from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from scenarios.harness import early_stopping, logs
from scenarios.harness.timeline import Timeline
from suite.law.base import Pair
from suite.law.valid import check
from tests.evidence_factory import LIMIT_MS, Case, assert_refused, case, with_values

pytestmark = pytest.mark.side_by_side

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
    timeline = case(scenario).performance.timeline
    assert timeline
    # Of the timeline, and not of LoadGen's own, which a machine that stalls before the first callback makes far less.
    within_ns = timeline.duration_ns if scenario == "offline" else timeline.last_issued_ns
    detail = assert_refused(changed(scenario, **{RATE[scenario]: 1.25 * timeline.issued / within_ns * 1e9}), "valid")
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
    late[-100:] += 1_200_000_000
    assert "the timeline holds at least 100" in check(_pair(with_timeline("server", batch_ns=late))).detail


def test_a_latency_above_the_limit_contradicts_no_late_query() -> None:
    slow = {f"result_{percentile}_percentile_latency_ns": 1_200_000_000 for percentile in ("99.00", "99.90")}
    detail = assert_refused(changed("server", **slow, result_max_latency_ns=1_200_000_000), "valid")
    assert "the limit 1000.000 ms" in detail and "contradict" in detail


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


LIMIT_NS = LIMIT_MS * 1_000_000


def told(case: Case) -> str:
    """Returns what the rule says of a case, whatever other rules say."""
    return check(_pair(case)).detail


def seen(scenario: str) -> Timeline:
    timeline = case(scenario).performance.timeline
    assert timeline
    return timeline


def with_rules(scenario: str, **numbers: int) -> Case:
    honest = case(scenario)
    changed = {**honest.rules.scenarios, scenario: replace(honest.rules.scenarios[scenario], **numbers)}
    return replace(honest, rules=replace(honest.rules, scenarios=changed))


def test_early_stopping_is_computed_again_and_is_more_than_the_percentile() -> None:
    queries = value("server", "result_query_count")
    over = next(late for late in range(queries) if not early_stopping.met(queries, late, 0.99))
    assert over <= 0.01 * queries, "the percentile alone would hold"
    assert "early stopping does not hold" in told(changed("server", result_overlatency_query_count=over))
    assert "early stopping" not in told(changed("server", result_overlatency_query_count=over - 1))


@pytest.mark.parametrize(("scenario", "enough"), [("single-stream", 64), ("multi-stream", 662)])
def test_a_stream_needs_queries_enough_for_its_estimate(scenario: str, enough: int) -> None:
    assert "too few for an estimate" in told(changed(scenario, result_query_count=enough - 1))
    assert "too few for an estimate" not in told(changed(scenario, result_query_count=enough))


def test_the_percentile_of_the_limit_must_be_there() -> None:
    gone = changed("server", **{"result_99.00_percentile_latency_ns": None})
    assert "the 99th percentile is missing" in assert_refused(gone, "valid")


def test_the_number_of_late_queries_agrees_with_the_latencies_to_the_query() -> None:
    queries = value("server", "result_query_count")
    late = queries - int(queries * 0.999)
    slow = {"result_99.90_percentile_latency_ns": LIMIT_NS + 1, "result_max_latency_ns": LIMIT_NS + 1}
    assert "contradict" not in told(changed("server", result_overlatency_query_count=late, **slow))
    assert "contradict" in told(changed("server", result_overlatency_query_count=late - 1, **slow))
    assert "contradict" in told(changed("server", result_max_latency_ns=LIMIT_NS + 1))


def test_a_single_late_query_that_the_timeline_holds_cannot_be_denied() -> None:
    ends = seen("server").batch_ns.copy()
    ends[-1] += 2 * LIMIT_NS
    assert "the timeline holds at least 1" in told(with_timeline("server", batch_ns=ends))


@pytest.mark.parametrize("values", [{"min": -1}, {"min": None}, {"max": None}])
def test_the_shortest_and_the_longest_latency_must_be_there(values: dict[str, Any]) -> None:
    changes = {f"result_{end}_latency_ns": number for end, number in values.items()}
    assert "do not ascend" in told(changed("server", **changes))


def test_the_longest_latency_is_bounded_and_none_may_be_missing() -> None:
    longest = int(seen("server").sample_latencies_ns[-1])
    assert "latency (max)" in told(changed("server", result_max_latency_ns=longest - 2_000))
    for key, name in (("result_mean_latency_ns", "mean"), ("early_stopping_latency_ss", "early-stopping estimate")):
        assert f"latency ({name}) is missing" in told(changed("single-stream", **{key: None}))


def test_a_query_of_several_samples_ends_with_its_last() -> None:
    """Half of each query's samples are completed half-way; LoadGen's figure is that of the whole query."""
    timeline = seen("multi-stream")
    middle = (timeline.callback_ns + timeline.batch_ns) // 2
    halves = {
        "batch_first": np.stack([timeline.batch_first, timeline.batch_first + 4], 1).ravel(),
        "batch_samples": np.full(2 * len(middle), 4, np.int64),
        "batch_ns": np.stack([middle, timeline.batch_ns], 1).ravel(),
    }
    split = with_timeline("multi-stream", **halves)
    assert split.verdict().counts
    half = int(timeline.query_latencies_ns[len(middle) // 2])
    lower = with_values(split.performance, **{"result_50.00_percentile_per_query_latency_ns": half - 2_000})
    assert "latency (50.0%)" in told(replace(split, performance=lower))


@pytest.mark.parametrize("rate", [0.0, -1.0, None])
def test_a_rate_is_above_zero(rate: float | None) -> None:
    assert f"LoadGen's throughput is {rate}" in told(changed("server", result_completed_samples_per_sec=rate))


def test_the_servers_rate_ends_with_the_query_that_was_issued_last() -> None:
    timeline = seen("server")
    most = (timeline.issued - 1) / (timeline.last_issued_ns / 1e9)
    for factor, refused in ((1 - 1e-4, False), (1 + 1e-4, True)):
        detail = told(changed("server", result_completed_samples_per_sec=most * factor))
        assert ("the timeline allows at most" in detail) is refused


def test_an_offline_rate_is_that_of_its_longest_latency_upwards_and_downwards() -> None:
    for factor in (0.7, 0.999):
        rate = value("offline", RATE["offline"]) * factor
        assert "in the longest latency" in assert_refused(changed("offline", result_samples_per_second=rate), "valid")


def test_an_offline_rate_is_the_timelines_to_five_digits() -> None:
    timeline = seen("offline")
    rate = 1.00002 * timeline.issued / (timeline.duration_ns / 1e9)
    edited = changed(
        "offline", result_samples_per_second=rate, result_max_latency_ns=round(timeline.issued / rate * 1e9)
    )
    assert "the timeline allows at most" in told(edited)


def test_queries_of_a_stream_are_of_one_size() -> None:
    samples = seen("multi-stream").callback_samples.copy()
    samples[:2] = (9, 7)
    assert "callbacks arrived" in told(with_timeline("multi-stream", callback_samples=samples))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_least_number_of_queries_is_enough_and_one_less_is_not(scenario: str) -> None:
    found = seen(scenario).issued if scenario == "offline" else value(scenario, "result_query_count")
    assert "were run" not in told(with_rules(scenario, min_query_count=found))
    assert f"{found} {'samples' if scenario == 'offline' else 'queries'} were run, not {found + 1}" in told(
        with_rules(scenario, min_query_count=found + 1)
    )


@pytest.mark.parametrize("scenario", ["server", "single-stream", "multi-stream"])
def test_half_the_duration_is_too_short(scenario: str) -> None:
    whole_ms = seen(scenario).duration_ns // 1_000_000
    assert "it ran" not in told(with_rules(scenario, min_duration_ms=whole_ms))
    assert "it ran" in told(with_rules(scenario, min_duration_ms=2 * whole_ms))


def window_moved(scenario: str, milliseconds: int) -> Case:
    """Returns a case whose LoadGen ended so much later by its own clock."""
    ended = datetime.strptime(value(scenario, "power_end"), logs.POWER_TIME) + timedelta(milliseconds=milliseconds)
    return changed(scenario, power_end=ended.strftime(logs.POWER_TIME)[:-3])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_loadgens_window_is_the_timelines_to_a_tenth_of_a_second_and_never_shorter(scenario: str) -> None:
    for milliseconds in (-150, 1000):
        assert "LoadGen's window is" in told(window_moved(scenario, milliseconds))


def test_loadgens_window_is_no_five_milliseconds_shorter_than_the_timeline() -> None:
    result = case("single-stream").performance.result
    assert result and result.window_ns
    spare_ms = (result.window_ns - seen("single-stream").duration_ns) // 1_000_000
    assert "LoadGen's window is" in told(window_moved("single-stream", -5 - spare_ms))


def test_the_longest_offline_latency_is_loadgens_window() -> None:
    longest = value("offline", "result_max_latency_ns") + 150_000_000
    rate = seen("offline").issued / (longest / 1e9)
    edited = changed("offline", result_max_latency_ns=longest, result_samples_per_second=rate)
    assert "and LoadGen's window" in told(edited)


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_streams_latencies_fill_its_run(scenario: str) -> None:
    """Shorter latencies in log and timeline alike would need a faster run, and that would have had more queries."""
    timeline = seen(scenario)
    shorter = timeline.callback_ns + (timeline.batch_ns - timeline.callback_ns) // 3
    shorter[-1] = timeline.batch_ns[-1]
    infix = "query_" * (scenario == "multi-stream")
    mean = value(scenario, f"result_mean_{infix}latency_ns") // 3
    edited = with_timeline(scenario, batch_ns=shorter)
    run = with_values(edited.performance, **{f"result_mean_{infix}latency_ns": mean})
    detail = told(replace(edited, performance=run))
    assert "LoadGen's latencies" in detail and "the timeline's latencies" in detail


def test_single_streams_rates_are_those_of_its_latencies() -> None:
    for kind in ("with", "without"):
        key = f"result_qps_{kind}_loadgen_overhead"
        detail = assert_refused(changed("single-stream", **{key: value("single-stream", key) * 1.3}), "valid")
        assert "rate with" in detail
        assert_refused(changed("single-stream", **{key: None}), "valid")
    assert "mean latency is missing" in told(changed("single-stream", result_mean_latency_ns=None))


def test_a_slow_last_query_is_no_fault() -> None:
    """LoadGen's rate with its own overhead ends where the last query is issued, not where it is answered."""
    timeline = case("single-stream").performance.timeline
    assert timeline
    latencies = timeline.batch_ns - timeline.callback_ns
    gaps = timeline.callback_ns[1:] - timeline.batch_ns[:-1]
    slowest_last = np.sort(latencies)
    callbacks = timeline.callback_ns[0] + np.concatenate([[0], np.cumsum(slowest_last[:-1] + gaps)])
    moved = with_timeline("single-stream", callback_ns=callbacks, batch_ns=callbacks + slowest_last)
    rate = (len(callbacks) - 1) / ((callbacks[-1] - callbacks[0]) / 1e9)
    assert rate > len(callbacks) / ((callbacks[-1] + slowest_last[-1] - callbacks[0]) / 1e9)
    slow = with_values(moved.performance, result_qps_with_loadgen_overhead=rate)
    assert replace(moved, performance=slow).verdict().counts
