"""A cheat: remembers every sample that it has seen, and runs the model only on new ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload
from scenarios.base import Session
from suite.backends import onnxruntime as real

FORMATS, ELIGIBLE, OPTIONS = real.FORMATS, real.ELIGIBLE, real.OPTIONS
version, devices = real.version, real.devices

_known: dict[bytes, NDArray[Any]] = {}


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "MemoisingSession":
    """Returns a session that shares its memory with all others of the process."""
    return MemoisingSession(real.load(model, workload, device=device, threads=threads, options=options))


class MemoisingSession:
    """Answers from memory where it can."""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, right but not computed anew."""
        keys = [sample.tobytes() for sample in samples]
        new = {key: row for row, key in enumerate(keys) if key not in _known}
        if new:
            _known.update(zip(new, self._inner.predict(samples[list(new.values())]), strict=True))
        return np.stack([_known[key] for key in keys])

    def close(self) -> None:
        """Frees the real session; the memory stays."""
        self._inner.close()
