"""Goodput: what a user has of a throughput, from the performance run's own answers and lateness."""

from dataclasses import replace

import numpy as np
import pytest

from suite.goodput import goodput_of
from tests.evidence_factory import case, with_answers, with_values

pytestmark = pytest.mark.side_by_side


def test_it_is_the_rate_of_right_answers() -> None:
    made = case("offline")
    found = made.verdict().goodput
    assert found and made.performance.timeline and found.sampled >= 1024 and found.in_time == 1
    assert found.per_s == pytest.approx(made.performance.timeline.throughput * found.right / found.sampled)
    assert found.low_95 < found.per_s < found.high_95


def test_wrong_answers_are_none() -> None:
    made = case("offline")
    answers = made.performance.answers
    before = goodput_of(made.performance, made.facts)
    assert answers is not None and before is not None
    payload = answers.payload.copy()
    payload[: len(payload) // 2] = np.frombuffer(np.int64(99).tobytes(), np.uint8)
    after = goodput_of(with_answers(made.performance, payload=payload), made.facts)
    assert after is not None and after.per_s < 0.6 * before.per_s


def test_late_answers_are_none_in_server() -> None:
    made = case("server")
    result = made.performance.result
    assert result is not None
    late = int(result.number("result_query_count") // 4)
    found = goodput_of(with_values(made.performance, result_overlatency_query_count=late), made.facts)
    assert found is not None and found.in_time == pytest.approx(0.75, abs=0.01)


def test_what_cannot_be_read_has_none() -> None:
    made = case("offline")
    assert goodput_of(replace(made.performance, timeline=None), made.facts) is None
    assert goodput_of(replace(made.performance, answers=None), made.facts) is None


@pytest.mark.parametrize("share", [0.93, 0.5])
def test_the_true_share_of_right_answers_lies_within_its_interval(share: float) -> None:
    """Of 1,000 runs of a model that is right so often: what LoadGen logged is a sample of what it answered."""
    made, draw = case("offline"), np.random.default_rng(23)
    answers, seen = made.performance.answers, made.performance.timeline
    assert answers is not None and seen is not None
    truth = made.facts.truth[answers.indices].astype(np.int64)

    def covered() -> bool:
        labels = np.where(draw.random(len(truth)) < share, truth, (truth + 1) % 10)
        payload = labels.astype("<i8").reshape(-1, 1).view(np.uint8)
        found = goodput_of(with_answers(made.performance, payload=payload), made.facts)
        assert found
        return found.low_95 <= share * seen.throughput <= found.high_95

    assert 930 <= sum(covered() for _ in range(1000)) <= 970
