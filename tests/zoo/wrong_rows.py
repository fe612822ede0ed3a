"""Faulty: answers one batch with a row less than it has samples."""

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


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> "ShortSession":
    """Returns a session that goes wrong on the process's n-th batch, the first being number 0."""
    return ShortSession(real.load(model, workload, device=device, threads=threads, options=options), options)


class ShortSession:
    """A real session until its moment comes."""

    def __init__(self, inner: Session, options: Mapping[str, str]) -> None:
        self._inner, self._options = inner, options

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, or all but the last."""
        due = _batches.take(1, self._options) == int(self._options["n"])
        outputs = self._inner.predict(samples)
        return outputs[:-1] if due else outputs

    def close(self) -> None:
        """Frees the real session."""
        self._inner.close()
