"""The law of what is detected: answers are judged by their objects, and compared by every bit."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy_scripts import objects
from accuracy_scripts.objects import ABSENT, DETECTION
from suite.evidence import Evidence
from suite.goodput import goodput_of
from tests.accuracy_scripts.made_objects import objects_of, payload_of
from tests.evidence_factory import PROBE, TOTAL, Case, assert_refused, case, with_answers, with_probe_after

pytestmark = pytest.mark.side_by_side

UNSEEN = 256


@functools.cache
def truth() -> NDArray[np.int64]:
    return objects_of(TOTAL, 3)


def hexadecimal(answers: NDArray[np.int32]) -> list[str]:
    return [row.tobytes().hex() for row in answers]


def answering(run: Evidence, answers: NDArray[np.int32]) -> Evidence:
    """Returns a run in which these were logged for the samples that were."""
    assert run.answers
    payload = answers[run.answers.indices].view(np.uint8).reshape(len(run.answers.indices), -1)
    return with_answers(run, payload=payload)


def unseen(run: Evidence, ours: list[str], reference: list[str]) -> Evidence:
    """Returns a run in which these were answered to unseen inputs."""
    probed = with_probe_after(run, {**PROBE, "unseen": {"seed": 77, "answers": ours}})
    return replace(probed, reference_after={"seed": 77, "answers": reference})


@functools.cache
def perfect() -> NDArray[np.int32]:
    return payload_of(truth())


def detecting(
    performance: NDArray[np.int32] | None = None,
    accuracy: NDArray[np.int32] | None = None,
    ours: list[str] | None = None,
) -> Case:
    """Returns two honest runs of a workload that detects, or with other answers."""
    honest, known = case("offline"), hexadecimal(perfect()[:UNSEEN])
    facts = replace(honest.facts, truth=truth(), judge=objects, metric="mAP", target=90.0, payload_dtype="int32")
    run = answering(honest.performance, perfect() if performance is None else performance)
    return replace(
        honest,
        performance=unseen(run, known if ours is None else ours, known),
        accuracy=answering(honest.accuracy, perfect() if accuracy is None else accuracy),
        facts=facts,
    )


def test_what_is_detected_counts_by_its_objects() -> None:
    verdict = detecting().verdict()
    assert verdict.counts, verdict.failed
    assert verdict.goodput and verdict.goodput.right == verdict.goodput.sampled


def without_some(share: float) -> NDArray[np.int32]:
    """Returns answers in which every first object of so many images is not found."""
    rows = perfect().reshape(TOTAL, -1, DETECTION).copy()
    rows[: round(share * TOTAL), 0] = ABSENT
    return rows.reshape(TOTAL, -1)


def test_objects_that_are_not_found_are_a_loss_of_precision_and_of_goodput() -> None:
    lost = detecting(without_some(0.5), without_some(0.5))
    assert "mAP" in assert_refused(lost, "complete")
    found = goodput_of(lost.performance, lost.facts)
    assert found and 0.4 < found.right / found.sampled < 0.75


def test_a_score_that_differs_in_the_performance_run_is_another_answer() -> None:
    """What is shown is the same: cheaper post-processing in the fast run alone would be, too."""
    rows = perfect().reshape(TOTAL, -1, DETECTION).copy()
    there = rows[..., 0] != ABSENT
    rows[there, 1] -= 1
    other = rows.reshape(TOTAL, -1)
    assert objects.agree(other, perfect()).all()
    assert_refused(detecting(other), "same-answers")


def test_unseen_images_have_to_be_answered_with_the_references_objects() -> None:
    known = hexadecimal(perfect()[:UNSEEN])
    nothing = hexadecimal(np.full_like(perfect()[:UNSEEN], ABSENT))
    some = [*known[: UNSEEN // 2], *nothing[UNSEEN // 2 :]]
    assert "of unseen inputs as the reference does, not 70%" in assert_refused(detecting(ours=some), "not-from-memory")
    narrow = [answer[: 2 * 4 * DETECTION] for answer in known]
    assert "payloads of another size" in assert_refused(detecting(ours=narrow), "not-from-memory")
    for strange in (["zz" * 4 * DETECTION] * UNSEEN, [None] * UNSEEN, [*known[:-1], "00"]):
        detail = assert_refused(detecting(ours=strange), "not-from-memory")  # type: ignore[arg-type]
        assert "cannot be read" in detail


def test_more_detections_than_count_are_refused() -> None:
    many = np.tile(perfect(), (1, 21))
    assert "of which 100 count at most" in assert_refused(detecting(many, many), "complete", "same-answers")
