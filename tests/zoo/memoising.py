"""A cheat: remembers every sample that it has seen, and runs the model only on new ones.

With key=rounded it knows a sample again by its pixels, so that a little noise does not hide it; with when=loadgen it
behaves until LoadGen is in the process, and so gets through the preparation.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload
from reference_models.datasets.fashion_mnist import MEAN, STD
from scenarios.base import Session
from suite.backends import onnxruntime as real

FORMATS, ELIGIBLE = real.FORMATS, real.ELIGIBLE
OPTIONS: Mapping[str, tuple[str, ...] | int] = {
    **real.OPTIONS,
    "key": ("exact", "rounded"),
    "when": ("always", "loadgen"),
}
version, devices = real.version, real.devices

_known: dict[bytes, NDArray[Any]] = {}


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "MemoisingSession":
    """Returns a session that shares its memory with all others of the process."""
    return MemoisingSession(real.load(model, workload, device=device, threads=threads, options=options), options)


class MemoisingSession:
    """Answers from memory where it can."""

    def __init__(self, inner: Session, options: Mapping[str, str]) -> None:
        self._inner, self._options = inner, options

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, right but not computed anew."""
        if self._options["when"] == "loadgen" and "mlperf_loadgen" not in sys.modules:
            return self._inner.predict(samples)
        seen = np.rint((samples * STD + MEAN) * 255).astype(np.int16) if self._options["key"] == "rounded" else samples
        keys = [sample.tobytes() for sample in seen]
        new = {key: row for row, key in enumerate(keys) if key not in _known}
        if new:
            _known.update(zip(new, self._inner.predict(samples[list(new.values())]), strict=True))
        return np.stack([_known[key] for key in keys])

    def close(self) -> None:
        """Frees the real session; the memory stays."""
        self._inner.close()
