"""Cores and memory, cut by the control groups' limits, of both versions and at every level."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import resources

GIB = 2**30
Files = Callable[[dict[str, str]], None]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Returns what puts files of the kernel's under a folder that stands for the root."""
    real = resources.read_text

    def read(path: str | Path) -> str:
        name = str(path)
        kernels = name.startswith("/sys/fs/cgroup") or name in ("/proc/self/cgroup", "/proc/meminfo")
        return real(tmp_path / name.lstrip("/") if kernels else path)

    def put(contents: dict[str, str]) -> None:
        for name, content in {"/proc/meminfo": f"MemTotal: {64 * GIB // 1024} kB\n", **contents}.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    monkeypatch.setattr(resources, "read_text", read)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    return put


def test_without_limits_all_may_be_used(files: Files) -> None:
    files({"/proc/meminfo": f"MemTotal: 99 kB\nMemAvailable: {5 * GIB // 1024} kB\n"})
    assert resources.usable_cores() == 8 and resources.available_memory() == 5 * GIB


def test_version_2_limits_at_the_groups_own_place_and_above(files: Files) -> None:
    files(
        {
            "/proc/self/cgroup": "0::/slice/job\n",
            "/sys/fs/cgroup/slice/cpu.max": "250000 100000\n",
            "/sys/fs/cgroup/slice/job/cpu.max": "max 100000\n",
            "/sys/fs/cgroup/slice/job/memory.max": f"{8 * GIB}\n",
            "/sys/fs/cgroup/slice/job/memory.current": f"{7 * GIB}\n",
            "/sys/fs/cgroup/slice/job/memory.stat": f"anon 5\ninactive_file {3 * GIB}\n",
        }
    )
    assert resources.usable_cores() == 2
    # Files that were read once and lie in memory since can be dropped.
    assert resources.available_memory() == 4 * GIB


def test_version_2_limits_at_the_root_of_a_container(files: Files) -> None:
    files({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "50000 100000\n"})
    assert resources.usable_cores() == 1


def test_version_1_limits(files: Files) -> None:
    files(
        {
            "/proc/self/cgroup": "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n",
            "/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "300000\n",
            "/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": f"{2 * GIB}\n",
            "/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": f"{GIB}\n",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    assert resources.usable_cores() == 3 and resources.available_memory() == GIB


def test_what_is_used_beyond_the_limit_leaves_nothing(files: Files) -> None:
    files(
        {
            "/proc/self/cgroup": "0::/\n",
            "/sys/fs/cgroup/memory.max": f"{GIB}\n",
            "/sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
        }
    )
    assert resources.available_memory() == 0


def test_a_peak_is_the_processs_own_and_not_its_parents() -> None:
    """Through fork and exec a child inherits its parent's peak in what getrusage says."""
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    code = "from suite.resources import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert 1e6 < int(done.stdout) < 150e6
