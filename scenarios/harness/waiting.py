"""What has been asked and waits to be answered, as parts that workers take: each a run of samples in order of arrival.

Of the idle workers one leads: it takes what waits, up to the maximum batch, and hands the lead on. So nothing is taken
twice, and at most one thread wakes for a query.
"""

import threading
import time
from queue import Empty, SimpleQueue
from time import perf_counter_ns

# A worker that waits for a batch to fill sleeps as long between two looks.
NAP_NS = 100_000

# Ids, indices, and whether it is a part of a query that was cut, which are not put together again.
Query = tuple[list[int], list[int], bool]
# The number of its first sample, ids, indices.
Part = tuple[int, list[int], list[int]]


class Waiting:
    """A queue of queries: `put` adds one. `max_wait_ns` is how long a batch that is not full may wait for more."""

    def __init__(self, max_batch: int, max_wait_ns: int) -> None:
        self._max_batch, self._max_wait_ns = max_batch, max_wait_ns
        self._queries: SimpleQueue[Query | None] = SimpleQueue()
        self.put = self._queries.put
        self._held: Query | None = None
        self._lead = threading.Lock()
        self._next_sample = 0
        self._closed = False

    def close(self) -> None:
        """Has everybody be told that nothing follows, once nothing waits any more."""
        self.put(None)

    def take(self, *, wait: bool = True) -> Part | None:
        """Returns the next part; None once the queue is closed, and, without waiting, where there is none now."""
        if not self._lead.acquire(blocking=wait):
            return None
        try:
            query, self._held = self._held, None
            if query is None and not self._closed:
                query = self._queries.get(block=wait)
            if query is None:
                self._closed = True
                return None
            ids, indices, part = query
            if not part:
                # Who does not wait for a query waits for none to fill a batch either.
                self._fill(ids, indices, self._max_wait_ns if wait else 0)
            first = self._next_sample
            self._next_sample += len(ids)
            return first, ids, indices
        except Empty:
            return None
        finally:
            self._lead.release()

    def _fill(self, ids: list[int], indices: list[int], max_wait_ns: int) -> None:
        """Adds waiting queries to a batch until it is full, nothing waits, or the wait is over.

        It sleeps while it waits: being woken by each query would stop LoadGen's thread at each.
        """
        deadline = perf_counter_ns() + max_wait_ns if max_wait_ns else 0
        while len(ids) < self._max_batch:
            try:
                more = self._queries.get_nowait()
            except Empty:
                left_ns = deadline - perf_counter_ns() if deadline else 0
                if left_ns <= 0:
                    return
                time.sleep(min(left_ns, NAP_NS) / 1e9)
                continue
            if more is None:
                self._closed = True
                return
            if more[2] or len(ids) + len(more[0]) > self._max_batch:
                self._held = more
                return
            ids += more[0]
            indices += more[1]
