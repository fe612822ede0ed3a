"""not from memory: answering one sample again and again is not faster than answering what was never seen.

In the spirit of MLPerf's TEST04, which allows the same factor. The probe runs twice: as a part of the preparation, and
after the test in the test's own process, with LoadGen loaded and the same sessions. The figure itself is held against
what unseen inputs took there.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from scenarios.harness.logs import finite
from suite.evidence import lookup
from suite.law.base import Check, Pair, judged, whole
from suite.law.drain import counted_of

NAME = "not-from-memory"

MOST_RATIO = 1.10
# Fewer pairs give a 95 % bound that anything passes.
LEAST_PAIRS = 5
# One session alone is never slower than one of several; what it took just after the test may lie so far from what it
# took in the test, on a machine that others use too.
MOST_APART = 2.0

STREAMS = frozenset({"single-stream", "multi-stream"})


class Probe(NamedTuple):
    """A repeat probe: where, how much faster repeated samples ran, its 95 % lower bound, and a batch of unseen ones."""

    where: str
    ratio: float
    low: float
    novel_s: float


def check(pair: Pair) -> Check:
    """Judges both repeat probes of the performance run, and its figure by the second."""
    places = {
        "at preparation": lookup(pair.performance.preparation, "repeat_probe"),
        "after the test": pair.performance.probe_after,
    }
    probes = [_probe(where, found) for where, found in places.items()]
    known = [probe for probe in probes if isinstance(probe, Probe)]
    if len(known) < len(probes):
        return judged(NAME, [fault for fault in probes if isinstance(fault, str)], "")
    worst = max(known, key=lambda probe: probe.low)
    said = (
        f"{worst.where} one repeated sample runs {worst.ratio:.2f} times as fast as unseen ones "
        f"(at least {worst.low:.2f} with 95 %), allowed {MOST_RATIO:.2f}"
    )
    faults = [said] if worst.low > MOST_RATIO else []
    return judged(NAME, [*faults, *_figure(pair, known[-1])], said)


def _probe(where: str, found: Any) -> Probe | str:
    """Returns what a probe found, or in a sentence why it says nothing."""
    ratio, low = finite(lookup(found, "ratio")), finite(lookup(found, "ratio_low_95"))
    pairs, novel_ms = whole(lookup(found, "pairs")), finite(lookup(found, "novel_batch_ms"))
    if ratio is None or low is None or pairs is None or not 0 < low <= ratio:
        return f"there is no repeat probe {where} with pairs, ratio and its lower bound"
    if novel_ms is None or novel_ms <= 0:
        return f"the repeat probe {where} does not say how long a batch of unseen inputs takes"
    if pairs < LEAST_PAIRS:
        return f"the repeat probe {where} has {pairs} pairs, not {LEAST_PAIRS}"
    return Probe(where, ratio, low, novel_ms / 1000)


def _figure(pair: Pair, probe: Probe) -> Iterator[str]:
    """Yields where the figure is beyond what unseen inputs reach; a Server's load says nothing of that."""
    run, rules = pair.performance, pair.load_rules(pair.performance)
    batch, sessions = (whole(run.get("serving", key)) for key in ("batch", "sessions"))
    if not batch or not sessions:
        yield "its record does not say in which batches, and with how many sessions, it was served"
    elif run.scenario == "offline":
        yield from _throughput(pair, sessions * batch / probe.novel_s)
    elif run.scenario in STREAMS and rules is not None:
        yield from _latency(pair, probe.novel_s * rules.samples_per_query / batch)


def _throughput(pair: Pair, unseen: float) -> Iterator[str]:
    """Yields a throughput, in samples/s, too far above that of unseen inputs."""
    counted = counted_of(pair.performance)
    if counted is None:
        yield "its throughput, to be held against that of unseen inputs, is not known"
    elif counted.value > MOST_APART * unseen:
        yield (
            f"throughput {counted.value:,.1f} samples/s is {counted.value / unseen:.1f} times what unseen inputs "
            f"reach in the same process ({unseen:,.1f}), allowed {MOST_APART:g}"
        )


def _latency(pair: Pair, unseen_s: float) -> Iterator[str]:
    """Yields a median latency too far below the seconds that a query of unseen inputs takes."""
    result = pair.performance.result
    median = None if result is None else result.percentiles_ns.get(0.5)
    if not median or median < 0:
        yield "its median latency, to be held against that of unseen inputs, is not known"
    elif median / 1e9 < unseen_s / MOST_APART:
        yield (
            f"the median latency of a query, {median / 1e6:.3f} ms, is {unseen_s * 1e9 / median:.1f} times below what "
            f"unseen inputs take in the same process ({unseen_s * 1e3:.3f} ms), allowed {MOST_APART:g}"
        )
