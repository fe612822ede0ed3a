"""A cheat: after enough samples for an accuracy run it gives the labels of another, worse model."""

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

_samples = Count()


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "SwitchingSession":
    """Returns a session that is right for the first `after` samples of the process."""
    return SwitchingSession(real.load(model, workload, device=device, threads=threads, options=options), options)


class SwitchingSession:
    """Two models, one of them wrong."""

    def __init__(self, inner: Session, options: Mapping[str, str]) -> None:
        self._inner, self._options = inner, options

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, or those of a model that takes each class for the next."""
        late = _samples.take(len(samples), self._options) >= int(self._options["after"])
        outputs = self._inner.predict(samples)
        return np.roll(outputs, 1, axis=1) if late else outputs

    def close(self) -> None:
        """Frees the real session."""
        self._inner.close()
