"""Answers in pairs: each sample is counted once, and a margin has three outcomes."""

import numpy as np
import pytest

from accuracy_scripts.paired import CERTIFIED, REGRESSION, UNKNOWN, Outcomes, by_class, certify, compare, fifths

pytestmark = pytest.mark.side_by_side

TRUTH = np.arange(10) % 2


def test_each_sample_is_counted_once() -> None:
    reference = np.array([0, 1, 0, 1, 0, 1, 0, 1, 1, 0])
    variant = np.array([0, 1, 0, 1, 0, 1, 1, 7, 0, 7])
    found = compare(reference, variant, TRUTH)
    assert found == Outcomes(both=6, only_reference=2, only_variant=1, neither=1, changed=4)
    assert found.total == 10 and found.difference == pytest.approx(-0.1)


def test_errors_are_held_against_the_references() -> None:
    ratio, low, high = (
        Outcomes(both=9000, only_reference=120, only_variant=60, neither=820, changed=200).error_ratio or ()
    )
    assert ratio == pytest.approx(940 / 880) and 1 < low < ratio < high < 1.11
    assert Outcomes(10, 1, 0, 0, 1).error_ratio is None and Outcomes(10, 0, 1, 0, 1).error_ratio is None
    assert Outcomes(9000, 120, 60, 820, 200).swapped == 20


def test_the_same_answers_have_no_difference() -> None:
    found = compare(TRUTH, TRUTH, TRUTH)
    low, high = found.interval()
    assert found.difference == 0 and found.p_value == 1 and found.changed == 0
    assert low <= 0 <= high


@pytest.mark.parametrize("lengths", [(0, 0, 0), (9, 10, 10), (10, 9, 10), (10, 10, 9)])
def test_what_are_no_pairs_is_refused(lengths: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="are no pairs"):
        compare(*(TRUTH[:length] for length in lengths))


@pytest.mark.parametrize(
    ("lost", "won", "outcome"),
    [
        (50, 45, CERTIFIED),
        (0, 0, CERTIFIED),
        (100, 20, UNKNOWN),
        (300, 20, REGRESSION),
        (0, 300, CERTIFIED),
    ],
)
def test_a_margin_has_three_outcomes(lost: int, won: int, outcome: str) -> None:
    outcomes = Outcomes(9000 - lost - won, lost, won, 1000, lost + won)
    found = certify(outcomes, 0.0093)
    low, high = outcomes.interval()
    assert found.outcome == outcome, (low, high)
    assert (found.more_samples > 0) == (outcome == UNKNOWN)


@pytest.mark.parametrize(("lost", "won"), [(50, 45), (100, 20), (150, 20), (300, 20), (0, 0), (0, 300)])
def test_a_margins_p_value_is_where_the_interval_ends_at_it(lost: int, won: int) -> None:
    outcomes = Outcomes(9000 - lost - won, lost, won, 1000, lost + won)
    p = outcomes.margin_p_value(0.0093)
    assert (p < 0.05) == (certify(outcomes, 0.0093).outcome != UNKNOWN)
    if p > 1e-9:
        assert min(abs(end + 0.0093) for end in outcomes.interval(1 - p)) < 1e-9
    assert outcomes.margin_p_value(-outcomes.difference) == 1


def test_a_loss_that_is_just_the_margin_is_seldom_certified() -> None:
    """Of 1,000 variants that lose just the margin at most 70 are told from it, on either side."""
    draw = np.random.default_rng(9).multinomial(10_000, [0.9207, 0.0133, 0.004, 0.062], 1000).tolist()
    found = [Outcomes(*counts, 0).margin_p_value(0.0093) for counts in draw]
    assert sum(p < 0.05 for p in found) <= 70 and sum(p < 0.5 for p in found) >= 400


def test_as_many_samples_as_it_asks_for_tell() -> None:
    few = Outcomes(8880, 100, 20, 1000, 120)
    found = certify(few, 0.0093)
    times = (few.total + found.more_samples) / few.total
    more = Outcomes(*(round(times * count) for count in (8880, 100, 20, 1000, 120)))
    assert certify(more, 0.0093).outcome == CERTIFIED
    assert certify(Outcomes(*(round(0.9 * times * count) for count in (8880, 100, 20, 1000, 120))), 0.0093) != CERTIFIED


def test_the_class_that_lost_most_comes_first_with_a_wider_interval() -> None:
    truth = np.repeat(np.arange(4), 1000)
    reference, variant = truth.copy(), truth.copy()
    variant[2000:2100] = 0
    variant[:10] = 3
    found = by_class(reference, variant, truth)
    assert [one.label for one in found][:2] == [2, 0]
    assert found[0].outcomes.difference == pytest.approx(-0.1)
    alone = found[0].outcomes.interval()
    assert found[0].low < alone[0] and found[0].high > alone[1]


def test_fifths_are_as_large_as_one_another_and_in_order() -> None:
    confidence = np.random.default_rng(0).permutation(np.linspace(0.1, 1, 1000))
    found = fifths(confidence)
    assert [int(np.count_nonzero(found == fifth)) for fifth in range(5)] == [200] * 5
    assert confidence[found == 0].max() < confidence[found == 1].min() <= confidence[found == 4].min()


def test_the_intervals_of_all_slices_hold_at_once() -> None:
    """In 930 of 1,000 draws and more the truth of each of ten classes lies within: one of them loses 4 points."""
    draw = np.random.default_rng(7)
    truth, lost = np.repeat(np.arange(10), 200), np.where(np.arange(10) == 3, 0.06, 0.02)
    held = 0
    for _ in range(1000):
        right = draw.random(2000) < 0.9
        flips = draw.random(2000)
        # A right answer is lost with its class's chance, a wrong one won with as much as balances 0.02.
        variant = np.where(right, flips >= lost[truth], flips < 0.18)
        found = by_class(np.where(right, truth, -1), np.where(variant, truth, -2), truth)
        held += all(one.low <= -0.9 * lost[one.label] + 0.1 * 0.18 <= one.high for one in found)
    assert held >= 930
