"""Which cores the sessions of a test run on, and how a thread is put there. Only Linux can pin threads.

A thread inherits the cores of the one that makes it, so what a runtime makes of threads while it loads stays with it.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from common.errors import RunFailed, UsageError

# Words of --pin in place of a list.
AUTO, OFF, ALL = "auto", "off", "all"

# A core, or the first and the last of several; no machine has a core of more digits.
_PART = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?", re.ASCII)


def requested(text: str) -> str:
    """Returns --pin in the one form in which it is recorded: auto, off, all, or a list as the kernel writes it.

    Raises UsageError for a list that cannot be read, that names cores which this process may not use, or where the
    platform cannot pin.
    """
    word = text.strip().lower()
    if word in (AUTO, OFF):
        return word
    spans = [] if word == ALL else _spans(text)
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(f"--pin is '{text}', and threads cannot be pinned on this platform; use --pin off.")
    if word == ALL:
        return word
    allowed = os.sched_getaffinity(0)
    # What lies beyond the last core is not counted out: it may be a long way.
    outside = {high for _, high in spans if high > max(allowed)}
    outside |= {core for low, high in spans for core in range(low, min(high, max(allowed)) + 1)} - allowed
    if outside:
        raise UsageError(
            f"--pin is '{text}', but this process may not use {named(outside)}; it may use {named(allowed)}."
        )
    return listed(core for low, high in spans for core in range(low, high + 1))


def cores_of(pin: str) -> tuple[int, ...]:
    """Returns the cores that a recorded --pin names here; auto and off name none, and nothing is pinned."""
    if pin in (AUTO, OFF):
        return ()
    if pin == ALL:
        return usable()
    return tuple(sorted({core for low, high in _spans(pin) for core in range(low, high + 1)}))


def usable() -> tuple[int, ...]:
    """Returns the cores on which threads can be pinned here."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_setaffinity") else ()


def listed(cores: Iterable[int]) -> str:
    """Returns cores as the kernel lists them, as in 0-3,8."""
    spans: list[list[int]] = []
    for core in sorted(set(cores)):
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def named(cores: Iterable[int]) -> str:
    """Returns cores as people are told of them: core 2, or cores 0-3,8."""
    several = set(cores)
    return f"core{'' if len(several) == 1 else 's'} {listed(several)}"


def shares(pin: Sequence[int], sessions: int) -> list[tuple[int, ...]]:
    """Returns each session's cores: neighbours, as many for each as for another, or one more.

    More sessions than cores take turns, one core each. Without a pin every share is empty: not pinned.
    """
    count = len(pin)
    if sessions > count:
        return [(pin[number % count],) if count else () for number in range(sessions)]
    return [tuple(pin[number * count // sessions : (number + 1) * count // sessions]) for number in range(sessions)]


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Keeps the calling thread, and the threads that it makes, on these cores; no cores leave it where it is.

    Raises RunFailed where the machine has taken a core away since it was asked for.
    """
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        raise RunFailed(f"A thread cannot be pinned to {named(cores)} ({error.strerror}).") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _spans(text: str) -> list[tuple[int, int]]:
    """Returns the first and the last core of each part of a list."""
    found = [_PART.fullmatch(part.strip()) for part in text.split(",")]
    spans = [(int(one[1]), int(one[2] or one[1])) for one in found if one]
    if len(spans) < len(found) or any(low > high for low, high in spans):
        raise UsageError(f"--pin is '{text}'; write auto, off, all, or cores as the kernel lists them, as in 0-3,8.")
    return spans
