from dataclasses import replace
from typing import Any

import pytest

from suite.law.drain import counted_of
from suite.law.not_from_memory import MOST_APART
from tests.evidence_factory import (
    CHUNK,
    PROBE,
    UNSEEN,
    Case,
    assert_refused,
    case,
    with_preparation,
    with_probe_after,
    with_record,
    with_values,
    with_variant,
)

pytestmark = pytest.mark.side_by_side

WHERE = {"at preparation": "repeat_probe", "after the test": "probe_after"}


def probe(where: str, found: Any, scenario: str = "offline") -> Case:
    """Returns a case in which one of both probes says something else."""
    honest = case(scenario)
    if where == "after the test":
        found = {"unseen": UNSEEN, **found} if isinstance(found, dict) and found else found
        return replace(honest, performance=with_probe_after(honest.performance, found))
    return replace(honest, performance=with_preparation(honest.performance, found, "repeat_probe"))


def novel(scenario: str, milliseconds: float) -> Case:
    """Returns a case in which a batch of unseen inputs took so long at preparation and after the test."""
    found = {**PROBE, "novel_batch_ms": milliseconds}
    after = probe("after the test", found, scenario)
    return replace(after, performance=with_preparation(after.performance, found, "repeat_probe"))


@pytest.mark.parametrize("where", WHERE)
def test_what_is_faster_the_second_time_is_refused(where: str) -> None:
    detail = assert_refused(probe(where, {**PROBE, "ratio": 40.0, "ratio_low_95": 31.0}), "not-from-memory")
    assert f"{where} known samples run 40.00 times as fast" in detail


@pytest.mark.parametrize("where", WHERE)
def test_only_what_is_surely_faster_is_refused(where: str) -> None:
    assert probe(where, {**PROBE, "ratio": 1.5, "ratio_low_95": 1.10}).verdict().counts
    assert_refused(probe(where, {**PROBE, "ratio": 1.5, "ratio_low_95": 1.1001}), "not-from-memory")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": None},
        {"ratio_low_95": None},
        {"ratio_low_95": float("nan")},
        {"ratio_low_95": "0.9"},
        {"ratio_low_95": -1.0},
        {"ratio_low_95": 1.05},
        {"ratio": 0.0, "ratio_low_95": 0.0},
        {"pairs": None},
        {"pairs": 4},
        {"pairs": True},
        {"novel_batch_ms": None},
        {"novel_batch_ms": 0.0},
        {"novel_batch_ms": -0.1},
        {"novel_batch_ms": "0.1"},
        {"novel_batch_ms": float("inf")},
    ],
)
def test_a_probe_that_says_nothing_is_refused(where: str, changes: dict[str, Any]) -> None:
    assert where in assert_refused(probe(where, {**PROBE, **changes}), "not-from-memory")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("value", [None, {}, [], 1.0])
def test_no_probe_no_figure(where: str, value: object) -> None:
    assert where in assert_refused(probe(where, value), "not-from-memory")


def test_a_throughput_beyond_what_unseen_inputs_reach_is_refused() -> None:
    counted = counted_of(case("offline").performance)
    assert counted
    limit_ms = 1000 * MOST_APART * CHUNK / counted.value
    assert novel("offline", 0.999 * limit_ms).verdict().counts
    detail = assert_refused(novel("offline", 1.5 * limit_ms), "not-from-memory")
    assert "is 3.0 times what unseen inputs reach" in detail


def test_each_session_may_reach_what_one_alone_does() -> None:
    honest = novel("offline", 1000 * 1.5 * MOST_APART * CHUNK / counted_of(case("offline").performance).value)  # type: ignore[union-attr]
    assert honest.failed() == {"not-from-memory"}
    served = {**honest.performance.get("serving"), "sessions": 2}
    runs = [
        with_preparation(with_record(run, served, "serving"), served, "serving")
        for run in (honest.performance, honest.accuracy)
    ]
    assert replace(honest, performance=runs[0], accuracy=runs[1]).verdict().counts


@pytest.mark.parametrize(
    ("backend", "option", "stages", "counts"),
    [
        ("onnxruntime", "pipeline", "2", True),
        ("onnxruntime", "pipeline", "1", False),
        ("onnxruntime", "pipeline", "17", False),
        ("onnxruntime", "pipeline", 2, False),
        ("onnxruntime", "depth", "2", False),
        ("cheat.backend", "pipeline", "2", False),
    ],
)
def test_stages_of_a_graph_that_we_cut_reach_as_many_times_what_a_batch_alone_does(
    backend: str, option: str, stages: object, counts: bool
) -> None:
    honest = novel("offline", 1000 * 1.5 * MOST_APART * CHUNK / counted_of(case("offline").performance).value)  # type: ignore[union-attr]
    changes: dict[str, Any] = {"options": {option: stages}, "backend": backend}
    runs = [with_variant(run, **changes) for run in (honest.performance, honest.accuracy)]
    runs = [with_record(run, backend, "backend", "name") for run in runs]
    assert ("not-from-memory" not in replace(honest, performance=runs[0], accuracy=runs[1]).failed()) == counts


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_a_latency_below_what_unseen_inputs_take_is_refused(scenario: str) -> None:
    result = case(scenario).performance.result
    assert result
    median_ms = result.percentiles_ns[0.5] / 1e6
    assert novel(scenario, 0.999 * MOST_APART * median_ms).verdict().counts
    detail = assert_refused(novel(scenario, 1.5 * MOST_APART * median_ms), "not-from-memory")
    assert "is 3.0 times below what unseen inputs take" in detail


def test_a_query_of_several_batches_takes_as_many_times_as_long() -> None:
    honest = case("multi-stream")
    assert honest.performance.result
    median_ms = honest.performance.result.percentiles_ns[0.5] / 1e6
    whole, quarter = novel("multi-stream", median_ms), {**honest.performance.get("serving"), "batch": 2}
    assert whole.verdict().counts
    runs = [
        with_preparation(with_record(run, quarter, "serving"), quarter, "serving")
        for run in (whole.performance, whole.accuracy)
    ]
    assert_refused(replace(whole, performance=runs[0], accuracy=runs[1]), "not-from-memory")


def test_a_load_that_was_held_says_nothing_of_speed() -> None:
    assert novel("server", 10_000.0).verdict().counts


@pytest.mark.parametrize("key", ["batch", "sessions"])
@pytest.mark.parametrize("value", [0, None, "2", -1])
def test_without_batch_and_sessions_no_figure_can_be_held_against_unseen_inputs(key: str, value: object) -> None:
    honest = case("offline")
    served = {**honest.performance.get("serving"), key: value}
    runs = [
        with_preparation(with_record(run, served, "serving"), served, "serving")
        for run in (honest.performance, honest.accuracy)
    ]
    assert_refused(replace(honest, performance=runs[0], accuracy=runs[1]), "not-from-memory")


def test_a_median_that_loadgen_does_not_say_is_not_held() -> None:
    honest = case("single-stream")
    gone = with_values(honest.performance, **{"result_50.00_percentile_latency_ns": None})
    assert "not-from-memory" in replace(honest, performance=gone).failed()


@pytest.mark.parametrize("where", WHERE)
def test_the_quicker_probe_is_the_one_that_a_figure_is_held_against(where: str) -> None:
    # What loads the machine beside one of them makes no cheat of the run.
    assert probe(where, {**PROBE, "novel_batch_ms": 100.0}).verdict().counts


def answered(agreed: int, **changes: Any) -> Case:
    """Returns a case in which so many of the reference's 256 answers to unseen inputs are those of the system."""
    honest = case("offline")
    answers = [answer if number < agreed else "ff" * 8 for number, answer in enumerate(UNSEEN["answers"])]
    return replace(
        honest, performance=replace(honest.performance, reference_after={**UNSEEN, "answers": answers, **changes})
    )


def test_what_answers_unseen_inputs_unlike_the_reference_is_refused() -> None:
    assert answered(180).verdict().counts
    detail = assert_refused(answered(179), "not-from-memory")
    assert "it answers 70% of unseen inputs as the reference does, not 70%" in detail


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 78},
        {"seed": None},
        {"seed": "77"},
        {"answers": None},
        {"answers": []},
        {"answers": UNSEEN["answers"][:255]},
        {"answers": {str(number): "00" for number in range(256)}},
    ],
)
def test_answers_to_other_inputs_or_none_say_nothing(changes: dict[str, Any]) -> None:
    assert_refused(answered(256, **changes), "not-from-memory")
    honest = case("offline").performance
    after = {**honest.probe_after, "unseen": {**UNSEEN, **changes}}
    assert_refused(replace(case("offline"), performance=with_probe_after(honest, after)), "not-from-memory")


@pytest.mark.parametrize("where", WHERE)
def test_five_pairs_are_enough(where: str) -> None:
    assert probe(where, {**PROBE, "pairs": 5}).verdict().counts
