"""Where the time of a sample goes: some parts of the load are followed stage by stage, the others are left alone.

The stages are those of end-to-end studies (load and decode, preprocess, copy in, execute, copy out, postprocess), and
the harness's own: queue (from arrival until a worker begins), gather, completion (LoadGen is told, and the answers are
looked at). A stage's time is of the thread that does it; what another thread does meanwhile is not in it.
"""

import random
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.base import Session
from scenarios.harness.timeline import Timeline

# As a dataset, a session and the harness mark them.
SESSION = ("copy in", "execute", "copy out")
GATHERING = ("gather", "decode", "preprocess")
STAGES = (*GATHERING, *SESSION, "postprocess", "completion")

# From one followed part to the next, on average. What following costs: `python -m tools.bench_harness --only stages`.
PERIOD_NS = 20_000_000


class Laps:
    """One part of the load as it is followed: the time of each stage, from one mark to the next."""

    def __init__(self) -> None:
        self.ns = dict.fromkeys(STAGES, 0)
        self.started_ns = self._last = perf_counter_ns()

    def __call__(self, stage: str) -> None:
        """Ends a stage, and begins whatever comes next."""
        now = perf_counter_ns()
        if stage not in self.ns:
            raise ValueError(f"There is no stage '{stage}'. Mark the end of: {', '.join(self.ns)}.")
        self.ns[stage] += now - self._last
        self._last = now

    def resume(self) -> None:
        """Begins anew, on another thread or after a wait: what was before belongs to no stage."""
        self._last = perf_counter_ns()


class Stages:
    """Chooses the parts to follow, at random moments, and keeps what was seen of them. Any thread may use it."""

    def __init__(self, period_ns: int = PERIOD_NS) -> None:
        self._period_ns, self._next_ns = period_ns, 0
        self._kept: list[tuple[int, int, Laps]] = []

    @property
    def followed(self) -> int:
        """How many parts have been followed."""
        return len(self._kept)

    def begin(self) -> Laps | None:
        """Returns what follows a part, or None where this one is left alone."""
        now = perf_counter_ns()
        if now < self._next_ns:
            return None
        # Anything periodic in the load must not meet the period of the samples.
        self._next_ns = now + int(self._period_ns * random.uniform(0.5, 1.5))
        return Laps()

    def keep(self, first: int, count: int, laps: Laps) -> None:
        """Keeps what was seen of the part of `count` samples that begins with number `first`."""
        self._kept.append((first, count, laps))

    def record(self, seen: Timeline) -> dict[str, Any]:
        """Returns the sums over the followed parts, JSON-like, in nanoseconds.

        `queue_ns` is the sum over samples of the wait between arrival and begin.
        """
        arrival_ns = seen.arrival_ns
        waits = [
            count * laps.started_ns - int(arrival_ns[first : first + count].sum()) for first, count, laps in self._kept
        ]
        return {
            "parts": self.followed,
            "samples": sum(count for _, count, _ in self._kept),
            "queue_ns": sum(waits),
            "stages_ns": {stage: sum(laps.ns[stage] for *_, laps in self._kept) for stage in STAGES},
        }


def predict_marked(session: Session, samples: NDArray[np.float32], mark: Callable[[str], None]) -> NDArray[Any]:
    """Returns a session's outputs; what it does not mark itself is execution."""
    marked = getattr(session, "predict_marked", None)
    outputs: NDArray[Any] = session.predict(samples) if marked is None else marked(samples, mark)
    mark("execute")
    return outputs
