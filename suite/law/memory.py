"""not from memory: answering one sample again and again is not faster than answering what was never seen.

In the spirit of MLPerf's TEST04, which allows the same factor. The probe is part of the preparation.
"""

from scenarios.harness.logs import finite
from suite.evidence import lookup
from suite.law.base import Check, Pair, whole

NAME = "not-from-memory"

MOST_RATIO = 1.10
# Fewer pairs give a 95 % bound that anything passes.
LEAST_PAIRS = 5


def check(pair: Pair) -> Check:
    """Judges the repeat probe that the performance run relies on."""
    probe = lookup(pair.performance.preparation, "repeat_probe")
    ratio, low = finite(lookup(probe, "ratio")), finite(lookup(probe, "ratio_low_95"))
    pairs = whole(lookup(probe, "pairs"))
    if ratio is None or low is None or pairs is None or not 0 < low <= ratio:
        return Check(NAME, False, "the preparation holds no repeat probe with pairs, ratio and its lower bound")
    if pairs < LEAST_PAIRS:
        return Check(NAME, False, f"the repeat probe has {pairs} pairs, not {LEAST_PAIRS}")
    said = f"one repeated sample runs {ratio:.2f} times as fast as unseen ones (at least {low:.2f} with 95 %)"
    return Check(NAME, low <= MOST_RATIO, f"{said}, allowed {MOST_RATIO:.2f}")
