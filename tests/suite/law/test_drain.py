from dataclasses import replace
from pathlib import Path

import pytest

from scenarios.harness import logs
from scenarios.harness.timeline import Timeline
from suite.law.base import Pair
from suite.law.drain import check, counted, counted_of
from tests.evidence_factory import Case, case
from tests.scenarios.loadgen_process import run


def late_tail(scenario: str, count: int, delay_ns: int) -> Case:
    """Returns a case whose samples but the last-issued are completed much later."""
    honest = case(scenario)
    timeline = honest.performance.timeline
    assert timeline
    ends = timeline.batch_ns.copy()
    ends[:count] += delay_ns
    return replace(honest, performance=replace(honest.performance, timeline=replace(timeline, batch_ns=ends)))


def test_a_tail_that_loadgen_does_not_count_counts() -> None:
    """LoadGen's Server figure ends with the query issued last, whoever is still waiting."""
    honest, late = case("server"), late_tail("server", 5, 10**9)
    counted = counted_of(late.performance)
    assert counted and counted.timeline and counted.value == counted.timeline < counted.loadgen / 2
    assert counted.loadgen == counted_of(honest.performance).loadgen  # type: ignore[union-attr]
    detail = check(Pair(late.performance, late.accuracy, late.rules, late.facts)).detail
    assert f"{counted.loadgen:,.1f}" in detail and f"{counted.timeline:,.1f}" in detail and "lower counts" in detail


def test_loadgens_own_figure_counts_where_both_agree() -> None:
    counted = counted_of(case("server").performance)
    assert counted and counted.value == counted.loadgen and counted.unit == "queries/s"


def test_the_lower_counts_where_loadgens_is_the_lower() -> None:
    slower = replace(
        case("server").performance.result,
        values={**case("server").performance.result.values, "result_completed_samples_per_sec": 100.0},
    )  # type: ignore[type-var, union-attr]
    assert counted_of(replace(case("server").performance, result=slower)).value == 100.0  # type: ignore[union-attr]


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_latency_has_no_drain(scenario: str) -> None:
    counted = counted_of(case(scenario).performance)
    assert counted and counted.timeline is None and counted.unit == "ns"


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_without_a_timeline_no_figure_is_known(scenario: str) -> None:
    honest = case(scenario)
    gone = replace(honest.performance, timeline=None)
    assert counted_of(gone) is None
    assert not check(Pair(gone, honest.accuracy, honest.rules, honest.facts)).passed


@pytest.mark.parametrize(("factor", "lower"), [(1.019, False), (1.021, True)])
@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_two_percent_apart_is_where_the_lower_one_counts(scenario: str, factor: float, lower: bool) -> None:
    run = case(scenario).performance
    assert run.result and run.timeline
    key = {"offline": "result_samples_per_second", "server": "result_completed_samples_per_sec"}[scenario]
    # By as much of LoadGen's own figure as the rule says.
    said = run.timeline.throughput / (2 - factor)
    result = replace(run.result, values={**run.result.values, key: said})
    found = counted_of(replace(run, result=result))
    assert found and found.value == (run.timeline.throughput if lower else said)


def test_the_tail_of_an_offline_run_counts() -> None:
    found = counted_of(late_tail("offline", 1, 10**9).performance)
    assert found and found.timeline and found.value == found.timeline < found.loadgen / 2


def test_stragglers_that_loadgen_does_not_count_lower_the_figure(tmp_path: Path) -> None:
    """A batch is held for a second while the others are answered, the query that was issued last among them."""
    ended = run(tmp_path, "Server", sessions=2, batch=1, first_rests_s=1.0)
    assert ended.code == 0 and not ended.seen["faults"], ended.stderr
    found = counted("server", logs.read(tmp_path), Timeline.load(tmp_path / "timeline.npz"))
    assert found and found.timeline and found.value == found.timeline < 300 < 1000 < found.loadgen
