"""Intervals and exact tests, each with its source.

scipy is imported where it is used, and only its special functions: its statistics package alone takes a second.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Any


def wilson_interval(successes: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Returns the score interval of a proportion (Wilson, JASA 1927); 95 % by default; raises ValueError if empty."""
    if not 0 <= successes <= total or total == 0:
        raise ValueError(f"{successes} of {total} is no proportion")
    p, shrink = successes / total, z * z / total
    centre = (p + shrink / 2) / (1 + shrink)
    half = z / (1 + shrink) * sqrt(p * (1 - p) / total + shrink / (4 * total))
    # At its ends the interval reaches 0 and 1, which rounding may miss.
    return (centre - half if successes else 0.0), (centre + half if successes < total else 1.0)


def fisher_greater(differences_a: int, n_a: int, differences_b: int, n_b: int) -> float:
    """Returns how likely a's rate exceeds b's by so much by chance: one-sided exact test (Fisher, JRSS 1935).

    It is the chance that, of all differences dealt to n_a and n_b at random, at least `differences_a` fall to a:
    the tail of a hypergeometric distribution. 1.0 where there is nothing to compare; raises ValueError on impossible
    counts.
    """
    import numpy as np
    from scipy.special import gammaln

    if not (0 <= differences_a <= n_a and 0 <= differences_b <= n_b):
        raise ValueError(f"{differences_a} of {n_a} against {differences_b} of {n_b} are no proportions")
    differences = differences_a + differences_b
    if differences_a <= max(0, differences - n_b):
        return 1.0

    def log_ways(n: int, k: Any) -> Any:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    dealt = np.arange(differences_a, min(n_a, differences) + 1)
    log_chance = log_ways(n_a, dealt) + log_ways(n_b, differences - dealt) - log_ways(n_a + n_b, differences)
    return min(1.0, float(np.exp(log_chance).sum()))


def mcnemar_worse(only_reference_right: int, only_variant_right: int) -> float:
    """Returns how likely a variant no worse than the reference loses so often: one-sided exact (McNemar, 1947).

    Of the samples that just one of the two has right, each is as likely the one's as the other's: a binomial tail.
    1.0 where there is none; raises ValueError on a negative count.
    """
    from scipy.special import bdtrc

    if min(only_reference_right, only_variant_right) < 0:
        raise ValueError(f"{only_reference_right} and {only_variant_right} are no counts")
    if only_reference_right == 0:
        return 1.0
    return float(bdtrc(only_reference_right - 1, only_reference_right + only_variant_right, 0.5))


def mcnemar_exact(only_first_right: int, only_second_right: int) -> float:
    """Returns the two-sided exact p-value of a difference between two proportions of the same samples (McNemar, 1947).

    Twice the smaller binomial tail, at most 1; raises ValueError on a negative count.
    """
    from scipy.special import bdtr

    if min(only_first_right, only_second_right) < 0:
        raise ValueError(f"{only_first_right} and {only_second_right} are no counts")
    different = only_first_right + only_second_right
    return min(1.0, 2 * float(bdtr(min(only_first_right, only_second_right), different, 0.5)))


def paired_difference_interval(
    both: int, only_first: int, only_second: int, neither: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Returns the interval of the second proportion minus the first, of the same samples; 95 % by default.

    Square-and-add of two score intervals with their correlation, continuity-corrected: method 10 of Newcombe
    (Statistics in Medicine 17, 1998, 2635-2650). Raises ValueError where there are no samples, or a count is negative.
    """
    total = both + only_first + only_second + neither
    if total == 0 or min(both, only_first, only_second, neither) < 0:
        raise ValueError(f"{both}, {only_first}, {only_second} and {neither} are no counts of samples")
    first, second = (both + only_first) / total, (both + only_second) / total
    low_1, high_1 = wilson_interval(both + only_first, total, z)
    low_2, high_2 = wilson_interval(both + only_second, total, z)
    phi = _correlation(both, only_first, only_second, neither)
    down, up = second - low_2, high_1 - first
    below = sqrt(max(0.0, down**2 - 2 * phi * down * up + up**2))
    up, down = high_2 - second, first - low_1
    above = sqrt(max(0.0, up**2 - 2 * phi * up * down + down**2))
    difference = second - first
    return difference - below, difference + above


def paired_ratio_interval(
    both: int, only_first: int, only_second: int, z: float = 1.959963984540054
) -> tuple[float, float]:
    """Returns the interval of the second count over the first, of the same samples; 95 % by default.

    `both` are counted twice, the others on one side alone; where there are none of these it still has a width. The
    quotient of two score intervals, as much narrower as the counts go together: the hybrid method of Bonett and Price
    (Statistics in Medicine 25, 2006, 3039-3047). Raises ValueError where a side has none.
    """
    first, second, either = both + only_first, both + only_second, both + only_first + only_second
    if min(both, only_first, only_second) < 0 or 0 in (first, second):
        raise ValueError(f"{first} and {second} have no ratio")
    together = sqrt((only_first + only_second + 2) / ((first + 1) * (second + 1)))
    apart = sum(sqrt((1 - (one + 1) / (either + 2)) / (one + 1)) for one in (first, second))
    low_1, high_1 = wilson_interval(first, either, z * together / apart)
    low_2, high_2 = wilson_interval(second, either, z * together / apart)
    return low_2 / high_1, high_2 / low_1


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Returns phi of a table of two by two, a positive numerator lessened by half of the samples; 0 where undefined."""
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if product == 0:
        return 0.0
    numerator = float(both * neither - only_first * only_second)
    if numerator > 0:
        numerator = max(numerator - (both + only_first + only_second + neither) / 2, 0.0)
    return numerator / sqrt(product)


def normal_quantile(probability: float) -> float:
    """Returns the standard normal distribution's quantile."""
    return NormalDist().inv_cdf(probability)


def mean_lower_bound(values: Sequence[float], confidence: float = 0.95) -> float:
    """Returns the one-sided lower bound of a mean (Student, Biometrika 1908); raises ValueError on fewer than two.

    For the bound of a ratio give the logarithms of the ratios, and take the exponential of what comes back.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread to judge by")
    quantile = float(stdtrit(len(values) - 1, confidence))
    return fmean(values) - quantile * stdev(values) / sqrt(len(values))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns the two-sided interval of a mean (Student, Biometrika 1908); raises ValueError on fewer than two values.

    For the interval of a ratio give the logarithms of the ratios, and take the exponential of both ends. Unlike a
    percentile bootstrap it covers what it says of four values too.
    """
    tail = (1 - confidence) / 2
    return mean_lower_bound(values, 1 - tail), -mean_lower_bound([-value for value in values], 1 - tail)


def two_stage_count(first: Sequence[float], half_width: float) -> int:
    """Returns how many values in all make the interval below so narrow on either side, by the first ones' spread."""
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(first) - 1, 0.975))
    return max(len(first), ceil((quantile * stdev(first) / half_width) ** 2))


def two_stage_interval(values: Sequence[float], first: int) -> tuple[float, float]:
    """Returns the 95 % interval of a mean of which the first values decided how many there are.

    Their spread alone makes it wide, with their degrees of freedom: then the number of values does not bias it (Stein,
    Annals of Mathematical Statistics 16, 1945). Where values go on until Student's interval is narrow it covers 91 %
    and not 95 (of 3 to 8 values, simulated). Raises ValueError on fewer than two first values, or fewer than those.
    """
    from scipy.special import stdtrit

    if not 2 <= first <= len(values):
        raise ValueError(f"{len(values)} values, {first} of them first, have no spread to judge by")
    half = float(stdtrit(first - 1, 0.975)) * stdev(values[:first]) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values that hold for all of them together, in their order (Holm, Scand. J. Statist. 6, 1979, 65-70)."""
    found, highest = [0.0] * len(p_values), 0.0
    ranked = sorted(range(len(p_values)), key=lambda number: p_values[number])
    for rank, number in enumerate(ranked):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        found[number] = highest
    return found


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Returns an interval of a median from order statistics, of no distribution in particular (Thompson, AMS 1936).

    The k-th lowest and k-th highest value, with the largest k that leaves at most the rest of the confidence outside:
    of 20 values the 6th and the 15th. Raises ValueError where there are too few values for any such k.
    """
    from scipy.special import bdtr

    count = len(values)
    outside = [k for k in range(1, count // 2 + 1) if 2 * bdtr(k - 1, count, 0.5) <= 1 - confidence]
    if not outside:
        raise ValueError(f"{count} values are too few for an interval of their median")
    ordered = sorted(values)
    return ordered[outside[-1] - 1], ordered[count - outside[-1]]


def unpaired_samples(margin: float, share: float, power: float, confidence: float = 0.95) -> int:
    """Returns how many samples of each of two sets show that, where the sets are not the same samples.

    n = (z + z')^2 2 share (1 - share) / margin^2 (Farrington and Manning, Statistics in Medicine 9, 1990, 1447-1454,
    with no true difference). Raises ValueError on what is no share.
    """
    _check_shares(margin=margin, power=power, confidence=confidence, share=share)
    z = normal_quantile((1 + confidence) / 2) + normal_quantile(power)
    return max(1, ceil(z * z * 2 * share * (1 - share) / margin**2))


def _check_shares(**given: float) -> None:
    for name, value in given.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}, no share between 0 and 1")
