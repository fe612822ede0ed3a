"""What a verdict adds to its checks: what makes a figure worth less, and what to do about it. No note fails a run."""

import contextlib
from collections.abc import Iterator, Sequence
from statistics import median

from common.errors import TandemError
from scenarios.harness.logs import finite
from suite import awake, recipes
from suite.evidence import Evidence, lookup
from suite.law import complete
from suite.law.base import Pair
from suite.rules import Rules

# What is less than these is on every machine: a part of the cores, and of their time.
OTHER_WORK_SHARE = 0.1
STEAL_SHARE = 0.02


def on_pair(pair: Pair, attempts: Sequence[float], judged_by: str) -> list[str]:
    """Returns the notes on two runs; `attempts` and `judged_by` are those of suite.verdict.judge."""
    notes = on_run(pair.performance, pair.rules, judged_by)
    notes += [note for note in on_run(pair.accuracy, pair.rules, judged_by) if note not in notes]
    notes += _near_target(pair)
    if len(attempts) > 1:
        middle = median(attempts)
        spread = (max(attempts) - min(attempts)) / middle if middle else 0.0
        notes.append(
            f"{len(attempts)} valid attempts: from {min(attempts):,.1f} to {max(attempts):,.1f}, "
            f"median {middle:,.1f}; their spread is {100 * spread:.0f} % of the median"
        )
    return notes


def on_run(evidence: Evidence, profile: Rules, judged_by: str) -> list[str]:
    """Returns the notes on one run."""
    notes = [] if profile.submittable else [f"{profile.profile} profile: not submittable"]
    recorded = evidence.get("rules_sha256")
    if recorded is not None and recorded != profile.digest:
        notes.append(f"the rules of profile '{profile.profile}' have changed since the {evidence.mode} run")
    if judged_by and evidence.get("source_sha256") != judged_by:
        notes.append(f"judged by other sources than those of the {evidence.mode} run")
    notes += _division(evidence)
    if evidence.mode == "performance":
        notes += [*_before(evidence), *_during(evidence)]
    return notes


def _division(evidence: Evidence) -> Iterator[str]:
    """Yields what keeps a variant out of MLPerf's closed division, whatever else it is worth."""
    because: list[str] = []
    with contextlib.suppress(TandemError):
        because = recipes.open_because(str(evidence.get("variant", "recipe") or ""))
    if because:
        yield f"MLPerf's closed division forbids it, as {' and '.join(because)}; its open division does not"


def _before(evidence: Evidence) -> Iterator[str]:
    """Yields what the machine was like before a performance run."""
    found = evidence.environment
    load, cores = finite(found.get("load_average_1min")), finite(lookup(found, "fingerprint", "cores"))
    other = finite(lookup(evidence.get("machine_during"), "other_work_cores"))
    # Of a machine on which nobody else works the load was that of the search before the run.
    others = other is None or cores is None or other > OTHER_WORK_SHARE * cores
    if load is not None and cores is not None and load > cores and others:
        yield (
            "the machine was busy when the performance run began: "
            f"load average {load:.1f} on {_cores(cores)}; repeat it on an idle one"
        )
    governor = found.get("frequency_governor")
    if isinstance(governor, str) and governor != "performance":
        yield (
            f"the frequency governor was '{governor}', which lets the clock follow the load; "
            "set 'performance' (cpupower frequency-set -g performance) and repeat it"
        )

    yield from _halting(evidence)


def _halting(evidence: Evidence) -> Iterator[str]:
    """Yields that cores may have halted under a load that leaves them time to, where nobody decided that they may."""
    auto = evidence.get("variant", "requested", "awake") == awake.AUTO
    probes = evidence.preparation.get("probes")
    # The tuning may have found that halting is no worse.
    tried = isinstance(probes, list) and any(lookup(one, "serving", "awake") is True for one in probes)
    if evidence.get("scenario") == "server" and auto and evidence.get("serving", "awake") is False and not tried:
        yield (
            "cores could halt between queries, which on a virtual machine makes Server hold much less; run it as "
            f"root, or have an administrator let this user write {awake.DEVICE}"
        )


def _during(evidence: Evidence) -> Iterator[str]:
    """Yields what happened to the machine during a performance run."""
    cores = finite(evidence.environment.get("affinity_cores"))
    yield from during(evidence.get("machine_during"), cores, "the performance run")


def during(happened: object, cores: float | None, what: str) -> Iterator[str]:
    """Yields what made a figure worth less, by suite.machine_state.during, while `what` was measured."""
    found = {
        name: finite(lookup(happened, name))
        for name in ("other_work_cores", "steal_share", "nr_throttled", "throttled_usec", "thermal_throttles")
    }
    other, steal = found["other_work_cores"], found["steal_share"]
    if other is not None and cores is not None and other > OTHER_WORK_SHARE * cores:
        yield (
            f"other programs kept {other:.1f} of {_cores(cores)} busy during {what}; "
            "stop them, or keep them off its cores, and repeat it"
        )
    if steal is not None and steal > STEAL_SHARE:
        yield (
            f"the hypervisor gave {100 * steal:.0f} % of the cores' time to other guests during {what} "
            "(steal); repeat it where the cores are not shared"
        )
    if found["nr_throttled"]:
        held_s = (found["throttled_usec"] or 0.0) / 1e6
        yield (
            f"the control groups' CPU quota stopped {what} {found['nr_throttled']:.0f} times, for "
            f"{held_s:.2f} s in all; raise the quota, or ask for fewer sessions and threads"
        )
    if found["thermal_throttles"]:
        yield (
            f"the processor was too hot and slowed down {found['thermal_throttles']:.0f} times during {what}; "
            "cool it better, and repeat it"
        )


def _cores(number: float) -> str:
    return f"{number:g} core{'' if number == 1 else 's'}"


def _near_target(pair: Pair) -> list[str]:
    try:
        metrics = complete.metrics_of(pair.accuracy, pair.facts)
    except (TandemError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError):
        return []
    low, high = finite(metrics.get("low_95")), finite(metrics.get("high_95"))
    if low is None or high is None or not low <= pair.facts.target <= high:
        return []
    return [
        f"{pair.facts.metric} is too near its target for {pair.facts.total} samples to tell: "
        f"95 % interval {low:.3f} to {high:.3f} %, target {pair.facts.target:.3f} %"
    ]
