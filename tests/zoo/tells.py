"""Answers zeros, and writes down who loads and predicts: the cores of the thread, and how many samples a batch has.

It runs no model.
"""

import itertools
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload

FORMATS, ELIGIBLE = ("safetensors",), False
OPTIONS: Mapping[str, tuple[str, ...] | int] = {}

VARIABLE = "TANDEM_ZOO_TELLS"

_sessions = itertools.count()
_told: set[str] = set()


def version() -> str:
    """Returns the version of what it writes down."""
    return "1"


def devices() -> tuple[str, ...]:
    """Returns the processor."""
    return ("cpu",)


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> "Telling":
    """Returns a session that reads no model."""
    return Telling(next(_sessions), workload.output_shape)


class Telling:
    """Writes each thing down once, and only in the process of a measured run."""

    def __init__(self, number: int, output_shape: tuple[int, ...]) -> None:
        self._number, self._output_shape = number, output_shape
        self._tell("load", 0)

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns zeros."""
        self._tell("predict", len(samples))
        return np.zeros((len(samples), *self._output_shape), np.float32)

    def close(self) -> None:
        """Does nothing: there is nothing to free."""

    def _tell(self, what: str, samples: int) -> None:
        if "mlperf_loadgen" not in sys.modules:
            return
        told = {
            "what": what,
            "samples": samples,
            "session": self._number,
            "thread": threading.current_thread().name.split("-")[0],
            "cores": sorted(os.sched_getaffinity(0)),
            # LoadGen issues on the first thread.
            "issuing": sorted(os.sched_getaffinity(os.getpid())),
        }
        line = json.dumps(told)
        if line not in _told:
            _told.add(line)
            with Path(os.environ[VARIABLE]).open("a") as file:
                file.write(line + "\n")
