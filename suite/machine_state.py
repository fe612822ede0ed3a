"""How the machine stood before a test, and what others did to it meanwhile. None stands where the kernel does not say.

Source: the kernel's proc.rst (/proc/stat), cpufreq.rst, intel_pstate.rst, cgroup-v1 and v2 (cpu.stat).
"""

import os
import resource
import time
from dataclasses import dataclass
from typing import Any

from suite import resources

CPU = "/sys/devices/system/cpu"
# How long a look at the machine may take, and the part of the cores that others use from which it is called busy: in so
# short a time a core counts 8 ticks, and one or two are nobody's fault.
LOOK_S = 0.08
BUSY_SHARE = 0.25
# The columns of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. What guests took is in user already.
_BUSY, _STEAL, _COLUMNS = (0, 1, 2, 5, 6), 7, 8


@dataclass(frozen=True)
class Reading:
    """Counters that only grow: seconds, or ticks of all usable cores, or a number of times."""

    monotonic_s: float
    busy_s: float | None
    own_s: float
    steal_ticks: int | None
    all_ticks: int | None
    throttled: tuple[int, int] | None
    thermal: int | None


def state() -> dict[str, Any]:
    """Returns what decides how fast the machine is now: clocks in MHz, limits in cores and bytes, load averages."""
    load = os.getloadavg()
    return {
        "affinity_cores": len(_cores()),
        "boost": _boost(),
        "cpu_quota_cores": resources.cpu_quota(),
        "frequency_governor": _governor(),
        "frequency_max_mhz": _frequency("max"),
        "frequency_mhz": _frequency("cur"),
        "frequency_min_mhz": _frequency("min"),
        "load_average_1min": round(load[0], 2),
        "load_average_5min": round(load[1], 2),
        "load_average_15min": round(load[2], 2),
        "memory_limit_bytes": resources.memory_limit(),
        "smt": _switch(f"{CPU}/smt/active"),
    }


def reading() -> Reading:
    """Returns the counters as they are now. The time of a child is in them once it has ended."""
    ticks = _ticks()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Reading(
        monotonic_s=time.monotonic(),
        busy_s=sum(row[column] for row in ticks for column in _BUSY) / os.sysconf("SC_CLK_TCK") if ticks else None,
        own_s=sum(usage.ru_utime + usage.ru_stime for usage in usages),
        steal_ticks=sum(row[_STEAL] for row in ticks) if ticks else None,
        all_ticks=sum(sum(row) for row in ticks) if ticks else None,
        throttled=resources.throttled(),
        thermal=_thermal(),
    )


def during(before: Reading, after: Reading) -> dict[str, Any]:
    """Returns what happened between two readings, and clock and load as they are now.

    `other_work_cores` is how many of the usable cores on average worked for others than this process and its children.
    """
    duration_s = max(after.monotonic_s - before.monotonic_s, 1e-9)
    ticks, stolen = _grown(before.all_ticks, after.all_ticks), _grown(before.steal_ticks, after.steal_ticks)
    return {
        "duration_s": round(duration_s, 3),
        "frequency_mhz": _frequency("cur"),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "other_work_cores": _others(before, after, duration_s),
        "steal_share": round(stolen / ticks, 4) if ticks and stolen is not None else None,
        "thermal_throttles": _grown(before.thermal, after.thermal),
        **_quota(before, after),
    }


def busy_now() -> tuple[float, int] | None:
    """Returns how many cores others use now, and of how many, where that is much; takes LOOK_S."""
    before = reading()
    time.sleep(LOOK_S)
    after = reading()
    others, cores = _others(before, after, max(after.monotonic_s - before.monotonic_s, 1e-9)), len(_cores())
    return (others, cores) if others is not None and others > BUSY_SHARE * cores else None


def _others(before: Reading, after: Reading, duration_s: float) -> float | None:
    # Ticks say nothing of a shorter time.
    if before.busy_s is None or after.busy_s is None or duration_s < LOOK_S / 2:
        return None
    work_s = after.busy_s - before.busy_s - (after.own_s - before.own_s)
    return round(max(0.0, work_s) / duration_s, 3)


def _quota(before: Reading, after: Reading) -> dict[str, int | None]:
    if before.throttled is None or after.throttled is None:
        return {"nr_throttled": None, "throttled_usec": None}
    times, usec = (_grown(one, other) for one, other in zip(before.throttled, after.throttled, strict=True))
    return {"nr_throttled": times, "throttled_usec": usec}


def _grown(before: int | None, after: int | None) -> int | None:
    """Returns by how much a counter has grown; a core that has gone offline may have taken its share along."""
    return None if before is None or after is None else max(0, after - before)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _ticks() -> list[list[int]]:
    """Returns the first columns of /proc/stat of each usable core."""
    own = {f"cpu{core}" for core in _cores()}
    rows = [line.split() for line in resources.read_text("/proc/stat").splitlines()]
    return [
        [int(word) for word in row[1 : 1 + _COLUMNS]]
        for row in rows
        if row and row[0] in own and len(row) > _COLUMNS and all(word.isdigit() for word in row[1:])
    ]


def _governor() -> str | None:
    """Returns the governor of the usable cores; several are named one after the other."""
    found = {resources.read_text(f"{CPU}/cpu{core}/cpufreq/scaling_governor").strip() for core in _cores()}
    return ", ".join(sorted(found - {""})) or None


def _frequency(which: str) -> float | None:
    """Returns the mean of the usable cores' frequencies in MHz: cur, or the min or max that the governor keeps to."""
    found = [_number(f"{CPU}/cpu{core}/cpufreq/scaling_{which}_freq") for core in _cores()]
    known = [khz for khz in found if khz is not None]
    return round(sum(known) / len(known) / 1000, 1) if known else None


def _boost() -> bool | None:
    """Returns whether the clock may rise above its nominal one (Intel calls it turbo)."""
    no_turbo = _switch(f"{CPU}/intel_pstate/no_turbo")
    return _switch(f"{CPU}/cpufreq/boost") if no_turbo is None else not no_turbo


def _thermal() -> int | None:
    """Returns how often a usable core, or its package, was slowed down for its heat; a package is counted once."""
    folders = [f"{CPU}/cpu{core}/thermal_throttle" for core in _cores()]
    cores, packages = (
        [count for folder in folders if (count := _number(f"{folder}/{what}_throttle_count")) is not None]
        for what in ("core", "package")
    )
    return sum(cores) + max(packages, default=0) if cores or packages else None


def _switch(path: str) -> bool | None:
    number = _number(path)
    return None if number is None else bool(number)


def _number(path: str) -> int | None:
    word = resources.read_text(path).strip()
    return int(word) if word.isdigit() and word.isascii() else None
