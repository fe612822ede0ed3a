"""Faulty: has no room for larger batches. Sessions of one thread say so; those of more end their process."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload
from scenarios.base import Session
from suite.backends import onnxruntime as real

FORMATS, ELIGIBLE = real.FORMATS, real.ELIGIBLE
OPTIONS: Mapping[str, tuple[str, ...] | int] = {**real.OPTIONS, "room": 4}
version, devices = real.version, real.devices


def load(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> "CrampedSession":
    """Returns a session that has room for as many samples at once as the options say."""
    inner = real.load(model, workload, device=device, threads=threads, options=options)
    return CrampedSession(inner, int(options["room"]), dies=threads > 1)


class CrampedSession:
    """A real session, up to its size."""

    def __init__(self, inner: Session, room: int, *, dies: bool) -> None:
        self._inner, self._room, self._dies = inner, room, dies

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the outputs, or raises, or ends the process as the kernel would."""
        if len(samples) > self._room:
            if self._dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError(f"no room for {len(samples)} samples")
        return self._inner.predict(samples)

    def close(self) -> None:
        """Frees the real session."""
        self._inner.close()
