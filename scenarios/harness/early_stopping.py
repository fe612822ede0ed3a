"""LoadGen's early stopping: how many queries a percentile needs before it can be believed.

The rule (MLPerf inference rules, "early stopping"; loadgen/early_stopping.cc): let t of n queries be over the limit.
The hypothesis that a share of 1 - p or more of all queries is over it is rejected, so the percentile p holds, at
confidence c, where P(X <= t) < 1 - c for X ~ Binomial(n, 1 - p).

Server gives t, those over its limit, and is judged. Single-stream and multi-stream have no limit: their estimate of
the percentile is the t-th highest latency, with the largest t of at least 1 that passes.
"""

from bisect import bisect_left

# LoadGen's own, which no setting changes.
CONFIDENCE = 0.99


def met(queries: int, overlatency: int, percentile: float) -> bool:
    """Returns whether `queries` with `overlatency` of them over the limit show that `percentile` (0 to 1) holds."""
    from scipy.special import bdtr

    if not 0 <= overlatency <= queries:
        raise ValueError(f"{overlatency} of {queries} queries cannot be over the limit")
    return bool(bdtr(overlatency, queries, 1 - percentile) < 1 - CONFIDENCE)


def min_queries(percentile: float, overlatency: int = 0) -> int:
    """Returns the least number of queries that passes with `overlatency` of them over the limit."""
    if not 0 < percentile < 1:
        raise ValueError(f"{percentile} is no percentile as a fraction between 0 and 1")
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
