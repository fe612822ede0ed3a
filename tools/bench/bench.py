"""What the rows of tools.bench_harness have in common: how much is measured, in which processes, and on what load."""

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from common.errors import RunFailed
from suite import artifacts, plugins
from suite.progress import say
from suite.subject import describe
from tools.bench.upstream import Column, PeakLoad, Reference

WORKLOADS = ("fashion-resnet", "fashion-mobilenet")
BACKENDS = ("onnxruntime", "torch")
CHILD_TIMEOUT_S = 300.0
# How far a row is, is said no more often.
SAY_S = 5.0


@dataclass(frozen=True)
class Bench:
    """How much is measured: pairs a row, and seconds a side of a pair."""

    pairs: int
    seconds: float
    data_dir: Path
    cache_dir: Path
    reference: Reference | None = None

    def subject(self, workload: str, backend: str) -> dict[str, Any]:
        """Returns what `Subject.open` needs for a workload's reference on a backend."""
        loaded, module = plugins.workload(workload), plugins.backend(backend)
        model = artifacts.prepare(loaded, module.FORMATS, self.data_dir, self.cache_dir)
        options = {name: value[0] if isinstance(value, tuple) else str(value) for name, value in module.OPTIONS.items()}
        return describe(workload, backend, model, options, self.data_dir)

    def column(self, workload: str, scenario: str, value: str, *, null: bool = False) -> Column | None:
        """Returns the reference column of a row, where there is a reference."""
        return None if self.reference is None else self.reference.column(workload, scenario, value, null=null)

    def peak_column(self, workload: str, load: PeakLoad) -> Column | None:
        """Returns the reference column of a row of Server's highest loads, where there is a reference."""
        return None if self.reference is None else self.reference.peak_column(workload, load)

    def in_turn(
        self, name: str, measure: Callable[[bool], tuple[float, float]], column: Column | None = None
    ) -> list[tuple[float, float]]:
        """Returns pairs (base, suite), saying how far it is; `measure` is told which side goes first."""
        # Each order as often as the other, in an order of its own.
        orders = random.sample([number % 2 == 0 for number in range(self.pairs)], self.pairs)
        found, said = [], -math.inf
        for number, base_first in enumerate(orders, 1):
            if time.monotonic() > said + SAY_S:
                said = time.monotonic()
                say(f"{name}: pair {number} of {self.pairs}")
            found.append(measure(base_first))
            if column:
                column.take()
        return found


def child(task: str, *, bound_s: float = CHILD_TIMEOUT_S, **job: Any) -> Any:
    """Returns what a measurement in a process of its own says; raises RunFailed where it says nothing."""
    words = [sys.executable, "-m", "tools.bench.child", json.dumps({"task": task, **job})]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=bound_s)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise RunFailed(f"The measurement {task} did not end within {bound_s:.0f} s.") from None
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise RunFailed(f"The measurement {task} ended with code {done.returncode}; it said {last[0]!r}.") from None


def beside(column: Column | None, pairs: list[tuple[float, float]], unit: str, *, ratio: bool = False) -> str:
    """Returns what upstream's harness reached in place of the suite; nothing where it was not measured."""
    return "" if column is None else column.text(median(base for base, _ in pairs), unit, ratio=ratio)


def shown(serving: dict[str, Any]) -> str:
    """Returns a serving for people."""
    ahead = f" prefetch {serving['prefetch']}" if serving["prefetch"] else ""
    return f"{serving['sessions']}x{serving['threads']} batch {serving['batch']}{ahead}"


def offline_load(bench: Bench, samples_per_s: float) -> dict[str, Any]:
    """Returns the job of an Offline test that takes about `bench.seconds`: LoadGen sends 1.1 times what it expects."""
    return {"scenario": "offline", "seconds": bench.seconds, "hint": samples_per_s / 1.1}


def stream_load(bench: Bench, latency_ns: float) -> dict[str, Any]:
    """Returns the job of a single-stream test of `bench.seconds`, with the latency of a query that LoadGen is told."""
    return {"scenario": "single-stream", "seconds": bench.seconds, "hint": latency_ns}
