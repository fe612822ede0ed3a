"""Keeps the thread that issues Server's queries from stopping, at each of its wake-ups, a session that is at work.

It sleeps until a query is due, thousands of times a second, and Linux takes the core for a thread that wakes from one
that computes. Where no core is idle that costs the sessions a tenth of the machine, whatever the callback does, and
the callback three times what it takes when several queries are due. A thread of SCHED_BATCH waits instead for an idle
core or the end of a time slice, and then issues all that is due (sched(7); `python -m tools.bench_harness --only
yielding`). LoadGen times each query from its schedule, so what a query waits is part of its latency.
"""

import contextlib
import os
from collections.abc import Iterator

# A slice of time lasts some milliseconds, up to the tick that follows its end (1 to 10 ms, as the kernel was built); a
# limit that is not well above that has no room for it.
LEAST_LIMIT_NS = 10e6


def pays(session_threads: int) -> bool:
    """Returns whether to yield beside sessions of so many threads each.

    Several spin while they wait for one another (torch: OpenMP), on cores that are never idle then.
    """
    return session_threads == 1


@contextlib.contextmanager
def yielding(limit_ns: float | None) -> Iterator[bool]:
    """Has the calling thread, and those that it starts, yield where queries have a latency limit with room for it.

    Yields whether they do. A thread whose policy somebody has chosen keeps it, and so does one that the system does not
    let change.
    """
    fits = limit_ns is not None and limit_ns >= LEAST_LIMIT_NS
    if not fits or not _is_ordinary() or not _set("SCHED_BATCH"):
        yield False
        return
    try:
        yield True
    finally:
        _set("SCHED_OTHER")


def _is_ordinary() -> bool:
    try:
        return os.sched_getscheduler(0) == os.SCHED_OTHER
    except (AttributeError, OSError):
        return False


def _set(policy: str) -> bool:
    try:
        os.sched_setscheduler(0, getattr(os, policy), os.sched_param(0))
    except (AttributeError, OSError):
        return False
    return True
