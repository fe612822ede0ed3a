"""Finds, by short probes, how to serve a variant here and what to tell LoadGen; never part of a measured run."""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from scenarios.base import Session, callers
from suite import placement
from suite.awake import AUTO, ON, awake, possible
from suite.placement import pinned
from suite.probes import speed
from suite.resources import usable_cores
from suite.subject import Subject
from suite.variant import Requested, Serving

BATCHES = (16, 32, 64, 128, 256)
PROBE_S = 0.2
HINT_S = 0.7
# Where a batch takes longer than this, no larger one is tried: it would gain nothing, and take minutes to find out.
LONGEST_BATCH_S = 1.0

# Of what is measured. Offline: LoadGen sends 1.1 times as much as it expects, so a run that turns out half as fast
# again as the probe, on a machine that was busy then, is still long enough. Streams: LoadGen generates queries for
# twice the expected speed.
OFFLINE_MARGIN = 1.4
STREAM_MARGIN = 0.75

# A batch may take this part of the Server limit: a query waits for the batch before its own, then for its own, and some
# room is left.
SERVER_BATCH_SHARE = 1 / 3
# Where a batch of the least size takes longer, smaller ones are tried; where none is so quick, those within this factor
# of the quickest are taken for as quick.
AS_QUICK = 1.25
# Of those that Server may use, this part of the highest throughput is as good as it. The most sessions are best then:
# what disturbs a core stops one of them and not all. Next the largest batch: a queue is cleared the faster the less
# often a batch is begun, and a batch is only large where a queue has built up.
AS_FAST = 0.9
# A machine that others use too has phases of some tenths of a second in which it is slow, and one would change what
# Server may use. So each serving is asked in so many rounds.
SERVER_ROUNDS = 2
# Elsewhere the fastest of the two fastest layouts are asked again in turn, so many times and for so many times as long,
# and the higher median wins: a longer phase would hide a layout. What is HOPELESS times as slow is not asked, and no
# round begins after AGAIN_S.
AGAIN, AGAIN_LONGER, AGAIN_S = 5, 2, 20.0
HOPELESS = 2.0

# Where nobody says how much load Server is to hold, a probe of a second must keep this part of the limit; what does
# not is cut, so often at most.
SERVER_LATENCY_SHARE = 0.6
SERVER_CUT = 0.7
SERVER_CUTS = 6
SERVER_PROBE_S = 1.0


@dataclass(frozen=True)
class Terms:
    """What the scenario asks of serving; `inline` where LoadGen's own thread answers."""

    scenario: str
    samples_per_query: int
    target_latency_ms: float | None
    load_fraction: float | None
    inline: bool


@contextlib.contextmanager
def loaded(subject: Subject, serving: Serving) -> Iterator[list[Session]]:
    """Yields the sessions of a serving, warmed up, and closes them; the caller keeps to all their cores meanwhile."""
    with awake(serving.awake), pinned(serving.pin):
        sessions = subject.load(serving)
        try:
            yield sessions
        finally:
            for session in sessions:
                session.close()


def resolve(subject: Subject, requested: Requested, terms: Terms) -> tuple[Serving, list[dict[str, Any]]]:
    """Returns the serving, with every `auto` decided, and the probes that decided it, of some servings several."""
    tried = sweep(subject, requested, terms)
    again = [] if limit_ms(terms) else list(_again(subject, _rivals(tried), terms))
    return Serving(**(_steadiest(again) if again else _best(tried, terms))["serving"]), [*tried, *again]


def sweep(
    subject: Subject,
    requested: Requested,
    terms: Terms,
    *,
    batches: Sequence[int] = BATCHES,
    deadline: float = math.inf,
    probe_s: float | None = None,
) -> list[dict[str, Any]]:
    """Returns a probe of each serving that may be meant, in Server several.

    Each layout has an equal share of the time until the deadline, and is asked once at least; each probe takes
    `probe_s`, or PROBE_S.
    """
    started = time.perf_counter()
    device = subject.device(requested.device)
    batches = _batches(requested, terms, batches)
    pin = placement.cores_of(requested.pin)
    tried: list[dict[str, Any]] = []
    layouts = _layouts(requested, inline=terms.inline)
    if limit_ms(terms) and len(layouts) * len(batches) > 1:
        layouts = layouts * SERVER_ROUNDS
    for number, (sessions, threads) in enumerate(layouts, 1):
        until = started + (deadline - started) * number / len(layouts)
        layout = Serving(
            batches[0],
            requested.max_wait_us or 0,
            sessions,
            threads,
            device,
            prefetch=requested.prefetch or 0,
            pin=pin,
            end_to_end=requested.end_to_end,
            awake=_awake(requested, terms),
        )
        with loaded(subject, layout) as ready:
            tried += _sizes(subject, ready, layout, batches, terms, until, probe_s or PROBE_S)
    return tried


def as_requested(serving: Serving, requested: Requested, *, inline: bool) -> Serving:
    """Returns a serving that was found for another variant with what is requested of this one in its place.

    Whether cores are kept awake, and what is measured end to end, stays as it was there.
    """
    batch, sessions, threads = requested.batch or serving.batch, serving.sessions, serving.threads
    if inline:
        batch, threads = min(batch, serving.batch), requested.threads or threads
    elif requested.sessions or requested.threads:
        sessions, threads = _layouts(requested, inline=False)[0]
    return replace(
        serving,
        batch=batch,
        sessions=sessions,
        threads=threads,
        max_wait_us=serving.max_wait_us if requested.max_wait_us is None else requested.max_wait_us,
        prefetch=serving.prefetch if requested.prefetch is None else requested.prefetch,
        pin=serving.pin if requested.pin == placement.AUTO else placement.cores_of(requested.pin),
    )


def _awake(requested: Requested, terms: Terms) -> bool:
    """Returns whether the cores are kept awake: elsewhere than in Server they have no time to halt."""
    if requested.awake == AUTO:
        return terms.scenario == "server" and possible()
    return requested.awake == ON


def _sizes(
    subject: Subject,
    ready: list[Session],
    layout: Serving,
    batches: Sequence[int],
    terms: Terms,
    until: float,
    probe_s: float,
) -> Iterator[dict[str, Any]]:
    """Yields a probe of each size of batch, up to one that takes too long; Server's smaller ones where none fits."""
    limit = limit_ms(terms)
    # Batches that take longer than all of Server's limit cannot be meant for it.
    longest_ms = 1000 * LONGEST_BATCH_S if limit is None else min(1000 * LONGEST_BATCH_S, limit)

    def asked(batch: int) -> dict[str, Any]:
        subject.warm_up(ready, [batch], layout.pin)
        return _asked(subject, ready, replace(layout, batch=batch), terms, probe_s)

    least = found = asked(batches[0])
    yield least
    for batch in batches[1:]:
        if found["batch_ms"] > longest_ms or time.perf_counter() > until:
            break
        yield (found := asked(batch))
    batch = batches[0]
    while limit and len(batches) > 1 and batch > 1 and least["batch_ms"] > SERVER_BATCH_SHARE * limit:
        batch //= 2
        yield (least := asked(batch))


def _asked(
    subject: Subject,
    ready: list[Session],
    serving: Serving,
    terms: Terms,
    probe_s: float,
    known: float | None = None,
) -> dict[str, Any]:
    """Returns a probe of a serving, of which it may be known how fast it is."""
    rate, batch_s = _probe(subject, ready, serving, terms, probe_s, known)
    return {"serving": asdict(serving), "samples_per_s": rate, "batch_ms": batch_s * 1000}


def _again(subject: Subject, rivals: list[dict[str, Any]], terms: Terms) -> Iterator[dict[str, Any]]:
    """Yields longer probes of what was found to be the fastest, in turn, in whole rounds."""
    started = time.perf_counter()
    for number in range(AGAIN if rivals else 0):
        if number and time.perf_counter() - started > AGAIN_S:
            break
        for one in rivals:
            serving = Serving(**one["serving"])
            with loaded(subject, serving) as ready:
                yield _asked(subject, ready, serving, terms, AGAIN_LONGER * PROBE_S, one["samples_per_s"])


def _steadiest(again: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a probe of the serving whose median is the highest."""

    def usual(serving: dict[str, Any]) -> float:
        return median(float(one["samples_per_s"]) for one in again if one["serving"] == serving)

    return max(again, key=lambda one: usual(one["serving"]))


def _rivals(tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the fastest probes of the two fastest layouts; none where one of them is without hope."""
    best: dict[tuple[int, int], dict[str, Any]] = {}
    for one in sorted(tried, key=lambda one: float(one["samples_per_s"])):
        best[one["serving"]["sessions"], one["serving"]["threads"]] = one
    first, *others = sorted(best.values(), key=lambda one: -float(one["samples_per_s"]))
    return [first, *others[:1]] if others and HOPELESS * others[0]["samples_per_s"] > first["samples_per_s"] else []


def best_of_each(tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the fastest probe of each serving: what disturbs a machine can only slow it."""
    best: dict[str, dict[str, Any]] = {}
    for one in sorted(tried, key=lambda one: float(one["samples_per_s"])):
        best[str(one["serving"])] = one
    return list(best.values())


def _best(tried: list[dict[str, Any]], terms: Terms) -> dict[str, Any]:
    may = allowed(best_of_each(tried), terms)
    fastest = max(may, key=lambda one: float(one["samples_per_s"]))
    if limit_ms(terms) is None:
        return fastest
    as_fast = [one for one in may if one["samples_per_s"] >= AS_FAST * fastest["samples_per_s"]]
    return max(as_fast, key=lambda one: (one["serving"]["sessions"], one["serving"]["batch"]))


def limit_ms(terms: Terms) -> float | None:
    """Returns Server's latency limit, None in any other scenario."""
    return terms.target_latency_ms if terms.scenario == "server" else None


def allowed(tried: list[dict[str, Any]], terms: Terms) -> list[dict[str, Any]]:
    """Returns all; in Server those whose batch leaves room within the limit, or is about the quickest."""
    limit = limit_ms(terms)
    if limit is None:
        return tried
    quickest_ms = min(float(one["batch_ms"]) for one in tried)
    longest_ms = max(SERVER_BATCH_SHARE * limit, AS_QUICK * quickest_ms)
    return [one for one in tried if one["batch_ms"] <= longest_ms]


def _layouts(requested: Requested, *, inline: bool) -> list[tuple[int, int]]:
    """Returns (sessions, threads) to try: one thread each, one session with all, and the powers of two between.

    In a stream there is one session.
    """
    pin = placement.cores_of(requested.pin)
    cores = min(usable_cores(), len(pin)) if pin else usable_cores()
    if inline:
        return [(1, threads) for threads in ([requested.threads] if requested.threads else _powers(cores))]
    if requested.sessions:
        return [(requested.sessions, requested.threads or max(1, cores // requested.sessions))]
    if requested.threads:
        return [(max(1, cores // requested.threads), requested.threads)]
    # Of those that leave room for as many sessions, the one with the most threads.
    return sorted({cores // threads: threads for threads in _powers(cores)}.items())


def _powers(cores: int) -> list[int]:
    return sorted({cores, *(2**power for power in range(cores.bit_length()))})


def _batches(requested: Requested, terms: Terms, batches: Sequence[int]) -> Sequence[int]:
    if terms.inline:
        return (min(requested.batch or terms.samples_per_query, terms.samples_per_query),)
    return (requested.batch,) if requested.batch else batches


def _probe(
    subject: Subject,
    sessions: list[Session],
    serving: Serving,
    terms: Terms,
    seconds: float,
    known: float | None,
) -> tuple[float, float]:
    """Returns samples a second, and the seconds that one batch takes while all sessions are busy."""
    if terms.inline:
        latency = speed.query_latency(subject, sessions, serving.batch, terms.samples_per_query, seconds)
        return terms.samples_per_query / latency, latency
    rate = speed.throughput(subject, sessions, serving, seconds, known)
    return rate, serving.batch * sum(map(callers, sessions)) / rate


def hint(subject: Subject, sessions: list[Session], serving: Serving, terms: Terms) -> dict[str, float]:
    """Returns what was measured and the hint made of it, in the scenario's own unit."""
    if terms.inline:
        latency = speed.query_latency(subject, sessions, serving.batch, terms.samples_per_query, HINT_S)
        return {"measured_latency_ns": latency * 1e9, "value": latency * 1e9 * STREAM_MARGIN}
    rate = speed.throughput(subject, sessions, serving, HINT_S)
    if terms.load_fraction is None or terms.target_latency_ms is None:
        return {"measured_samples_per_s": rate, "value": rate * OFFLINE_MARGIN}
    return {"measured_samples_per_s": rate, **_load_held(subject, sessions, serving, rate * terms.load_fraction, terms)}


def _load_held(
    subject: Subject, sessions: list[Session], serving: Serving, load: float, terms: Terms
) -> dict[str, float]:
    """Returns the load asked for, or as much less as keeps the latency of a probe well within the limit."""
    assert terms.target_latency_ms is not None
    allowed_ms = SERVER_LATENCY_SHARE * terms.target_latency_ms
    for cuts in range(SERVER_CUTS + 1):
        latency_ms = _arrival_latency_ms(subject, sessions, serving, load, terms.target_latency_ms)
        if latency_ms <= allowed_ms or cuts == SERVER_CUTS:
            break
        load *= SERVER_CUT
    return {"value": load, "probed_p99_ms": latency_ms}


def _arrival_latency_ms(
    subject: Subject, sessions: list[Session], serving: Serving, load: float, limit: float
) -> float:
    """Returns the p99 of a probe, or the lower one of two where the first is too high: one stall can spoil a probe."""
    found = math.inf
    for _ in range(2):
        found = min(found, 1000 * speed.arrival_latency(subject, sessions, serving, load, SERVER_PROBE_S, limit))
        if found <= SERVER_LATENCY_SHARE * limit:
            break
    return found
