"""Faulty: never comes back from one batch."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload
from scenarios.base import Session
from suite.backends import onnxruntime as real
from tests.zoo.counting import WHEN, Count

FORMATS, ELIGIBLE = real.FORMATS, real.ELIGIBLE
OPTIONS: Mapping[str, tuple[str, ...] | int] = {**real.OPTIONS, "n": 20, "when": WHEN}
version, devices = real.version, real.devices

_batches = Count()


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "HangingSession":
    """Returns a session that goes wrong on the process's n-th batch, the first being number 0."""
    return HangingSession(real.load(model, workload, device=device, threads=threads, options=options), options)


class HangingSession:
    """A real session until its moment comes."""

    def __init__(self, inner: Session, options: Mapping[str, str]) -> None:
        self._inner, self._options = inner, options

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, or does not return."""
        due = _batches.take(1, self._options) == int(self._options["n"])
        while due:
            time.sleep(1)
        return self._inner.predict(samples)

    def close(self) -> None:
        """Frees the real session."""
        self._inner.close()
