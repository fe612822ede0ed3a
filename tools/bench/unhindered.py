"""The load that a server without any cost of its own would hold, on a machine as it was while the raw loop ran.

The raw loop's trace says how much each session had answered by when, its stalls included. Served from it in order of
arrival, with no batch to wait for and nobody in between, a query is late only where the machine was.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenarios.harness import early_stopping

# The search ends where two loads differ by less, as a share of the trace's rate.
PRECISION = 0.005

Floats = NDArray[np.float64]


def progress(ended_ns: Sequence[NDArray[np.int64]], batch: int) -> tuple[Floats, Floats]:
    """Returns times in ns, and how many samples had been answered by each, of each session's ends of batches."""
    times = np.unique(np.concatenate([[0], *ended_ns])).astype(np.float64)
    each = [np.interp(times, np.concatenate([[0], ends]), batch * np.arange(len(ends) + 1)) for ends in ended_ns]
    return times, np.sum(each, axis=0)


def latencies_ns(arrivals_ns: Floats, times_ns: Floats, answered: Floats) -> Floats:
    """Returns each query's latency; arrivals are in order.

    Whatever the machine would have done while nobody waited is lost (Lindley's recursion, over the trace's own clock).
    """
    numbers = np.arange(len(arrivals_ns))
    idle = np.maximum.accumulate(np.interp(arrivals_ns, times_ns, answered) - numbers)
    completed: Floats = np.interp(numbers + 1 + idle, answered, times_ns)
    return completed - arrivals_ns


def highest_load(
    ended_ns: Sequence[NDArray[np.int64]], batch: int, limit_ns: float, percentile: float, seed: int
) -> float:
    """Returns the highest load held, by LoadGen's rule, in queries/s; 0 where none is."""
    times, answered = progress(ended_ns, batch)
    # While all sessions were at work, and with time left to be late in.
    whole_ns = min(float(ends[-1]) for ends in ended_ns)
    rate = float(np.interp(whole_ns, times, answered)) / whole_ns
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=int(rate * whole_ns))

    def held(share: float) -> bool:
        arrivals = np.cumsum(gaps) / share
        arrivals = arrivals[arrivals < whole_ns - limit_ns]
        late = int(np.count_nonzero(latencies_ns(arrivals, times, answered) > limit_ns))
        return early_stopping.met(len(arrivals), late, percentile)

    low, high = 0.0, 1.0
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low * rate * 1e9
