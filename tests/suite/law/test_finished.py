from dataclasses import replace
from typing import Any

import pytest

from suite.evidence import Evidence
from tests.evidence_factory import Case, assert_refused, case, with_record, with_values, without_record

pytestmark = pytest.mark.side_by_side


def accuracy(run: Evidence) -> Case:
    return replace(case("offline"), accuracy=run)


def honest() -> Evidence:
    return case("offline").accuracy


@pytest.mark.parametrize("state", ["failed", "interrupted", "running", None, True])
def test_only_a_finished_run_is_finished(state: object) -> None:
    assert_refused(accuracy(with_record(honest(), state, "state")), "finished")


@pytest.mark.parametrize(
    "faults",
    [
        [{"kind": "exception", "detail": "RuntimeError: no such layer"}],
        [{"kind": "not-finite", "detail": "RuntimeError: no such layer"}] * 9,
        ["RuntimeError: no such layer"],
    ],
)
def test_a_recorded_fault_is_told(faults: list[Any]) -> None:
    detail = assert_refused(accuracy(with_record(honest(), faults, "sut", "faults")), "finished")
    assert detail.count("no such layer") == min(len(faults), 3)
    assert ("and 6 faults more" in detail) is (len(faults) == 9)


@pytest.mark.parametrize("faults", [None, "", {}, 0])
def test_faults_that_are_no_list_are_no_absence_of_faults(faults: object) -> None:
    assert_refused(accuracy(with_record(honest(), faults, "sut", "faults")), "finished")


@pytest.mark.parametrize("key", ["samples_issued", "samples_completed"])
@pytest.mark.parametrize("value", [1999, 2001, 0, None, "2000", 2000.0, True, -2000])
def test_samples_issued_completed_and_reported_are_equal(key: str, value: object) -> None:
    assert_refused(accuracy(with_record(honest(), value, "sut", key)), "finished")


def test_the_timeline_must_hold_as_many_samples() -> None:
    run = honest()
    assert run.timeline
    fewer = replace(run.timeline, batch_samples=run.timeline.batch_samples - 1)
    assert "completed by the timeline" in assert_refused(accuracy(replace(run, timeline=fewer)), "finished")


def test_the_timeline_must_hold_as_many_arrivals() -> None:
    run = honest()
    assert run.timeline
    samples = run.timeline.callback_samples.copy()
    samples[-1] += 1
    more = replace(run, timeline=replace(run.timeline, callback_samples=samples))
    assert "2001 issued by the timeline" in assert_refused(accuracy(more), "finished")


def test_a_run_without_samples_is_none() -> None:
    run = with_record(with_record(honest(), 0, "sut", "samples_issued"), 0, "sut", "samples_completed")
    run = with_values(replace(run, timeline=None), effective_accuracy_sample_count=0)
    assert "finished" in accuracy(run).failed()


def test_a_record_without_the_sut_is_refused() -> None:
    assert_refused(accuracy(without_record(honest(), "sut")), "finished")


def test_what_could_not_be_read_is_told() -> None:
    broken = replace(honest(), problems=("environment.json cannot be read: it is no object of schema 1.",))
    assert "environment.json" in assert_refused(accuracy(broken), "finished")


def test_an_error_of_loadgen_is_told() -> None:
    run = honest()
    assert run.result
    wrong = replace(run, result=replace(run.result, errors=("Attempted to complete a sample twice.",)))
    assert "twice" in assert_refused(accuracy(wrong), "finished")


def test_an_error_in_the_performance_run_is_no_valid_run_either() -> None:
    honest_case = case("offline")
    wrong = with_values(honest_case.performance, num_errors=3)
    assert "3 errors" in assert_refused(replace(honest_case, performance=wrong), "finished", "valid")


@pytest.mark.parametrize("key", ["power_end"])
def test_a_log_without_its_end_is_not_finished(key: str) -> None:
    assert "lack their end" in assert_refused(accuracy(with_values(honest(), **{key: None})), "finished")


def test_a_log_whose_summary_has_no_end_is_not_finished() -> None:
    run = honest()
    assert run.result
    cut = replace(run, result=replace(run.result, summary_errors=None))
    assert "lack their end" in assert_refused(accuracy(cut), "finished")
