"""The peak: the highest load that Server holds, found by probes between one that was held and one that was not.

A probe tells where to look. The figure itself is of a full run that follows (suite.execute), which steps back where
the peak that the probes promised does not last.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from scenarios.harness import early_stopping

# Of Offline's throughput: what a well-made Server path reaches.
START_SHARE = 0.8
STEP = 1.25
# The bracket is narrow enough where its ends are this near.
PRECISION = 1.02
MOST_PROBES = 24
# One stall of the machine can fail a load that is held otherwise; what has so many times the queries late that are
# allowed has not failed by a stall.
FAR_OFF = 5.0

# A full run that is not valid is followed by one at so much less.
BACK_OFF = (0.97, 0.95, 0.9, 0.85)


@dataclass(frozen=True)
class Probe:
    """What a probe of a load said: see suite.probes.load. Latencies are of the system's own timeline, in ms."""

    qps: float
    held: bool
    decided_by: str
    queries: int
    late: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    seconds: float


@dataclass(frozen=True)
class Peak:
    """The probes in order, the Offline throughput that they began from, and the highest load that one held, if any.

    `bounded` where the number of probes was what ended it.
    """

    offline_samples_per_s: float
    probes: tuple[Probe, ...]
    qps: float | None
    bounded: bool

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values."""
        return asdict(self)


def find(
    offline_samples_per_s: float, probe: Callable[[float], Probe], percentile: float, say: Callable[[Probe], None]
) -> Peak:
    """Returns the peak that probes find: by steps until one load was held and one was not, then by halving the gap."""
    probes: list[Probe] = []

    def held(qps: float) -> bool:
        for _ in range(2):
            found = probe(qps)
            probes.append(found)
            say(found)
            if found.held or _far_off(found, percentile) or len(probes) >= MOST_PROBES:
                break
        return found.held

    low, high = None, None
    load = START_SHARE * offline_samples_per_s
    while len(probes) < MOST_PROBES:
        if held(load):
            low = load
        else:
            high = load
        if low is None or high is None:
            load = load * STEP if high is None else load / STEP
        elif high / low <= PRECISION:
            break
        else:
            load = (low * high) ** 0.5
    bounded = low is None or high is None or high / low > PRECISION
    return Peak(offline_samples_per_s, tuple(probes), low, bounded)


def _far_off(found: Probe, percentile: float) -> bool:
    allowed = (1 - percentile) * max(found.queries, early_stopping.min_queries(percentile))
    return not found.held and found.late > FAR_OFF * allowed


def sentence(found: Probe) -> str:
    """Returns what a probe found, for people."""
    latency = "" if found.p99_ms is None else f"p99 {found.p99_ms:.1f} ms, "
    by = "judged by LoadGen" if found.decided_by == "LoadGen" else found.decided_by
    held = "held" if found.held else "not held"
    return f"peak: {found.qps:,.0f} queries/s {held} ({latency}{by} after {found.seconds:.1f} s)"
