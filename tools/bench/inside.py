"""What threads spend inside sessions, and between their calls of them."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

from scenarios.base import Session


class Inside:
    """Times the calls of sessions from here on: nanoseconds and samples by the identity of the thread that calls."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.ns, self.samples = defaultdict[int, int](int), defaultdict[int, int](int)
        self._begun, self._ended = dict[int, int](), dict[int, int]()
        for session in sessions:
            session.predict = self._timed(session.predict)  # type: ignore[method-assign]

    def between_ns(self) -> int:
        """Returns the time between two calls in all, from each thread's first call to its last."""
        return sum(self._ended[thread] - self._begun[thread] - self.ns[thread] for thread in self._ended)

    def _timed(self, predict: Callable[..., Any]) -> Callable[..., Any]:
        def call(samples: Any) -> Any:
            thread, begun = get_ident(), time.perf_counter_ns()
            found = predict(samples)
            ended = self._ended[thread] = time.perf_counter_ns()
            self._begun.setdefault(thread, begun)
            self.ns[thread] += ended - begun
            self.samples[thread] += len(samples)
            return found

        return call
