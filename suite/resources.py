"""What this process may use of the machine, and what it has used: cores and memory, cut by the control groups' limits.

Source: the kernel's cgroup-v2.rst and cgroup-v1 (cpu, memory); version 1 is mounted by controller.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNT = Path("/sys/fs/cgroup")
# Version 1 writes this or more, rounded to pages, where there is no limit.
UNLIMITED_BYTES = 1 << 60


def usable_cores() -> int:
    """Returns how many CPU cores this process may use: its affinity, cut by the control groups' quotas."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(max(1, int(quota)) for quota in _cpu_quotas())])


def cpu_quota() -> float | None:
    """Returns the cores that the least of the control groups' quotas grants, None without one."""
    return min(_cpu_quotas(), default=None)


def memory_limit() -> int | None:
    """Returns the bytes that the least of the control groups' limits grants, None without one."""
    return min((limit for limit, _ in _memory_limits()), default=None)


def throttled() -> tuple[int, int] | None:
    """Returns how often quotas have stopped the control groups over this process, and for how many µs in all.

    None where no group has a quota's statistics.
    """
    paths = [folder / "cpu.stat" for folder in _groups("cpu")]
    counting = [path for path in paths if "nr_throttled" in read_text(path)]
    if not counting:
        return None
    # Version 1 says it in ns.
    stopped_us = (_statistic(path, "throttled_usec") + _statistic(path, "throttled_time") // 1000 for path in counting)
    return sum(_statistic(path, "nr_throttled") for path in counting), sum(stopped_us)


def available_memory() -> int:
    """Returns how many bytes can be taken now without swapping: the machine's, cut by the control groups' limits."""
    return max(0, min([memory_line("/proc/meminfo", "MemAvailable") or total_memory(), *_memory_left()]))


def total_memory() -> int:
    """Returns the machine's memory in bytes."""
    return memory_line("/proc/meminfo", "MemTotal") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int:
    """Returns the most bytes that this process has had resident.

    Not getrusage's figure: that one starts, through fork and exec, from what the parent had.
    """
    return memory_line("/proc/self/status", "VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_line(path: str, key: str) -> int:
    """Returns the bytes that a line `key: number kB` of a file speaks of; 0 where there is none."""
    for line in read_text(path).splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def read_text(path: str | Path) -> str:
    """Returns what a file of the kernel's says, nothing where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_quotas() -> Iterator[float]:
    """Yields the cores that each quota over this process grants."""
    for folder in _groups("cpu"):
        words = read_text(folder / "cpu.max").split()
        words = words or [read_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
            yield int(words[0]) / int(words[1])


def _memory_left() -> Iterator[int]:
    """Yields the bytes that each limit over this process leaves."""
    for limit, used in _memory_limits():
        yield limit - used


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Yields each limit over this process with what is used of it; the cache of files that nobody uses is not."""
    for folder in _groups("memory"):
        for limit_name, used_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = (read_text(folder / name).strip() for name in (limit_name, used_name))
            if limit.isdigit() and int(limit) < UNLIMITED_BYTES:
                yield int(limit), int(used or 0) - _statistic(folder / "memory.stat", cache_name)


def _statistic(path: Path, key: str) -> int:
    words = (line.split() for line in read_text(path).splitlines())
    return next((int(word[1]) for word in words if len(word) == 2 and word[0] == key and word[1].isdigit()), 0)


def _groups(controller: str) -> Iterator[Path]:
    """Yields the folders of the control groups that this process is in for a controller, up to the root's."""
    for line in read_text("/proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            mount = MOUNT
        elif controller in controllers.split(","):
            mount = MOUNT / controller
        else:
            continue
        path = PurePosixPath(name)
        for inner in (path, *path.parents):
            yield mount / str(inner).lstrip("/")
