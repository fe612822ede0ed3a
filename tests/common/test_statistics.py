"""Intervals and tests against exact arithmetic, published tables, and simulation."""

import subprocess
import sys
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from common.statistics import (
    fisher_greater,
    holm,
    mcnemar_exact,
    mcnemar_worse,
    mean_interval,
    mean_lower_bound,
    median_interval,
    normal_quantile,
    paired_difference_interval,
    paired_ratio_interval,
    two_stage_count,
    two_stage_interval,
    wilson_interval,
)

pytestmark = pytest.mark.side_by_side


def exact_fisher(a: int, n_a: int, b: int, n_b: int) -> float:
    """Returns the tail by counting, without rounding."""
    both = a + b
    ways = sum(comb(n_a, k) * comb(n_b, both - k) for k in range(a, min(n_a, both) + 1))
    return float(Fraction(ways, comb(n_a + n_b, both)))


@pytest.mark.parametrize(
    "counts",
    [(3, 4, 1, 4), (5, 459, 0, 10_000), (41, 4096, 62, 10_000), (0, 50, 7, 50), (50, 50, 50, 50), (7, 7, 0, 9)],
)
def test_fisher_is_the_exact_tail(counts: tuple[int, int, int, int]) -> None:
    assert fisher_greater(*counts) == pytest.approx(exact_fisher(*counts), rel=1e-9)


def test_fisher_agrees_with_fishers_tea_party() -> None:
    assert fisher_greater(3, 4, 1, 4) == pytest.approx(17 / 70)


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (0, 0, 5, 10), (5, 10, 0, 0), (0, 4096, 0, 10_000)])
def test_fisher_sees_nothing_where_there_is_nothing(counts: tuple[int, int, int, int]) -> None:
    assert fisher_greater(*counts) == 1.0


@pytest.mark.parametrize("counts", [(1, 0, 0, 5), (-1, 5, 0, 5), (0, 5, 6, 5)])
def test_fisher_refuses_impossible_counts(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no proportions"):
        fisher_greater(*counts)


def test_fisher_refuses_the_honest_no_more_often_than_it_says() -> None:
    """With the same rate on both sides, a level of 5 % is passed in at most 5 % of 2,000 trials."""
    draw = np.random.default_rng(7)
    trials = zip(draw.binomial(500, 0.01, 2000).tolist(), draw.binomial(2000, 0.01, 2000).tolist(), strict=True)
    refused = sum(fisher_greater(a, 500, b, 2000) < 0.05 for a, b in trials)
    assert 20 < refused < 100


@pytest.mark.parametrize(("lost", "won", "chance"), [(0, 0, 1.0), (0, 9, 1.0), (10, 0, 2**-10), (9, 1, 11 * 2**-10)])
def test_mcnemar_by_hand(lost: int, won: int, chance: float) -> None:
    assert mcnemar_worse(lost, won) == pytest.approx(chance)


def test_mcnemar_is_the_binomial_test() -> None:
    expected = scipy.stats.binomtest(73, 73 + 31, 0.5, alternative="greater").pvalue
    assert mcnemar_worse(73, 31) == pytest.approx(expected)


def test_mcnemar_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="no counts"):
        mcnemar_worse(-1, 3)


def test_mean_lower_bound_agrees_with_the_printed_table() -> None:
    """t of 95 % with four degrees of freedom is 2.132; the mean is 3 and its standard error 0.7071."""
    assert mean_lower_bound([1, 2, 3, 4, 5]) == pytest.approx(3 - 2.132 * 0.7071, abs=1e-3)
    assert mean_lower_bound([1, 2, 3, 4, 5], confidence=0.99) < mean_lower_bound([1, 2, 3, 4, 5])


def test_mean_lower_bound_holds_as_often_as_it_says() -> None:
    samples = np.random.default_rng(3).normal(0.1, 2.0, (2000, 12))
    below = sum(mean_lower_bound(sample.tolist()) <= 0.1 for sample in samples)
    assert 0.935 < below / 2000 < 0.965


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_mean_of_less_than_two_has_no_bound(values: list[float]) -> None:
    with pytest.raises(ValueError, match="no spread"):
        mean_lower_bound(values)


def test_values_without_spread_are_their_own_bound() -> None:
    assert mean_lower_bound([0.25, 0.25, 0.25]) == 0.25


def test_wilson_agrees_with_scipy() -> None:
    expected = scipy.stats.binomtest(38228, 50000).proportion_ci(0.95, method="wilson")
    assert wilson_interval(38228, 50000) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("share", "total"), [(0.93, 10_000), (0.9, 1000), (0.7, 500)])
def test_wilson_covers_the_truth(share: float, total: int) -> None:
    found = [wilson_interval(int(count), total) for count in np.random.default_rng(7).binomial(total, share, 1000)]
    assert 930 <= sum(low <= share <= high for low, high in found) <= 970


def test_wilson_stays_within_0_and_1() -> None:
    for total in (1, 2, 10, 9_999):
        none, every = wilson_interval(0, total), wilson_interval(total, total)
        assert none[0] == 0.0 < none[1] <= 1.0
        assert 0.0 <= every[0] < 1.0 == every[1]


@pytest.mark.parametrize("counts", [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(*counts)


@pytest.mark.parametrize("name", ["common.statistics", "common.flags", "scenarios.harness.early_stopping"])
def test_scipy_is_not_imported_before_it_is_needed(name: str) -> None:
    check = f"import sys, {name}; sys.exit(any(module.startswith('scipy') for module in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # The places of the limits, from the tables of the sign test (Conover, Practical Nonparametric Statistics).
    [(6, 1, 6), (10, 2, 9), (20, 6, 15), (100, 40, 61)],
)
def test_the_interval_of_a_median_is_of_order_statistics(count: int, low: int, high: int) -> None:
    assert median_interval([float(value) for value in range(count, 0, -1)]) == (low, high)


def test_too_few_values_have_no_interval_of_a_median() -> None:
    with pytest.raises(ValueError, match="5 values are too few"):
        median_interval([1.0] * 5)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    samples = draw.exponential(1.0, (2000, 20))
    covered = np.mean([low <= np.log(2) <= high for low, high in (median_interval(list(row)) for row in samples)])
    assert covered >= 0.95


@pytest.mark.parametrize("counts", [(0, 0), (3, 3), (10, 2), (2, 10), (100, 60)])
def test_mcnemar_of_two_sides_is_scipys_binomial_test(counts: tuple[int, int]) -> None:
    expected = scipy.stats.binomtest(counts[0], sum(counts), 0.5).pvalue if sum(counts) else 1.0
    assert mcnemar_exact(*counts) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="no counts"):
        mcnemar_exact(-1, 2)


def test_a_paired_difference_without_correlation_is_newcombes_of_independent_samples() -> None:
    """Where phi is 0, method 10 is the square-and-add of two score intervals (method 10 of the unpaired paper)."""
    low, high = paired_difference_interval(25, 25, 25, 25)
    one = wilson_interval(50, 100)
    width = np.hypot(0.5 - one[0], one[1] - 0.5)
    assert (low, high) == pytest.approx((-width, width))


def test_what_both_have_right_narrows_a_paired_interval() -> None:
    paired = paired_difference_interval(9000, 60, 40, 900)
    unpaired = np.hypot(*(0.0196 * np.sqrt(p * (1 - p)) for p in (0.906, 0.904)))
    assert paired[0] < -0.002 < paired[1]
    assert paired[1] - paired[0] < 0.35 * 2 * unpaired
    # The other way round it is the mirror image.
    mirrored = paired_difference_interval(9000, 40, 60, 900)
    assert mirrored == pytest.approx((-paired[1], -paired[0]))


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (1, -1, 0, 0)])
def test_no_paired_samples_have_no_interval(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no counts of samples"):
        paired_difference_interval(*counts)


@pytest.mark.parametrize(
    ("cells", "total"),
    [((0.90, 0.012, 0.008, 0.08), 10_000), ((0.93, 0.003, 0.001, 0.066), 1000), ((0.6, 0.2, 0.1, 0.1), 100)],
)
def test_a_paired_interval_covers_the_truth(cells: tuple[float, ...], total: int) -> None:
    truth, inside = cells[2] - cells[1], 0
    for counts in np.random.default_rng(5).multinomial(total, cells, 1000).tolist():
        low, high = paired_difference_interval(*counts)
        inside += low <= truth <= high
    # Counts are discrete: it covers more rather than less.
    assert inside >= 930, inside


@pytest.mark.parametrize(
    ("cells", "total"),
    [
        ((0.90, 0.012, 0.008, 0.08), 10_000),
        ((0.93, 0.003, 0.004, 0.063), 1000),
        ((0.6, 0.2, 0.1, 0.1), 200),
        # One or two samples, or hardly any, on which the two differ: it covers more, as counts are discrete.
        ((0.93, 0.0001, 0.0001, 0.0698), 10_000),
        ((0.93, 0.0002, 0.0001, 0.0697), 10_000),
        ((0.93, 0.00001, 0.00001, 0.06998), 10_000),
    ],
)
def test_a_paired_ratio_covers_the_truth(cells: tuple[float, ...], total: int) -> None:
    """Of errors: what the first alone has right the second has wrong."""
    truth, inside = (cells[3] + cells[1]) / (cells[3] + cells[2]), 0
    for _, first_right, second_right, neither in np.random.default_rng(6).multinomial(total, cells, 1000).tolist():
        low, high = paired_ratio_interval(neither, second_right, first_right)
        inside += low <= truth <= high
    assert inside >= 930, inside


def test_without_a_difference_a_paired_ratio_is_not_certain() -> None:
    low, high = paired_ratio_interval(681, 0, 0)
    assert 0.99 < low < 1 < high < 1.01


@pytest.mark.parametrize("counts", [(0, 0, 3), (0, 3, 0), (1, -1, 2)])
def test_nothing_has_no_ratio(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="have no ratio"):
        paired_ratio_interval(*counts)


def test_the_normal_quantile_is_the_one_in_every_table() -> None:
    assert normal_quantile(0.975) == pytest.approx(1.959963984540054, abs=1e-12)


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.11, 0.07, 0.16, 0.09, 0.13]
    expected = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    with pytest.raises(ValueError, match="no spread"):
        mean_interval([1.0])


def test_the_interval_of_a_mean_in_two_stages_is_steins() -> None:
    values = [0.11, 0.07, 0.16, 0.09, 0.13, 0.12]
    half = scipy.stats.t.ppf(0.975, 3) * np.std(values[:4], ddof=1) / np.sqrt(6)
    assert two_stage_interval(values, 4) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert two_stage_interval(values, 6) == pytest.approx(mean_interval(values))
    needed = two_stage_count(values[:4], half)
    assert needed == 6 and two_stage_count(values[:4], 1.0) == 4
    for first in (1, 7):
        with pytest.raises(ValueError, match="no spread"):
            two_stage_interval(values, first)


@pytest.mark.parametrize("blocks", [2, 4, 8])
def test_the_interval_of_a_mean_covers_what_it_says(blocks: int) -> None:
    """Of 1,000 studies at least 930 and at most 970 have the truth within: a few blocks are enough for that."""
    drawn = np.random.default_rng(11).normal(0.3, 0.05, (1000, blocks))
    covered = sum(low <= 0.3 <= high for low, high in (mean_interval(list(one)) for one in drawn))
    assert 930 <= covered <= 970


def test_holm_agrees_with_an_example_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_seldom_finds_anything_where_there_is_nothing() -> None:
    drawn = np.random.default_rng(12).uniform(size=(1000, 20))
    assert sum(min(holm(list(one))) <= 0.05 for one in drawn) <= 70
