"""Intervals and exact tests, each with its source."""

from math import sqrt


def wilson_interval(successes: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Returns the score interval of a proportion (Wilson, JASA 1927); z is 1.96 for 95 %; raises ValueError if empty."""
    if not 0 <= successes <= total or total == 0:
        raise ValueError(f"{successes} of {total} is no proportion")
    p, shrink = successes / total, z * z / total
    centre = (p + shrink / 2) / (1 + shrink)
    half = z / (1 + shrink) * sqrt(p * (1 - p) / total + shrink / (4 * total))
    return max(0.0, centre - half), min(1.0, centre + half)
