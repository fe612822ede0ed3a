"""The peak: the highest load that Server holds, found by probes between one that was held and one that was not.

A probe tells where to look. The figure itself is of a full run that follows (suite.execute), which steps back where
the peak that the probes promised does not last.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Of Offline's throughput: what a well-made Server path reaches.
START_SHARE = 0.8
STEP = 1.25
# The bracket is narrow enough where its ends are this near.
PRECISION = 1.02
# Those for the curve come on top.
MOST_PROBES = 24
# Of Offline's throughput: where less is not held either, the latency of a batch is too much, and not the load.
LEAST_SHARE = 0.02
# Of the peak: loads that are probed for the curve.
CURVE_SHARES = (0.25, 0.5, 0.75)

# A load of which no full run is valid is followed by so much less. The last is half of the peak: on machines that are
# shared, phases of half a second were seen in which the same full batches take 1.8 times as long, with no time stolen.
BACK_OFF = (0.97, 0.95, 0.9, 0.85, 0.85, 0.8)
# After it stepped back, a gap wider than this between what is held and what is not is halved, so many times at most.
GAP = 1.05
HALVINGS = 2
# A probe may be called certain early where its load is so far below every load that failed; nearer, LoadGen's own clock
# decides, which counts from the schedule, as a probe cannot.
SURE_SHARE = 0.9
# One stall of the machine, or a phase in which it is slow, can fail a load that is held otherwise.
TRIES = 2


@dataclass(frozen=True)
class Probe:
    """What a probe or a full run of a load said: see suite.probes.load.

    Latencies are in ms, LoadGen's own where it was a full run, else of the system's timeline, which begins with the
    callback and not with the schedule.
    """

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
    """The probes in order, the throughput offline that they began from, and the highest load that one held, if any.

    That throughput is of the serving that is probed, which may not be the best one for Offline. `bounded` where the
    search ended before its bracket was narrow.
    """

    offline_samples_per_s: float
    probes: tuple[Probe, ...]
    qps: float | None
    bounded: bool

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values."""
        return asdict(self)


def find(
    offline_samples_per_s: float, probe: Callable[[float, bool], Probe], limit_ms: float, say: Callable[[Probe], None]
) -> Peak:
    """Returns the peak that probes find: by steps until one load was held and one was not, then by halving the gap.

    `probe` is given a load, and whether it may be called certain before its time is over.
    """
    probes: list[Probe] = []
    low: float | None = None
    high: float | None = None

    def held(qps: float) -> bool:
        for _ in range(TRIES):
            found = probe(qps, high is None or qps <= SURE_SHARE * high)
            probes.append(found)
            say(found)
            if found.held or overloaded(found, limit_ms) or len(probes) >= MOST_PROBES:
                break
        return found.held

    load, step = START_SHARE * offline_samples_per_s, 1.0
    while len(probes) < MOST_PROBES and load >= LEAST_SHARE * offline_samples_per_s:
        if held(load):
            low = load
        else:
            high = load
        if low is None or high is None:
            # Each step is longer than the one before: what is far off is reached too.
            step *= STEP
            load = load * step if high is None else load / step
        elif high / low <= PRECISION:
            break
        else:
            load = (low * high) ** 0.5
    if low is not None:
        # A curve of loads about the peak alone would not say what a lower one is like.
        for share in CURVE_SHARES:
            held(share * low)
    bounded = low is None or high is None or high / low > PRECISION
    return Peak(offline_samples_per_s, tuple(probes), low, bounded)


def overloaded(found: Probe, limit_ms: float) -> bool:
    """Tells whether a load was too much, whatever the machine did: a stall makes not half of the queries late."""
    return (found.p50_ms or 0) > limit_ms


def confirming(qps: float, tried: Sequence[Probe], limit_ms: float) -> float | None:
    """Returns the load of the next full run that is to confirm a peak, None where those that were tried have.

    It steps back until one load is held, and then halves the gap to what was not.
    """
    if any(one.held for one in tried):
        return _between(tried)
    for share in (1.0, *BACK_OFF):
        qps *= share
        own = [one for one in tried if one.qps == qps]
        if len(own) < TRIES and not any(overloaded(one, limit_ms) for one in own):
            return qps
    return None


def _between(tried: Sequence[Probe]) -> float | None:
    held = max(one.qps for one in tried if one.held)
    above = [one.qps for one in tried if one.qps > held]
    first = next(number for number, one in enumerate(tried) if one.held)
    if not above or min(above) / held <= GAP or len(tried) - first > HALVINGS:
        return None
    return float((held * min(above)) ** 0.5)


def sentence(found: Probe) -> str:
    """Returns what a probe found, for people."""
    latency = "" if found.p99_ms is None else f"p99 {found.p99_ms:.1f} ms, "
    by = "judged by LoadGen" if found.decided_by == "LoadGen" else found.decided_by
    held = "held" if found.held else "not held"
    return f"peak: {found.qps:,.0f} queries/s {held} ({latency}{by} after {found.seconds:.1f} s)"
