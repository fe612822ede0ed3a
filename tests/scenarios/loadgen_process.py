"""One LoadGen test in a process of its own, through our harness, around a small system under test.

Run as a script it is that process: `python -m tests.scenarios.loadgen_process JOB`. It says on stdout what it saw.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
TOTAL = 1000

# What a test sets, beside its scenario; each may be given in a job.
SETTINGS: Mapping[str, Any] = {
    "min_duration_ms": 50,
    "min_query_count": 100,
    "performance_sample_count_override": TOTAL,
    "offline_expected_qps": 100_000.0,
    "server_target_qps": 5_000.0,
    "server_target_latency_ns": 10**9,
    "single_stream_expected_latency_ns": 10_000,
    "multi_stream_expected_latency_ns": 10_000,
    "accuracy_log_sampling_target": 4096,
}


@dataclass(frozen=True)
class Ended:
    """How the process ended, and what it said: samples issued and completed, faults, an exception that came out."""

    code: int
    stderr: str
    seen: dict[str, Any]
    folder: Path


def run(folder: Path, scenario: str, *, cwd: Path | None = None, timeout_s: float = 60, **job: Any) -> Ended:
    """Returns how one test ended. `job` may hold settings, sessions, batch, mode, total, width, fault.

    With `first_rests_s` the first session takes so long for its first batch, and the timeline is kept.
    """
    words = json.dumps({"folder": str(folder), "scenario": scenario, **job})
    done = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.loadgen_process", words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=cwd or ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    lines = done.stdout.splitlines()
    return Ended(done.returncode, done.stderr, json.loads(lines[-1]) if lines else {}, folder)


def payload(indices: Any, width: int) -> Any:
    """Returns the answer to samples: `width` numbers of 64 bits, which no other sample has."""
    return np.asarray(indices, np.int64)[:, None] * 1_000_003 + np.arange(width)


class _Samples:
    def __init__(self, total: int, fault: str) -> None:
        self.total, self._fault = total, fault

    def load(self, indices: Any, decoded: bool = True) -> None:
        if self._fault == "load raises":
            raise ValueError("the samples are gone")

    def batch(self, indices: Any) -> Any:
        return np.asarray(indices)


class _Task:
    def __init__(self, width: int) -> None:
        self.output_shape = (width,)

    @staticmethod
    def encode(outputs: Any) -> Any:
        return outputs


class _Session:
    def __init__(self, width: int, rests_s: float = 0.0) -> None:
        self._width, self._rests_s = width, rests_s

    def predict(self, samples: Any) -> Any:
        rest, self._rests_s = self._rests_s, 0.0
        time.sleep(rest)
        return payload(samples, self._width)


def _issue_raises(sut: Any) -> Any:
    def issue(ids: list[int], indices: list[int]) -> None:
        raise ValueError("the callback fell over")

    return issue


def _issue_drops(sut: Any) -> Any:
    inner = sut.issue

    def issue(ids: list[int], indices: list[int]) -> None:
        inner(ids[1:], indices[1:]) if len(ids) > 1 else None

    return issue


def _issue_tells_policy(sut: Any) -> Any:
    inner, sut.policies = sut.issue, set()

    def issue(ids: list[int], indices: list[int]) -> None:
        sut.policies.add(os.sched_getscheduler(0))
        inner(ids, indices)

    return issue


ISSUES = {"issue raises": _issue_raises, "issue drops": _issue_drops, "issue tells policy": _issue_tells_policy}


def _complete(fault: str) -> Any:
    """Returns what completes samples: as it should, or twice."""
    from scenarios.harness import loadgen

    def twice(ids: list[int], rows: Any) -> None:
        # The second time must come before LoadGen has all it waits for, and frees what ids point to.
        loadgen.complete(ids[:1], rows[:1])
        loadgen.complete(ids, rows)

    def empty(ids: list[int], rows: Any) -> None:
        loadgen.complete(ids, None)

    return {"completes twice": twice, "answers empty": empty}.get(fault, loadgen.complete)


def main(job: Mapping[str, Any]) -> None:
    """Runs the test, says what was seen, and ends as a worker of the suite does."""
    from scenarios.harness import loadgen
    from scenarios.harness.sut import SystemUnderTest
    from scenarios.harness.timeline import Timeline

    fault, width = job.get("fault", ""), job.get("width", 1)
    scenario, samples = job["scenario"], _Samples(job.get("total", TOTAL), fault)
    rests_s = [job.get("first_rests_s", 0.0), *[0.0] * (job.get("sessions", 1) - 1)]
    sut: Any = SystemUnderTest(
        _Task(width),  # type: ignore[arg-type]
        samples,
        [_Session(width, rests) for rests in rests_s],  # type: ignore[misc]
        _complete(fault),
        max_batch=job.get("batch", 1024),
        inline=scenario.endswith("Stream"),
    )
    if fault in ISSUES:
        sut.issue = ISSUES[fault](sut)
    settings = {**SETTINGS, "scenario": scenario, **job.get("settings", {})}
    raised, yielded = None, None
    try:
        yielded = loadgen.run_test(
            sut, samples, settings, job.get("mode", "performance"), samples.total, Path(job["folder"])
        )
    except Exception as error:  # noqa: BLE001 - told to the test
        raised = f"{type(error).__name__}: {error}"
    alive = sum(worker.is_alive() for worker in sut._workers)
    ended = sut.close(5)
    timeline = sut.timeline()
    if "first_rests_s" in job:
        Timeline(**timeline).save(Path(job["folder"]) / "timeline.npz")
    seen = {
        "raised": raised,
        "faults": [item.detail for item in sut.faults],
        "issued": sut.issued,
        "completed": sut.completed,
        "largest_batch": int(timeline["batch_samples"].max(initial=0)),
        "workers_alive_after_the_test": alive,
        "workers_ended": ended,
        "policies": list(getattr(sut, "policies", ())),
        "yielded": yielded,
    }
    print(json.dumps(seen), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
