"""What can be seen of a test under way, at a cost that does not grow with it.

A look holds the interpreter's lock, and whoever waits for it is late: so each adds what is new to what was seen.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenarios.harness.recording import Position
from scenarios.harness.sut import SystemUnderTest

OPEN = -1
# Samples that there is room for at first; it is doubled as often as it takes.
ROOM = 1 << 14


@dataclass(frozen=True)
class Look:
    """How many queries arrived and were completed, how many are late, and the median latency of the last tenth.

    Late are those completed after the limit, overdue those that have been open for longer.
    """

    arrived: int
    completed: int
    late: int
    overdue: int
    tail_ns: float


class Watch:
    """Follows a system under test; `limit_ns` is how long a query may take."""

    def __init__(self, sut: SystemUnderTest, limit_ns: float) -> None:
        self._sut, self._limit_ns, self._position = sut, limit_ns, Position()
        self._arrival_ns, self._taken_ns = np.empty(ROOM, np.int64), np.full(ROOM, OPEN, np.int64)
        self._arrived = self._completed = self._late = self._first_open = self._now_ns = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds from the first arrival to the last look; asked once something has arrived."""
        return (self._now_ns - int(self._arrival_ns[0])) / 1e9

    def look(self, now_ns: int) -> Look:
        """Returns what can be seen by now."""
        self._now_ns = now_ns
        new, self._position = self._sut.timeline_since(self._position)
        self._arrive(np.repeat(new["callback_ns"], new["callback_samples"]))
        self._complete(new["batch_first"], new["batch_samples"], new["batch_ns"])
        still = slice(self._first_open, self._arrived)
        waits_ns = now_ns - self._arrival_ns[still][self._taken_ns[still] == OPEN]
        overdue = int(np.count_nonzero(waits_ns > self._limit_ns))
        return Look(self._arrived, self._completed, self._late, overdue, self._tail_ns())

    def percentile_ms(self, percentile: float) -> float | None:
        """Returns a percentile of what was completed, None where nothing was."""
        taken = self._taken_ns[: self._arrived]
        return float(np.percentile(taken[taken != OPEN], percentile)) / 1e6 if self._completed else None

    def _arrive(self, arrival_ns: NDArray[np.int64]) -> None:
        end = self._arrived + len(arrival_ns)
        while end > len(self._arrival_ns):
            self._arrival_ns = np.concatenate([self._arrival_ns, np.empty_like(self._arrival_ns)])
            self._taken_ns = np.concatenate([self._taken_ns, np.full_like(self._taken_ns, OPEN)])
        self._arrival_ns[self._arrived : end] = arrival_ns
        self._arrived = end

    def _complete(self, first: NDArray[np.int64], count: NDArray[np.int64], ended_ns: NDArray[np.int64]) -> None:
        total = int(count.sum())
        samples = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(total)
        taken_ns = np.repeat(ended_ns, count) - self._arrival_ns[samples]
        self._taken_ns[samples] = taken_ns
        self._completed += total
        self._late += int(np.count_nonzero(taken_ns > self._limit_ns))
        still = np.flatnonzero(self._taken_ns[self._first_open : self._arrived] == OPEN)
        self._first_open = self._first_open + int(still[0]) if len(still) else self._arrived

    def _tail_ns(self) -> float:
        """Returns the median latency of the last tenth of what was completed, in order of arrival; 0 without any."""
        count = max(1, self._completed // 10)
        # All that is open may lie among them.
        last = self._taken_ns[max(0, self._arrived - count - (self._arrived - self._completed)) : self._arrived]
        done = last[last != OPEN][-count:]
        return float(np.median(done)) if len(done) else 0.0
