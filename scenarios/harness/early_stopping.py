"""LoadGen's early stopping: how many queries a percentile needs before it can be believed.

The rule (MLPerf inference rules, "early stopping"; loadgen/early_stopping.cc): with t queries over the limit out of
n, the percentile p holds with confidence c when that few would come by chance less often than 1 - c if the share of
queries over the limit were 1 - p: P(X <= t) < 1 - c for X ~ Binomial(n, 1 - p + tolerance).

Server gives t, those over its limit, and is judged. Single-stream and multi-stream have no limit: their estimate of
the percentile is the t-th highest latency, with the largest t of at least 1 that passes.
"""

from bisect import bisect_left

# LoadGen's own, which no setting changes.
CONFIDENCE = 0.99
TOLERANCE = 0.0


def met(
    queries: int, overlatency: int, percentile: float, confidence: float = CONFIDENCE, tolerance: float = TOLERANCE
) -> bool:
    """Returns whether `queries` with `overlatency` of them over the limit show that `percentile` (0 to 1) holds."""
    from scipy.special import bdtr

    if not 0 <= overlatency <= queries:
        raise ValueError(f"{overlatency} of {queries} queries cannot be over the limit")
    return bool(bdtr(overlatency, queries, 1 - percentile + tolerance) < 1 - confidence)


def min_queries(percentile: float, overlatency: int = 0) -> int:
    """Returns the least number of queries that passes with `overlatency` of them over the limit."""
    enough = overlatency + 1
    while not met(enough, overlatency, percentile):
        enough *= 2
    return bisect_left(range(enough), True, lo=overlatency, key=lambda queries: met(queries, overlatency, percentile))


def estimate_index(queries: int, percentile: float) -> int | None:
    """Returns the place, in ascending order, of the latency that is the percentile's estimate; None with too few."""
    if queries < min_queries(percentile, 1):
        return None
    failing = bisect_left(range(queries + 1), True, key=lambda t: not met(queries, t, percentile))
    return queries - (failing - 1)


def discards(queries: int, percentile: float) -> int | None:
    """Returns how many of the highest latencies the estimate leaves out; None with too few queries for any."""
    index = estimate_index(queries, percentile)
    return None if index is None else queries - 1 - index
