"""Goodput that asks for correctness: right answers within the latency limit, a second, of the performance run itself.

A throughput counts answers, whatever they are and however late. This is what a user has of it: the rate until the last
completion, times the share of queries within the limit, times the share of right ones among the answers that LoadGen
logged. It is told beside the figure that counts, and decides nothing.
"""

from typing import NamedTuple

import numpy as np

from common.errors import TandemError
from common.statistics import wilson_interval
from suite.evidence import Evidence
from suite.law.base import Facts, whole


class Goodput(NamedTuple):
    """Right answers in time a second; what it is made of: the right ones of those sampled, and the share in time.

    `low_95` and `high_95` are the ends of its interval as far as sampling makes it wide (Wilson).
    """

    per_s: float
    low_95: float
    high_95: float
    right: int
    sampled: int
    in_time: float


def goodput_of(run: Evidence, facts: Facts) -> Goodput | None:
    """Returns the goodput of a performance run, None where its log, its answers or its timeline do not tell it."""
    try:
        return _goodput(run, facts)
    except (TandemError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError):
        # Evidence is not trusted to be well formed; the rules say what is wrong with it.
        return None


def _goodput(run: Evidence, facts: Facts) -> Goodput | None:
    answers, seen, in_time = run.answers, run.timeline, _in_time(run)
    if answers is None or seen is None or seen.problem or in_time is None or not len(answers.indices):
        return None
    if answers.indices.min() < 0 or answers.indices.max() >= facts.total:
        return None
    right = int(np.count_nonzero(facts.judge.right(answers.decode(facts.payload_dtype), facts.truth[answers.indices])))
    sampled, rate = len(answers.indices), seen.throughput * in_time
    low, high = wilson_interval(right, sampled)
    return Goodput(rate * right / sampled, rate * low, rate * high, right, sampled, in_time)


def _in_time(run: Evidence) -> float | None:
    """Returns the share of queries within the limit by LoadGen's count; all where there is no limit."""
    if run.scenario != "server":
        return 1.0
    if run.result is None:
        return None
    late, queries = (whole(run.result.number(f"result_{kind}query_count")) for kind in ("overlatency_", ""))
    return None if late is None or not queries or late > queries else 1 - late / queries
