"""Runs the stages of a cut graph as a pipeline."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.base import Session


class Pipeline:
    """Sessions in a row, each on a thread of its own: while one has a batch, the one before it has the next.

    A batch is never split, so that its answers are those of the uncut model even where they depend on the batch. Who
    asks waits for the answers: it takes `callers` to have all stages at work.
    """

    def __init__(self, stages: Sequence[Session]) -> None:
        # One for each stage, and one that gathers or completes its batch meanwhile.
        self.callers = len(stages) + 1
        self._stages, self._closed = stages, False
        # A thread is made where a stage is first asked, and keeps to the cores of who asks.
        self._threads = [ThreadPoolExecutor(1) for _ in stages]
        self._entry = threading.Lock()

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the last stage's outputs, shape (n, *output_shape)."""
        if self._closed:
            raise RuntimeError("predict was called on a closed session")
        # Every stage has the batches in one order: else one would wait for a batch that is behind another.
        with self._entry:
            begun = self._threads[0].submit(self._stages[0].predict, samples)
            for stage, thread in zip(self._stages[1:], self._threads[1:], strict=True):
                begun = thread.submit(_follow, stage, begun)
        return begun.result()

    def close(self) -> None:
        """Ends the threads and frees the sessions."""
        self._closed = True
        for thread in self._threads:
            thread.shutdown()
        for stage in self._stages:
            stage.close()


def _follow(stage: Session, before: "Future[NDArray[Any]]") -> NDArray[Any]:
    return stage.predict(before.result())
