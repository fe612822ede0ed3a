"""Who goes on: decided on made-up figures."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from tools.study import halving
from tools.study.halving import REFERENCE_PACE, Pace
from tools.study.plan import Cell

pytestmark = pytest.mark.side_by_side

REFERENCE, FAST, CLOSE, SLOW, SAME = (
    Cell("fashion-resnet", "onnxruntime", "offline", recipe)
    for recipe in ("", "quantize:int8", "cluster:8", "fuse:level=off", "fuse:level=basic")
)
FASTER, NEARLY, SLOWER, EQUAL = (
    Pace(1.2, 1.1, 1.3, 4),
    Pace(1.15, 1.05, 1.25, 4),
    Pace(0.5, 0.45, 0.55, 4),
    Pace(1.0, 0.9, 1.1, 4),
)
KNOWN = {REFERENCE: REFERENCE_PACE, FAST: FASTER, CLOSE: NEARLY, SLOW: SLOWER, SAME: EQUAL}


def test_the_spread_of_all_blocks_together_is_that_of_each() -> None:
    """By hand: the variances are 0.02 and 0, so the pooled one of two degrees is 0.01; t is 8.860 for two at once."""
    found = halving.paces({FAST: [log(2) - 0.1, log(2) + 0.1], SLOW: [log(0.5), log(0.5)]})
    assert found[FAST].ratio == pytest.approx(2) and found[SLOW].ratio == pytest.approx(0.5)
    reach = 8.86020 * 0.1 / 2**0.5
    assert log(found[FAST].high / 2) == pytest.approx(reach, rel=1e-4)
    assert log(0.5 / found[SLOW].low) == pytest.approx(reach, rel=1e-4)
    assert halving.paces({FAST: [0.1]})[FAST].high == float("inf")


@pytest.mark.parametrize(
    ("truth", "unrest"),
    [
        ((1.3, 1.235, 1.2, 1.0, 0.9, 0.4), 0.05),
        ((1.8, 1.8, 1.8, 1.8, 1.0, 1.0, 0.5, 0.5), 0.03),
        ((1.0,) * 6, 0.05),
        ((1.0,) * 6, 0.1),
    ],
)
def test_all_intervals_of_a_search_hold_at_its_end(truth: tuple[float, ...], unrest: float) -> None:
    """Of 1,000 searches at least 930, though what was seen decides who goes on."""
    generator = np.random.default_rng(7)
    cells = [Cell("fashion-resnet", "onnxruntime", "offline", f"prune:0.{number}") for number in range(1, 9)]
    known, inside = dict(zip(cells, truth, strict=False)), 0
    for _ in range(1000):
        logs = {cell: generator.normal(log(ratio), unrest, 2).tolist() for cell, ratio in known.items()}
        while ready := halving.due(halving.paces(logs), set(known), 0.03):
            for cell, count in ready:
                logs[cell] += generator.normal(log(known[cell]), unrest, count).tolist()
        inside += all(pace.low <= known[cell] <= pace.high for cell, pace in halving.paces(logs).items())
    assert inside >= 930, inside


def test_a_search_hardly_ever_drops_the_fastest() -> None:
    """Simulated: six variants in rounds, the two fastest 5 % apart, with an unrest of 8 % a block."""
    generator = np.random.default_rng(4)
    cells = [Cell("fashion-resnet", "onnxruntime", "offline", f"prune:0.{number}") for number in range(1, 7)]
    truth = dict(zip(cells, np.log([1.3, 1.235, 1.2, 1.0, 0.9, 0.4]).tolist(), strict=True))
    lost = 0
    for _ in range(200):
        logs = {cell: generator.normal(truth[cell], 0.08, 2).tolist() for cell in cells}
        while ready := halving.due(halving.paces(logs), set(cells), 0.03):
            for cell, count in ready:
                logs[cell] += generator.normal(truth[cell], 0.08, count).tolist()
        lost += cells[0] not in halving.racing(halving.paces(logs), set(cells))
    assert lost <= 0.05 * 200


def test_only_what_is_certainly_slower_drops_out() -> None:
    eligible = set(KNOWN)
    assert halving.racing(KNOWN, eligible) == [FAST, CLOSE, SAME]
    # What cannot win sets no bar: FAST is a near miss, and CLOSE begins at 1.05.
    assert halving.racing({**KNOWN, SAME: Pace(1.04, 1.0, 1.08, 4)}, {CLOSE, SAME, REFERENCE}) == [FAST, CLOSE, SAME]
    assert halving.racing({SAME: Pace(0.9, 0.8, 0.99, 4)}, {SAME}) == []


def test_who_may_be_the_fastest_gets_as_many_blocks_again() -> None:
    runners = {cell: pace for cell, pace in KNOWN.items() if cell.recipe}
    assert halving.due(runners, set(runners), 0.03) == [(FAST, 4), (CLOSE, 4), (SAME, 4)]
    assert halving.due({FAST: Pace(1.2, 0.9, 1.6, 64)}, {FAST}, 0.03) == [(FAST, halving.MOST_AT_ONCE)]
    # One is left, and surely faster than the reference.
    assert halving.due({FAST: FASTER, SLOW: SLOWER}, {FAST, SLOW}, 0.03) == []
    # Known well enough, though neither is the fastest for certain.
    assert halving.due({FAST: Pace(1.2, 1.19, 1.21, 8), CLOSE: Pace(1.19, 1.18, 1.2, 8)}, {FAST, CLOSE}, 0.03) == []
    assert halving.due({FAST: FASTER}, set(), 0.03) == []


def test_the_first_that_counts_does_not_end_the_search() -> None:
    eligible = set(KNOWN)
    order: list[Cell] = []
    counts: dict[Cell, bool] = {}
    while cell := halving.next_to_judge(KNOWN, eligible, counts):
        order.append(cell)
        counts[cell] = True
    # SAME reaches up to where FAST begins; the reference does not, and SLOW is certainly slower than it.
    assert order == [FAST, CLOSE, SAME]
    # In the midst of the rounds it is the turn of the first of them alone.
    assert halving.leader(KNOWN, eligible, {}) == FAST
    assert halving.leader(KNOWN, eligible, {FAST: True}) is None
    assert halving.leader(KNOWN, eligible - {FAST}, {FAST: False}) == CLOSE
    assert halving.winner(KNOWN, counts) == FAST


def test_where_the_fastest_is_refused_what_it_had_driven_out_comes_next() -> None:
    known = {REFERENCE: REFERENCE_PACE, FAST: Pace(2.0, 1.9, 2.1, 4), CLOSE: NEARLY, SLOW: SLOWER}
    assert halving.racing(known, set(known)) == [FAST]
    assert halving.next_to_judge(known, set(known), {}) == FAST
    counts = {FAST: False}
    eligible = {REFERENCE, CLOSE, SLOW}
    assert halving.next_to_judge(known, eligible, counts) == CLOSE
    assert halving.winner(known, {**counts, CLOSE: True}) == CLOSE
    # A slower one that passed early: CLOSE, with FAST not judged yet.
    assert halving.next_to_judge(known, set(known), {CLOSE: True}) == FAST


def test_the_reference_is_the_answer_where_nothing_is_surely_faster() -> None:
    known = {REFERENCE: REFERENCE_PACE, SAME: replace(EQUAL, ratio=1.02), SLOW: SLOWER}
    assert halving.leader(known, set(known), {}) is None
    assert halving.next_to_judge(known, set(known), {}) == REFERENCE
    assert halving.next_to_judge(known, set(known), {REFERENCE: True}) == SAME
    assert halving.next_to_judge(known, set(known), {SAME: True}) == REFERENCE
    assert halving.next_to_judge(known, set(known), {SAME: True, REFERENCE: True}) is None
    assert halving.winner(known, {SAME: True, REFERENCE: True}) is None
