from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.errors import TandemError
from common.statistics import fisher_greater
from suite.law.same_answers import LEAST_COMPARED, sensitivity_of
from tests.evidence_factory import ANSWERS, SERVING, TRUTH, Case, assert_refused, case, with_answers, with_preparation

pytestmark = pytest.mark.side_by_side


def sampled() -> Any:
    answers = case("offline").performance.answers
    assert answers and len(answers.indices) > 3500
    return answers


def changed(lost: int, won: int = 0, differences: int = 0) -> Case:
    """Returns a case in which right answers were lost and wrong ones righted under load, at such a sensitivity."""
    honest = case("offline")
    right = ANSWERS[sampled().indices] == TRUTH[sampled().indices]
    payload = sampled().payload.copy()
    for places, shift in ((np.flatnonzero(right)[:lost], 1), (np.flatnonzero(~right)[:won], 0)):
        values = (TRUTH[sampled().indices[places]] + shift) % 10
        payload[places] = np.ascontiguousarray(values, np.int64).view(np.uint8).reshape(len(places), 8)
    run = with_answers(honest.performance, payload=payload)
    return replace(honest, performance=with_preparation(run, sensitivity(2000, differences), "sensitivity"))


def sensitivity(samples: Any, differences: Any, /, *batches: str, **worst: Any) -> dict[str, Any]:
    """Returns a preparation's sensitivity, the same in each pass, but for what `worst` says of it as a whole."""
    found = {"samples": samples, "differences": differences}
    passes = [{"order": "shuffled", "batch": size, **found} for size in batches or ("1", "maximum", "mixed")]
    return {**found, "passes": passes, **worst}


def preparation(value: Any, *path: str) -> Case:
    honest = case("offline")
    return replace(honest, performance=with_preparation(honest.performance, value, *path))


def performance(**arrays: Any) -> Case:
    honest = case("offline")
    return replace(honest, performance=with_answers(honest.performance, **arrays))


def test_one_wrong_answer_in_a_hundred_is_refused() -> None:
    detail = assert_refused(changed(len(sampled().indices) // 100), "same-answers")
    assert "answers differ" in detail


def test_a_single_different_answer_is_within_chance() -> None:
    verdict = changed(1).verdict()
    assert verdict.counts
    assert any("1 of" in check.detail and "answers differ" in check.detail for check in verdict.checks)


def test_answers_that_move_with_the_batch_are_judged_by_how_far_they_move() -> None:
    """An honest dynamic INT8 model: half a percent of its answers depend on the batch, some the better for it."""
    assert changed(12, 12, differences=10).verdict().counts
    assert "answers differ" in assert_refused(changed(45, 45, differences=10), "same-answers")


def test_more_right_answers_lost_than_won_is_refused_even_within_the_sensitivity() -> None:
    detail = assert_refused(changed(25, differences=30), "same-answers")
    assert "25 right ones became wrong and 0 wrong ones right" in detail


def test_an_unstable_variant_is_not_judged() -> None:
    assert "not judged: unstable" in assert_refused(changed(0, differences=41), "same-answers")
    assert changed(0, differences=40).verdict().counts


def test_whole_payloads_are_compared() -> None:
    """The last byte is beyond what any class number fills."""
    payload = sampled().payload.copy()
    payload[:200, -1] = 1
    assert_refused(performance(payload=payload), "same-answers")


def test_too_few_answers_are_not_compared() -> None:
    few = {name: getattr(sampled(), name)[: LEAST_COMPARED - 1] for name in ("seq_ids", "indices", "payload")}
    assert "too few" in assert_refused(performance(**few), "same-answers")
    enough = {name: getattr(sampled(), name)[:LEAST_COMPARED] for name in ("seq_ids", "indices", "payload")}
    assert performance(**enough).verdict().counts


def test_no_answers_are_not_compared() -> None:
    none = {name: getattr(sampled(), name)[:0] for name in ("seq_ids", "indices", "payload")}
    assert_refused(performance(**none), "same-answers")


def test_an_answer_logged_twice_is_refused() -> None:
    seq_ids = sampled().seq_ids.copy()
    seq_ids[0] = seq_ids[1]
    assert "logged twice" in assert_refused(performance(seq_ids=seq_ids), "same-answers")


@pytest.mark.parametrize("number", [-1, 10**9])
def test_an_answer_to_no_sample_is_refused(number: int) -> None:
    seq_ids = sampled().seq_ids.copy()
    seq_ids[0] = number
    assert "an answer to no sample" in assert_refused(performance(seq_ids=seq_ids), "same-answers")


@pytest.mark.parametrize("index", [-1, 2000])
def test_an_answer_to_a_sample_that_the_dataset_lacks_is_refused(index: int) -> None:
    indices = sampled().indices.copy()
    indices[0] = index
    assert_refused(performance(indices=indices), "same-answers")


def test_answers_of_another_size_are_refused() -> None:
    assert "bytes" in assert_refused(performance(payload=sampled().payload[:, :4]), "same-answers")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        {"samples": 2000, "differences": 0},
        sensitivity(2000, 0, passes=[]),
        sensitivity(2000, 0, passes=[{"samples": 2000, "batch": size} for size in ("1", "maximum", "mixed")]),
        sensitivity(1, 0),
        sensitivity(1999, 0),
        sensitivity(1999, 0, samples=2000),
        sensitivity(2000, 0, samples=10**12),
        sensitivity(2001, 0),
        sensitivity(2000, -1),
        sensitivity(2000, 2001),
        sensitivity(2000, "0"),
        sensitivity(2000, 1, differences=0),
        sensitivity(2000, 0, "maximum"),
        sensitivity(2000, 0, "1", "maximum"),
        sensitivity(2000, 0, "1", "mixed"),
    ],
)
def test_a_sensitivity_that_says_nothing_is_refused(value: object) -> None:
    assert_refused(preparation(value, "sensitivity"), "same-answers")


def test_a_batch_of_one_has_but_one_pass() -> None:
    honest = case("single-stream")
    assert honest.performance.get("serving", "batch") == 1
    run = with_preparation(honest.performance, sensitivity(2000, 0, "maximum"), "sensitivity")
    assert replace(honest, performance=run).verdict().counts


def test_a_sensitivity_of_another_serving_is_refused() -> None:
    detail = assert_refused(preparation({**SERVING, "batch": 1}, "serving"), "same-answers")
    assert "another serving" in detail


def test_a_difference_is_refused_at_one_in_a_thousand() -> None:
    samples = len(sampled().indices)
    chances = [fisher_greater(lost, samples, 10, 2000) for lost in range(60)]
    passes = max(lost for lost, chance in enumerate(chances) if chance >= 0.001)
    # As many wrong answers became right as right ones wrong, so that only the number of differences can refuse.
    assert changed(passes // 2, passes - passes // 2, differences=10).verdict().counts
    more = passes + 1
    assert_refused(changed(more // 2, more - more // 2, differences=10), "same-answers")


def test_an_answer_to_the_sample_after_the_last_is_an_answer_to_none() -> None:
    issued = case("offline").performance.timeline.issued  # type: ignore[union-attr]
    for number, refused in ((issued, True), (issued - 1, False)):
        seq_ids = sampled().seq_ids.copy()
        seq_ids[seq_ids == number] = 0
        seq_ids[0] = number
        edited = performance(seq_ids=seq_ids)
        assert ("an answer to no sample" in told(edited)) is refused
        assert edited.verdict().counts is not refused


def told(case: Case) -> str:
    return next(one.detail for one in case.verdict().checks if one.name == "same-answers")


def short(count: int, issued: int) -> Case:
    """Returns a case of so few samples, of which `count` answers were logged."""
    honest = case("offline")
    assert honest.performance.timeline
    few = {name: getattr(sampled(), name)[:count] for name in ("indices", "payload")}
    run = with_answers(honest.performance, seq_ids=np.arange(count), **few)
    timeline = replace(honest.performance.timeline, callback_samples=np.array([issued], np.int64))
    return replace(honest, performance=replace(run, timeline=timeline))


def test_of_a_short_run_every_answer_is_compared() -> None:
    assert "0 of 300 sampled answers differ" in told(short(300, 300))
    assert "too few to compare" in told(short(299, 300))


def test_of_a_small_dataset_every_sample_is_answered_again() -> None:
    run = case("offline").performance
    facts = replace(case("offline").facts, truth=TRUTH[:100])
    every = with_preparation(run, sensitivity(100, 0), "sensitivity")
    assert sensitivity_of(every, facts).samples == 100
    with pytest.raises(TandemError, match="no sensitivity of 100 samples or more"):
        sensitivity_of(with_preparation(run, sensitivity(99, 0), "sensitivity"), facts)


@pytest.mark.parametrize(("count", "differences"), [(459, 0), (1000, 0), (459, 10), (2000, 20)])
def test_the_power_that_is_stated_is_that_of_the_test(count: int, differences: int) -> None:
    """One per cent of wrong answers, on top of the sensitivity, found by Fisher's exact test at 0.001."""
    from scipy.stats import binom, fisher_exact

    def refused(found: int) -> bool:
        table = [[found, count - found], [differences, 2000 - differences]]
        return bool(fisher_exact(table, alternative="greater").pvalue < 0.001)

    fewest = next(found for found in range(count) if refused(found))
    power = float(binom.sf(fewest - 1, count, differences / 2000 + 0.01))
    few = {name: getattr(sampled(), name)[:count] for name in ("seq_ids", "indices", "payload")}
    honest = performance(**few)
    run = with_preparation(honest.performance, sensitivity(2000, differences), "sensitivity")
    assert f"1 % of wrong answers would be seen with {100 * power:.1f} %" in told(replace(honest, performance=run))
