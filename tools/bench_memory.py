"""Measures what LoadGen and the harness keep in memory, beside what suite.memory predicts.

Each line is one performance test in a process of its own, around a system under test that answers zeros at once.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from absl import flags
from numpy.typing import NDArray

from common.errors import RunFailed
from common.flags import new_flags, run
from reference_models.base import Dataset, Workload
from scenarios.base import Generated, LoadRules, Scenario, test_settings
from suite import plugins
from suite.allocator import keep_freed_memory
from suite.memory import predicted_bytes
from suite.resources import peak_memory

FLAGS = new_flags()
SCALE = flags.DEFINE_float("scale", 1.0, "queries, as a multiple of the default", 0.01, 10.0, flag_values=FLAGS)
CHILD = flags.DEFINE_string("child", "", "internal: the test to run, as JSON", flag_values=FLAGS)

SAMPLES = 1000
OUTPUTS = 10
CHILD_TIMEOUT_S = 300
# Server's is longer, so that its load is one that a busy machine holds: queries that wait take memory too.
DURATIONS_S = {"single-stream": 2, "multi-stream": 2, "server": 5, "offline": 2}

# Queries to generate; of samples in Offline.
SIZES = {
    "single-stream": (1_000_000, 4_000_000),
    "multi-stream": (250_000, 1_000_000),
    "server": (50_000, 250_000),
    "offline": (1_000_000, 4_000_000),
}


class _Samples:
    """A sample library of zeros."""

    total = SAMPLES

    def load(self, indices: Sequence[int], decoded: bool = True) -> None:
        """Does nothing: zeros are always there."""

    def batch(self, indices: Sequence[int]) -> NDArray[np.float32]:
        """Returns zeros, shape (n, 1)."""
        return np.zeros((len(indices), 1), np.float32)


class _Task:
    """Classification into OUTPUTS classes."""

    output_shape = (OUTPUTS,)

    @staticmethod
    def encode(outputs: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the class of each row."""
        classes: NDArray[np.int64] = np.argmax(outputs, axis=1)
        return classes


class _Session:
    """Answers zeros."""

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns zeros, shape (n, OUTPUTS)."""
        return np.zeros((len(samples), OUTPUTS), np.float32)

    def close(self) -> None:
        """Does nothing."""


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _hint(name: str, size: int) -> float:
    """Returns the load hint with which LoadGen generates `size` queries, or samples in Offline."""
    seconds = DURATIONS_S[name]
    return {"offline": size / seconds / 1.1, "server": size / seconds}.get(name, 2e9 * seconds / size)


def _measure(name: str, size: int) -> dict[str, int]:
    """Runs one test here; returns the growth of memory in bytes, what was generated and what was issued."""
    from scenarios.harness import loadgen
    from scenarios.harness.sut import SWITCH_INTERVAL_S, SystemUnderTest

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keep_freed_memory(os.environ)
    scenario = cast(Scenario, plugins.load("scenarios", "scenario", name))
    samples_per_query = 8 if name == "multi-stream" else 1
    rules = LoadRules(DURATIONS_S[name] * 1000, 100, SAMPLES, 0.99, 1000.0, samples_per_query, 1, 2, 3)
    hint = _hint(name, size)
    generated = scenario.generated(rules, hint)
    sut = SystemUnderTest(
        cast(Workload, _Task()),
        cast(Dataset, _Samples()),
        [_Session()],
        loadgen.complete,
        max_batch=1024,
        inline=scenario.INLINE,
    )
    before = _resident_bytes()
    with tempfile.TemporaryDirectory() as folder:
        settings = test_settings(scenario, rules, hint, accuracy_log_rng_seed=7)
        loadgen.run_test(sut, cast(Dataset, _Samples()), settings, "performance", SAMPLES, Path(folder))
    sut.close(10)
    grown = peak_memory() - before
    return {"bytes": grown, "queries": generated.queries, "samples": generated.samples, "issued": sut.issued}


def measured(name: str, size: int) -> tuple[Generated, int, int]:
    """Returns what one test in a process of its own generated and issued, its bytes, and those predicted for it."""
    job = json.dumps({"name": name, "size": size})
    words = [sys.executable, "-m", "tools.bench_memory", "--child", job]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=CHILD_TIMEOUT_S)
    if done.returncode:
        raise RunFailed(f"The {name} test of {size} ended with code {done.returncode}: {done.stderr.strip()[-200:]}")
    seen = json.loads(done.stdout)
    generated = Generated(seen["queries"], seen["samples"], seen["issued"])
    return generated, seen["bytes"], predicted_bytes(generated)


def main(arguments: list[str]) -> int:
    """Prints a line a test."""
    if CHILD.value:
        print(json.dumps(_measure(**json.loads(CHILD.value))))
        return 0
    heads = f"{'queries':>11}{'samples':>11}{'issued':>11}{'measured MB':>13}{'predicted MB':>14}{'ratio':>8}"
    print(f"{'scenario':<14}{heads}")
    for name, sizes in SIZES.items():
        for size in sizes:
            generated, found, predicted = measured(name, int(size * SCALE.value))
            print(
                f"{name:<14}{generated.queries:>11}{generated.samples:>11}{generated.expected_samples:>11}"
                f"{found / 1e6:>13.1f}{predicted / 1e6:>14.1f}{predicted / found:>8.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
