"""drain: a throughput is over the time until the last completion, however LoadGen computes its own."""

from typing import NamedTuple

from scenarios.harness import logs
from scenarios.harness.logs import RunResult
from scenarios.harness.timeline import Timeline
from suite.evidence import Evidence
from suite.law.base import Check, Pair

NAME = "drain"

THROUGHPUTS = frozenset({"server", "offline"})

# As far as both figures may lie apart before the lower one counts.
TOLERANCE = 0.02


class Counted(NamedTuple):
    """The figure that counts, with its unit and label; LoadGen's own, and the timeline's where it is a throughput."""

    value: float
    unit: str
    label: str
    loadgen: float
    timeline: float | None


def check(pair: Pair) -> Check:
    """Judges whether the figure that counts can be known, and says both where they lie apart."""
    counted = counted_of(pair.performance)
    if counted is None:
        return Check(NAME, False, "the timeline or LoadGen's log cannot be read, or holds no figure")
    if counted.timeline is None:
        return Check(NAME, True, f"the metric of {pair.performance.scenario} is a latency")
    said = f"LoadGen {counted.loadgen:,.1f}, until the last completion {counted.timeline:,.1f} {counted.unit}"
    apart = _apart(counted.loadgen, counted.timeline)
    return Check(NAME, True, f"{said}: {'more than 2 % apart, the lower counts' if apart else 'within 2 %'}")


def counted_of(run: Evidence) -> Counted | None:
    """Returns the figure of a performance run that counts, or None where it cannot be known."""
    return counted(run.scenario, run.result, run.timeline)


def counted(scenario: str, result: RunResult | None, seen: Timeline | None) -> Counted | None:
    """Returns the figure of a run's log and timeline that counts, or None where it cannot be known."""
    if result is None or seen is None or seen.problem:
        return None
    try:
        value, unit, label = logs.headline(result)
    except logs.LogError:
        return None
    if scenario not in THROUGHPUTS:
        return Counted(value, unit, label, value, None)
    timeline = seen.throughput
    return Counted(min(value, timeline) if _apart(value, timeline) else value, unit, label, value, timeline)


def _apart(loadgen: float, timeline: float) -> bool:
    return abs(loadgen - timeline) > TOLERANCE * loadgen
