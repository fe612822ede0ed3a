from dataclasses import replace
from pathlib import Path

import pytest

from suite.explain import explain
from tests.evidence_factory import HINTS, case, invalid, with_record, with_values


@pytest.mark.parametrize("scenario", ["offline", "server", "single-stream", "multi-stream"])
def test_a_valid_run_needs_no_explanation(scenario: str) -> None:
    assert explain(case(scenario).performance) == ()


def test_a_run_that_was_told_too_small_a_load_is_told_a_higher_one(tmp_path: Path) -> None:
    run = invalid(tmp_path, "offline", offline_expected_qps=1000.0, min_duration_ms=1000)
    (explained,) = explain(run)
    assert explained.rule == "minimum duration" and '"result_min_duration_met"' in explained.line
    assert run.result and explained.retry == pytest.approx(1.2 * run.result.values["result_samples_per_second"])
    assert f"give a higher --target-qps, about {explained.retry:.4g}." in explained.advice


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_stream_that_ran_out_of_queries_is_told_a_lower_latency(tmp_path: Path, scenario: str) -> None:
    name = f"{scenario.replace('-', '_')}_expected_latency_ns"
    # A second, so that no stall of the machine makes up for the queries that are missing.
    run = invalid(tmp_path, scenario, min_duration_ms=1000, **{name: 20_000_000})
    (explained,) = explain(run)
    assert run.result and explained.retry == 0.75 * run.result.percentiles_ns[0.5]
    told = f"give a lower --expected-latency-ms, about {explained.retry / 1e6:.4g}."
    assert explained.rule == "minimum duration" and told in explained.advice
    again = tmp_path / "again"
    again.mkdir()
    assert explain(invalid(again, scenario, min_duration_ms=1000, **{name: round(explained.retry)})) == ()


def test_a_server_past_its_limit_is_told_less_load(tmp_path: Path) -> None:
    run = invalid(tmp_path, "server", server_target_qps=20 * HINTS["server"])
    (explained,) = explain(run)
    assert explained.rule == "latency limit" and '"result_perf_constraints_met"' in explained.line
    # Its latency is far beyond the limit, so a queue was growing.
    assert run.result
    assert explained.retry == pytest.approx(0.5 * run.result.values["result_completed_samples_per_sec"])
    assert "1000 ms" in explained.advice


def test_a_server_with_too_few_queries_is_told_more_load(tmp_path: Path) -> None:
    run = invalid(tmp_path, "server", min_query_count=100, server_target_qps=500.0)
    (explained,) = explain(run)
    assert explained.rule == "early stopping" and "at least 459 are needed" in explained.advice
    assert explained.retry and explained.retry >= 459 / 0.3


def test_a_stream_with_too_few_queries_cannot_be_helped_by_a_hint(tmp_path: Path) -> None:
    run = invalid(tmp_path, "multi-stream", min_query_count=100, min_duration_ms=1)
    (explained,) = explain(run)
    assert explained.rule == "early stopping" and "at least 662" in explained.advice and explained.retry is None


def test_an_error_is_explained_by_its_text() -> None:
    run = case("offline").performance
    assert run.result
    result = replace(run.result, errors=("Attempted to complete a sample twice.",))
    (explained,) = explain(replace(run, result=result))
    assert explained.line == "Attempted to complete a sample twice." and explained.retry is None


def test_a_run_that_failed_says_why() -> None:
    failed = with_record(with_record(case("offline").performance, "failed", "state"), "It ran out of memory.", "reason")
    (explained,) = explain(failed)
    assert explained.rule == "finished" and "It ran out of memory." in explained.advice
    (explained,) = explain(replace(case("offline").performance, result=None, problems=("line 7 is cut off",)))
    assert "line 7 is cut off" in explained.advice


def test_a_server_that_is_only_just_late_is_told_a_little_less() -> None:
    honest = case("server").performance
    over = {"result_perf_constraints_met": False, "result_99.00_percentile_latency_ns": 1_100_000_000}
    (explained,) = explain(with_values(honest, **over))
    assert explained.rule == "latency limit"
    done = honest.result.values["result_completed_samples_per_sec"]  # type: ignore[union-attr]
    asked = honest.result.values["effective_target_qps"]  # type: ignore[union-attr]
    assert explained.retry == pytest.approx(0.85 * min(asked, done))


def test_a_server_with_too_many_late_queries_for_early_stopping_is_told_less_load() -> None:
    honest = case("server").performance
    queries = honest.result.values["result_query_count"]  # type: ignore[union-attr]
    late = {"early_stopping_met": False, "result_overlatency_query_count": int(queries * 0.009)}
    (explained,) = explain(with_values(honest, **late))
    assert explained.rule == "early stopping" and "give --target-qps=" in explained.advice
    assert explained.retry and explained.retry < honest.result.values["effective_target_qps"]  # type: ignore[union-attr]


@pytest.mark.parametrize("key", ["result_min_duration_met", "result_min_queries_met"])
def test_a_server_that_ran_out_is_told_a_higher_load(key: str) -> None:
    honest = case("server").performance
    (explained,) = explain(with_values(honest, **{key: False}))
    assert f'"{key}"' in explained.line
    asked = honest.result.values["effective_target_qps"]  # type: ignore[union-attr]
    assert explained.retry == pytest.approx(1.2 * asked) and "give a higher --target-qps" in explained.advice
