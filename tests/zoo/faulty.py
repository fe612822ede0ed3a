"""Faulty in the way that the environment names, from its n-th batch under LoadGen. It runs no model.

The way is no option, so all ways are one variant, whose preparation is done once.
"""

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload

FORMATS, ELIGIBLE = ("safetensors",), False
OPTIONS: Mapping[str, tuple[str, ...] | int] = {}

VARIABLE = "TANDEM_ZOO_FAULT"
# More than the warm-up has.
FIRST_BATCH = 20

_batches = itertools.count()


def version() -> str:
    """Returns the version of the faults."""
    return "1"


def devices() -> tuple[str, ...]:
    """Returns the processor."""
    return ("cpu",)


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> "FaultySession":
    """Returns a session that reads no model."""
    return FaultySession(workload.output_shape, FAULTS[os.environ.get(VARIABLE, "none")])


Answer = NDArray[Any]


class FaultySession:
    """Answers zeros until its moment comes."""

    def __init__(self, output_shape: tuple[int, ...], fault: Callable[[Answer], Answer]) -> None:
        self._output_shape, self._fault = output_shape, fault

    def predict(self, samples: NDArray[np.float32]) -> Answer:
        """Returns zeros, or what the fault makes of them."""
        outputs = np.zeros((len(samples), *self._output_shape), np.float32)
        due = "mlperf_loadgen" in sys.modules and next(_batches) >= FIRST_BATCH
        return self._fault(outputs) if due else outputs

    def close(self) -> None:
        """Does nothing: there is nothing to free."""


def _raise(outputs: Answer) -> Answer:
    raise RuntimeError("the model fell over")


def _short(outputs: Answer) -> Answer:
    return outputs[:-1]


def _nan(outputs: Answer) -> Answer:
    outputs[0] = np.nan
    return outputs


def _hang(outputs: Answer) -> Answer:
    while True:
        time.sleep(1)


def _hang_in_a_library(outputs: Answer) -> Answer:
    # A call through PyDLL keeps the interpreter's lock: no other thread of the process runs.
    ctypes.PyDLL(None).sleep(600)
    return outputs


def _kill(outputs: Answer) -> Answer:
    os.kill(os.getpid(), signal.SIGKILL)
    return outputs


def _abort(outputs: Answer) -> Answer:
    os.abort()


def _exit(outputs: Answer) -> Answer:
    sys.exit("no licence")


def _chatter(outputs: Answer) -> Answer:
    os.write(1, b'\xff{"kind": "result", "value": null}\n')
    return outputs


def _dawdle(outputs: Answer) -> Answer:
    time.sleep(0.02)
    return outputs


FAULTS: Mapping[str, Callable[[Answer], Answer]] = {
    "none": lambda outputs: outputs,
    "raises": _raise,
    "short": _short,
    "nan": _nan,
    "hangs": _hang,
    "hangs in a library": _hang_in_a_library,
    "kills itself": _kill,
    "aborts": _abort,
    "exits": _exit,
    "chatters": _chatter,
    "dawdles": _dawdle,
}
