"""A contest: the variant's ratio to the reference from turns, and its answers to the whole evaluation set."""

from functools import partial
from math import exp, log
from pathlib import Path

import numpy as np
import pytest

from suite.probes import contest
from suite.probes.contest import (
    Block,
    Side,
    Stream,
    answers,
    block,
    blocks,
    interval,
    measure,
    otherwise_batched,
    ratio,
)
from suite.variant import Serving
from tests.suite.subjects import subject
from tools.study.plan import default

SERVING = Serving(64, 0, 1, 1, "cpu")


def of(ratio: float, reference_outside: bool = True) -> Block:
    return Block((1000.0, 1000.0), (1000.0 * ratio, 1000.0 * ratio), reference_outside)


def test_a_ratio_is_the_geometric_mean_of_the_blocks() -> None:
    assert ratio([of(2.0), of(0.5)]) == pytest.approx(1.0)
    assert interval([of(2.0)]) is None
    low, high = interval([of(1.9), of(2.0), of(2.1)]) or (0.0, 0.0)
    assert low < 2.0 < high and log(high / ratio([of(1.9), of(2.0), of(2.1)])) == pytest.approx(
        log(ratio([of(1.9), of(2.0), of(2.1)]) / low)
    )


def test_a_steady_drift_is_no_difference() -> None:
    """Each turn is a tenth slower than the one before; who began also ended."""
    a, b, c, d = (1000 * exp(-0.1 * turn) for turn in range(4))
    assert ratio([Block((a, d), (b, c), True), Block((b, c), (a, d), False)]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.5] * 9, 3),
        ([1.5, 1.51, 1.5, 1.5], 3),
        # A spread of 1.3 % makes 3 % on either side of four.
        ([1.5, 1.52, 1.54, 1.5, 1.5], 4),
        ([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0], 6),
    ],
)
def test_the_first_blocks_tell_how_many_it_takes(ratios: list[float], expected: int) -> None:
    left = iter(ratios)
    assert len(blocks(lambda: of(next(left)), 3, 6, 0.03)) == expected


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.05, 0.1])
@pytest.mark.parametrize("quick", [False, True])
def test_the_interval_covers_the_ratio_however_many_blocks_it_took(quick: bool, spread: float) -> None:
    """Of 1,000 contests at least 930 and at most 970, at the study's own settings."""
    draw, study = np.random.default_rng(3), default(["fashion-resnet"], quick=quick)

    def covered() -> bool:
        drawn = partial(draw.normal, 0.3, spread)
        found = blocks(lambda: of(exp(drawn())), study.least_blocks, study.most_blocks, study.width)
        low, high = interval(found, study.least_blocks) or (0.0, 0.0)
        return low <= exp(0.3) <= high

    assert 930 <= sum(covered() for _ in range(1000)) <= 970


def test_one_block_is_one() -> None:
    assert len(blocks(lambda: of(1.0), 3, 1, 0.03)) == 1


def test_answers_are_those_of_the_model_in_index_order(data_root: Path) -> None:
    ours = subject("onnxruntime", data_root)
    side = Side.loaded(ours, SERVING)
    found = answers(side)
    indices = [9_999, 0, 4_321]
    assert len(found) == ours.dataset.total
    expected = side.sessions[0].predict(ours.dataset.batch(indices)).argmax(1)
    assert found.reshape(-1)[indices].tolist() == expected.tolist()
    assert answers(side, count=ours.dataset.total + 5)[-5:].tolist() == found[:5].tolist()
    # In batches of other sizes, with other samples, and in index order again.
    assert np.array_equal(otherwise_batched(side), found)
    assert np.mean(found.reshape(-1) == ours.dataset.truth()) == pytest.approx(ours.workload.quality / 100, abs=1e-3)


def test_each_side_is_asked_as_much_as_its_own_last_turn_told(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []

    def throughput(subject: object, sessions: object, serving: object, seconds: float, known: float | None) -> float:
        asked.append(known)
        return 100.0 * len(asked)

    monkeypatch.setattr(contest.speed, "throughput", throughput)
    one, other = (Side.loaded(subject("simulated", data_root), SERVING) for _ in range(2))
    rate = measure(1.0, None)
    for side in (one, other, other, one):
        rate(side)
    assert asked == [None, None, 200.0, 100.0]


@pytest.mark.parametrize("stream", [None, Stream(2, 0.9)])
def test_a_block_has_two_turns_of_each_side(
    stream: Stream | None, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variant takes four times as long a sample; which side begins is drawn."""
    quick, slow = (
        Side.loaded(one, SERVING)
        for one in (subject("simulated", data_root, per_batch_us="0", per_sample_us=each) for each in ("250", "1000"))
    )
    for drawn in (0.1, 0.9):
        monkeypatch.setattr(contest.random, "random", lambda drawn=drawn: drawn)
        found = block(quick, slow, measure(0.05, stream))
        assert found.reference_outside is (drawn < 0.5)
        assert len(found.reference) == len(found.variant) == 2
        assert 0.15 < ratio([found]) < 0.5
