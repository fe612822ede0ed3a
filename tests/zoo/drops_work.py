"""A cheat: after enough samples for an accuracy run it answers every tenth batch with zeros, without running it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload
from scenarios.base import Session
from suite.backends import onnxruntime as real
from tests.zoo.counting import WHEN, Count

FORMATS, ELIGIBLE = real.FORMATS, real.ELIGIBLE
OPTIONS: Mapping[str, tuple[str, ...] | int] = {**real.OPTIONS, "after": 20_000, "when": WHEN}
version, devices = real.version, real.devices

_samples, _late_batches = Count(), Count()


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "DroppingSession":
    """Returns a session that does all its work for the first `after` samples of the process."""
    inner = real.load(model, workload, device=device, threads=threads, options=options)
    return DroppingSession(inner, workload.output_shape, options)


class DroppingSession:
    """Nine tenths of a session."""

    def __init__(self, inner: Session, output_shape: tuple[int, ...], options: Mapping[str, str]) -> None:
        self._inner, self._output_shape, self._options = inner, output_shape, options

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, or zeros."""
        late = _samples.take(len(samples), self._options) >= int(self._options["after"])
        if late and _late_batches.take(1, self._options) % 10 == 9:
            return np.zeros((len(samples), *self._output_shape), np.float32)
        return self._inner.predict(samples)

    def close(self) -> None:
        """Frees the real session."""
        self._inner.close()
