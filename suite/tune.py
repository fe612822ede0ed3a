"""Tuning: the likeliest servings raced against one another for a given time, never as a part of a measured run.

The search asks each serving once, for a moment; on a machine that others use too its pick may be some per cent off.
Here the best of them, and what the search never tries, are asked again and again in turn, so that what disturbs the
machine disturbs all alike. After a few rounds the slower half leaves, until two are left or the time is over.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from suite import awake, search
from suite.placement import AUTO, usable
from suite.probes import speed
from suite.search import Terms, loaded
from suite.subject import Subject
from suite.variant import Requested, Serving

BATCHES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
WAITS_US = (100, 200, 1000)
FINALISTS = 8
ROUND_S = 0.4
# As many rounds before a half leaves, and in all once two are left.
ROUNDS_A_HALF = 3
ROUNDS_AT_MOST = 30
# A part of the time for asking each serving once.
SEARCH_SHARE = 0.4

# Server: the one with the lowest p99 at this part of the best throughput can be loaded most.
SERVER_LOAD = 0.75
SERVER_ROUND_S = 1.0

Measure = Callable[[Serving], float]


def tune(
    subject: Subject, requested: Requested, terms: Terms, seconds: float
) -> tuple[Serving, list[dict[str, Any]], dict[str, Any]]:
    """Returns the serving that won, all probes, and how it was found, after about `seconds` at most."""
    started = time.perf_counter()
    tried = search.sweep(subject, requested, terms, batches=BATCHES, deadline=started + SEARCH_SHARE * seconds)
    allowed = sorted(search.allowed(search.best_of_each(tried), terms), key=lambda one: -float(one["samples_per_s"]))
    finalists = [Serving(**one["serving"]) for one in allowed[:FINALISTS]]
    contestants = [*finalists, *_variations(finalists[0], requested, terms)]
    measure = _measure(subject, terms, float(allowed[0]["samples_per_s"]))
    rounds = race(contestants, measure, started + seconds)
    winner = _ranked([one for one in contestants if any(one == asked for asked, _ in rounds)], rounds)[0]
    unit = "samples_per_s" if search.limit_ms(terms) is None else "p99_s"
    raced = [{"serving": asdict(serving), unit: abs(value)} for serving, value in rounds]
    return winner, [*tried, *raced], {"asked_s": seconds, "took_s": round(time.perf_counter() - started, 1)}


def race(contestants: Sequence[Serving], measure: Measure, deadline: float) -> list[tuple[Serving, float]]:
    """Returns what was measured, the higher the better, in order; the first contestant once at least.

    In the first round they come as they are given, the likeliest first: time may not be enough for all.
    """
    found: list[tuple[Serving, float]] = []
    left = list(contestants)
    for number in range(1, ROUNDS_AT_MOST + 1):
        for serving in left if number == 1 else random.sample(left, len(left)):
            if found and time.perf_counter() > deadline:
                return found
            found.append((serving, measure(serving)))
        if number % ROUNDS_A_HALF == 0 and len(left) > 2:
            left = _ranked(left, found)[: max(2, len(left) // 2)]
        if len(left) == 1:
            break
    return found


def _ranked(contestants: Sequence[Serving], found: list[tuple[Serving, float]]) -> list[Serving]:
    """Returns those who stayed longest first, the higher median before the lower."""

    def standing(serving: Serving) -> tuple[int, float]:
        values = [value for one, value in found if one == serving]
        return len(values), median(values)

    # A round that the time cut off must not decide: who has one value more is not better for that.
    most = max(standing(serving)[0] for serving in contestants)
    return sorted(contestants, key=lambda one: (standing(one)[0] >= most - 1, standing(one)[1]), reverse=True)


def _variations(best: Serving, requested: Requested, terms: Terms) -> Iterator[Serving]:
    """Yields what the search does not try, of the serving that it found best."""
    if terms.scenario == "offline" and requested.prefetch is None:
        yield replace(best, prefetch=1)
    if requested.pin == AUTO and len(usable()) > 1:
        yield replace(best, pin=usable())
    if requested.awake == awake.AUTO and best.awake:
        yield replace(best, awake=False)
    if terms.scenario == "server" and requested.max_wait_us is None:
        for wait_us in WAITS_US:
            yield replace(best, max_wait_us=wait_us)


def _measure(subject: Subject, terms: Terms, throughput: float) -> Measure:
    """Returns how a serving is measured, the higher the better: samples/s, or in Server the p99 below zero."""
    limit = search.limit_ms(terms)

    def measure(serving: Serving) -> float:
        with loaded(subject, serving) as sessions:
            if limit is not None:
                load = SERVER_LOAD * throughput
                return -speed.arrival_latency(subject, sessions, serving, load, SERVER_ROUND_S, limit)
            if terms.inline:
                return terms.samples_per_query / speed.query_latency(
                    subject, sessions, serving.batch, terms.samples_per_query, ROUND_S
                )
            return speed.throughput(subject, sessions, serving, ROUND_S)

    return measure
