"""Takes a known time for each batch and runs no model: for tests of schedules and capacity. Its numbers never count.

A session's capacity is 1e6 * batch / (per_batch_us + batch * per_sample_us) samples/s.
"""

import time
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload

FORMATS = ("safetensors", "onnx")
ELIGIBLE = False
OPTIONS: Mapping[str, tuple[str, ...] | int] = {"per_batch_us": 1000, "per_sample_us": 100}

# A sleep ends late by about this much; the rest is waited for in naps of no length, which let other threads run.
OVERSLEEP_NS = 150_000


def version() -> str:
    """Returns the version of the timing and of the answers."""
    return "1"


def devices() -> tuple[str, ...]:
    """Returns the processor, which sleeps."""
    return ("cpu",)


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "SimulatedSession":
    """Returns a session that reads no model."""
    return SimulatedSession(workload, int(options["per_batch_us"]), int(options["per_sample_us"]))


class SimulatedSession:
    """Answers with some of the sample's own values, a known time later."""

    def __init__(self, workload: Workload, per_batch_us: int, per_sample_us: int) -> None:
        self._output_shape = workload.output_shape
        # Values from all over the sample, so that unlike samples get unlike answers.
        self._picked = np.linspace(0, prod(workload.input_shape) - 1, prod(workload.output_shape)).astype(np.int64)
        self._per_batch_ns, self._per_sample_ns = per_batch_us * 1000, per_sample_us * 1000

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns values of the samples, shape (n, *output_shape), when their time has passed."""
        end = time.perf_counter_ns() + self._per_batch_ns + len(samples) * self._per_sample_ns
        # Images may come smaller than the reference takes them.
        values = samples.reshape(len(samples), -1).take(self._picked, axis=1, mode="wrap")
        _wait_until(end)
        return values.reshape(-1, *self._output_shape)

    def close(self) -> None:
        """Does nothing: there is nothing to free."""


def _wait_until(end_ns: int) -> None:
    remaining = end_ns - time.perf_counter_ns()
    if remaining > OVERSLEEP_NS:
        time.sleep((remaining - OVERSLEEP_NS) / 1e9)
    while time.perf_counter_ns() < end_ns:
        time.sleep(0)
