from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from accuracy_scripts import labels
from accuracy_scripts.judge import Judge
from tests.evidence_factory import TOTAL, Case, assert_refused, case, with_answers

pytestmark = pytest.mark.side_by_side


def accuracy(**arrays: object) -> Case:
    honest = case("offline")
    return replace(honest, accuracy=with_answers(honest.accuracy, **arrays))


def log() -> dict[str, np.ndarray]:
    answers = case("offline").accuracy.answers
    assert answers
    return {name: getattr(answers, name) for name in ("seq_ids", "indices", "payload")}


def test_a_missing_sample_is_named() -> None:
    missing = int(log()["indices"][0])
    detail = assert_refused(accuracy(**{name: array[1:] for name, array in log().items()}), "complete", "same-answers")
    assert f"Index {missing} is missing" in detail


def test_a_sample_answered_twice_is_named() -> None:
    twice = {name: np.concatenate((array, array[:1])) for name, array in log().items()}
    assert "is answered 2 times" in assert_refused(accuracy(**twice), "complete", "same-answers")


def test_a_sample_answered_in_anothers_place_is_named() -> None:
    indices = log()["indices"].copy()
    indices[0] = indices[1]
    assert "answered 2 times" in assert_refused(accuracy(indices=indices), "complete", "same-answers")


@pytest.mark.parametrize("index", [-1, TOTAL, 2**62])
def test_a_sample_that_is_not_in_the_dataset_is_named(index: int) -> None:
    indices = log()["indices"].copy()
    indices[0] = index
    assert "out of range" in assert_refused(accuracy(indices=indices), "complete", "same-answers")


def test_an_empty_log_is_not_complete() -> None:
    empty = {name: array[:0] for name, array in log().items()}
    assert_refused(accuracy(**empty), "complete", "same-answers")


def test_empty_answers_are_none() -> None:
    assert {"complete", "same-answers"} <= accuracy(payload=log()["payload"][:, :0]).failed()


def test_a_log_that_cannot_be_read_is_not_complete() -> None:
    honest = case("offline")
    assert {"complete", "same-answers"} <= replace(honest, accuracy=replace(honest.accuracy, answers=None)).failed()


def test_the_target_decides() -> None:
    honest = case("offline")
    reached = replace(honest, facts=replace(honest.facts, target=95.0))
    assert reached.verdict().counts
    short = replace(honest, facts=replace(honest.facts, target=95.001))
    assert ": 0.001 points short" in assert_refused(short, "complete")


def test_a_target_that_is_no_number_is_never_met() -> None:
    honest = case("offline")
    assert_refused(replace(honest, facts=replace(honest.facts, target=float("nan"))), "complete")


@pytest.mark.parametrize("value", [float("nan"), None, "99", True])
def test_a_metric_that_is_no_number_meets_nothing(value: object) -> None:
    honest = case("offline")
    judge = SimpleNamespace(**vars(labels))
    judge.score = lambda answers, truth: {"top1": value}
    facts = replace(honest.facts, judge=cast(Judge, judge))
    assert_refused(replace(honest, facts=facts), "complete")
