"""The machine's state before a test, and what happened to it meanwhile, from files like the kernel's."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import environment, machine_state, resources

GIB = 2**30
CPU = "/sys/devices/system/cpu"
GROUP = "/sys/fs/cgroup/job"
Files = Callable[[dict[str, str]], None]
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Returns what puts files under a folder that stands for the root; this process may use cores 0 and 2."""
    real = resources.read_text

    def put(contents: dict[str, str]) -> None:
        for name, content in contents.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    monkeypatch.setattr(resources, "read_text", lambda path: real(tmp_path / str(path).lstrip("/")))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    return put


def stat(busy: float, idle: float, steal: float = 0) -> str:
    """Returns /proc/stat where each of two usable cores has these seconds; core 1, not usable, has a great many."""
    row = f"{busy * TICKS:.0f} 0 0 {idle * TICKS:.0f} 0 0 0 {steal * TICKS:.0f} 0 0"
    return f"cpu  1 2 3\ncpu0 {row}\ncpu1 9999999 0 0 1 0 0 0 9999999 0 0\ncpu2 {row}\nintr 5\n"


def test_a_kernel_that_says_nothing_leaves_nulls(files: Files) -> None:
    files({})
    found = machine_state.state()
    said = {"affinity_cores", "load_average_1min", "load_average_5min", "load_average_15min"}
    assert found["affinity_cores"] == 2 and all(found[name] is not None for name in said)
    assert {name for name, value in found.items() if value is None} == set(found) - said
    before = machine_state.reading()
    during = machine_state.during(before, machine_state.reading())
    assert {name for name, value in during.items() if value is not None} == {"duration_s", "load_average_1min"}
    assert machine_state.busy_now() is None


def test_clocks_limits_and_switches_are_read(files: Files) -> None:
    clocks = {"scaling_governor": "powersave", "scaling_min_freq": "800000", "scaling_max_freq": "3000000"}
    files(
        {
            **{f"{CPU}/cpu{core}/cpufreq/{name}": f"{value}\n" for core in (0, 2) for name, value in clocks.items()},
            f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1000000\n",
            f"{CPU}/cpu2/cpufreq/scaling_cur_freq": "2000000\n",
            f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
            f"{CPU}/intel_pstate/no_turbo": "1\n",
            f"{CPU}/cpufreq/boost": "1\n",
            f"{CPU}/smt/active": "1\n",
            "/proc/self/cgroup": "0::/job\n",
            f"{GROUP}/cpu.max": "150000 100000\n",
            f"{GROUP}/memory.max": f"{2 * GIB}\n",
        }
    )
    found = machine_state.state()
    assert found["frequency_governor"] == "powersave"
    assert [found[f"frequency_{name}mhz"] for name in ("min_", "", "max_")] == [800, 1500, 3000]
    assert (found["boost"], found["smt"]) == (False, True)
    assert (found["cpu_quota_cores"], found["memory_limit_bytes"]) == (1.5, 2 * GIB)


def test_the_environment_has_all_of_it() -> None:
    assert environment.environment("cpu").items() >= {"affinity_cores": len(os.sched_getaffinity(0))}.items()
    assert set(machine_state.state()) <= set(environment.environment("cpu"))


def test_the_other_vendors_boost_is_read(files: Files) -> None:
    files({f"{CPU}/cpufreq/boost": "1\n"})
    assert machine_state.state()["boost"] is True


def test_what_grew_is_what_happened(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = f"{CPU}/cpu{{}}/thermal_throttle/{{}}_throttle_count"
    stopped = "nr_periods 9\nnr_throttled {}\nthrottled_usec {}\n"
    # A package's count stands at each of its cores.
    heat = {throttle.format(core, what): "5\n" for core in (0, 2) for what in ("core", "package")}
    files({"/proc/stat": stat(10, 10), "/proc/self/cgroup": "0::/job\n", f"{GROUP}/cpu.stat": stopped.format(3, 500)})
    files(heat)
    monkeypatch.setattr(machine_state.time, "monotonic", lambda: 100.0)
    before = machine_state.reading()
    files({"/proc/stat": stat(16, 13, 1), f"{GROUP}/cpu.stat": stopped.format(5, 900_500)})
    files({throttle.format(0, "core"): "6\n", throttle.format(0, "package"): "7\n"})
    monkeypatch.setattr(machine_state.time, "monotonic", lambda: 110.0)
    found = machine_state.during(before, machine_state.reading())
    assert found["duration_s"] == 10 and found["steal_share"] == 0.1
    assert (found["nr_throttled"], found["throttled_usec"], found["thermal_throttles"]) == (2, 900_000, 3)
    # Twelve seconds of work in ten; what this test itself has used, a little, is its own.
    assert 1.1 < found["other_work_cores"] <= 1.2


def test_own_work_is_not_the_work_of_others(files: Files) -> None:
    files({"/proc/stat": stat(10, 10)})
    before = machine_state.reading()
    end = before.own_s + 0.2
    while machine_state.reading().own_s < end:
        pass
    files({"/proc/stat": stat(10.1, 10)})
    assert machine_state.during(before, machine_state.reading())["other_work_cores"] == 0


def test_version_1_says_the_stops_in_other_units(files: Files) -> None:
    files({"/proc/self/cgroup": "1:cpu,cpuacct:/job\n"})
    assert resources.throttled() is None
    files({"/sys/fs/cgroup/cpu/job/cpu.stat": "nr_periods 4\nnr_throttled 2\nthrottled_time 7000000\n"})
    assert resources.throttled() == (2, 7000)


@pytest.mark.parametrize("broken", ["cpu0 a b c d e f g h\n", "cpu0\n", "", "cpu0 1 2 3\n", "\x00\n\n"])
def test_what_cannot_be_read_breaks_nothing(files: Files, broken: str) -> None:
    files({"/proc/stat": broken, f"{CPU}/smt/active": "notsupported\n", f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "?"})
    before = machine_state.reading()
    assert machine_state.during(before, machine_state.reading())["other_work_cores"] is None
    assert machine_state.state()["smt"] is None


def test_a_busy_machine_is_seen(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files({"/proc/stat": stat(10, 10)})
    now = [100.0]

    def sleep(seconds: float, busy: float) -> None:
        now[0] += seconds
        files({"/proc/stat": stat(busy, 10)})

    monkeypatch.setattr(machine_state.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine_state.time, "sleep", lambda seconds: sleep(seconds, 20))
    seen = machine_state.busy_now()
    assert seen is not None and seen[0] > 1 and seen[1] == 2
    # Of a millisecond ticks say nothing: one of them would be ten cores.
    before = machine_state.reading()
    sleep(0.001, 20.01)
    assert machine_state.during(before, machine_state.reading())["other_work_cores"] is None
    monkeypatch.setattr(machine_state.time, "sleep", lambda seconds: sleep(seconds, 20.01))
    assert machine_state.busy_now() is None
