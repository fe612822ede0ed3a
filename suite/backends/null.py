"""Answers zeros at once: for tests, and for measuring our own overhead. Its numbers never count."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload

FORMATS = ("safetensors", "onnx")
ELIGIBLE = False
OPTIONS: Mapping[str, tuple[str, ...] | int] = {}

# Zeros for as many samples are made once: no batch is larger, and making them would be something to do.
MOST = 1024


def version() -> str:
    """Returns the version of the answers."""
    return "1"


def devices() -> tuple[str, ...]:
    """Returns the processor, which has next to nothing to do."""
    return ("cpu",)


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> "NullSession":
    """Returns a session that reads no model."""
    return NullSession(workload.output_shape)


class NullSession:
    """Answers zeros."""

    def __init__(self, output_shape: tuple[int, ...]) -> None:
        self._zeros = np.zeros((MOST, *output_shape), np.float32)

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns zeros, shape (n, *output_shape)."""
        return self._zeros[: len(samples)]

    def close(self) -> None:
        """Does nothing: there is nothing to free."""
