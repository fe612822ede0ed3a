"""The load that a server without any cost of its own would hold, on a machine as it was while the raw loop ran.

The raw loop's trace says how many samples the machine had answered by when, its stalls included. Served from it in
order of arrival, with no batch to wait for and nobody in between, a query is late only where the machine was.
"""

import numpy as np
from numpy.typing import NDArray

from scenarios.harness import early_stopping

# Of the trace's rate; the search ends where two loads differ by less than the last.
LOWEST, PRECISION = 0.02, 0.005


def latencies_ns(arrivals_ns: NDArray[np.float64], ended_ns: NDArray[np.int64], batch: int) -> NDArray[np.float64]:
    """Returns each query's latency, where batches of so many samples ended at these times, from 0 on.

    Whatever the machine would have done while nobody waited is lost (Lindley's recursion, over the trace's own clock).
    """
    times = np.concatenate([[0], ended_ns])
    answered = batch * np.arange(len(times))
    numbers = np.arange(len(arrivals_ns))
    idle = np.maximum.accumulate(np.interp(arrivals_ns, times, answered) - numbers)
    completed: NDArray[np.float64] = np.interp(numbers + 1 + idle, answered, times)
    return completed - arrivals_ns


def highest_share(ended_ns: NDArray[np.int64], batch: int, limit_ns: float, percentile: float, seed: int) -> float:
    """Returns the highest load held, by LoadGen's rule, over the rate of the trace."""
    whole_ns, samples = float(ended_ns[-1]), batch * len(ended_ns)
    gaps = np.random.default_rng(seed).exponential(size=samples)

    def held(share: float) -> bool:
        arrivals = np.cumsum(gaps) * whole_ns / (share * samples)
        arrivals = arrivals[arrivals < whole_ns]
        late = int(np.count_nonzero(latencies_ns(arrivals, ended_ns, batch) > limit_ns))
        return early_stopping.met(len(arrivals), late, percentile)

    low, high = LOWEST, 1.0
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return low
