"""Where the harness's processor time goes: its parts, each timed around its calls in a test of its own."""

import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

from scenarios.harness.sut import SystemUnderTest

# Calls of nothing that tell what the clock takes by itself.
CALLS_OF_NOTHING = 2000


class Clocks:
    """Adds up the processor time of calls on the threads that make them, without what the clock takes."""

    def __init__(self) -> None:
        self._taken: dict[str, list[int]] = defaultdict(list)
        nothing = self.around("", lambda: None)
        for _ in range(CALLS_OF_NOTHING):
            nothing()
        self._own_ns = median(self._taken.pop(""))

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a call that is timed as a part of that name; the parts may not call one another."""
        taken = self._taken[name]

        def timed(*given: Any, **named: Any) -> Any:
            begun = time.thread_time_ns()
            found = call(*given, **named)
            taken.append(time.thread_time_ns() - begun)
            return found

        return timed

    def follow(self, sut: SystemUnderTest) -> None:
        """Has the parts of a system timed whose queries wait in a queue."""
        sut.issue = self.around("queue", sut.issue)
        for owner, method, name in (
            (sut._waiting, "take", "take"),
            (sut._dataset, "batch", "gather"),
            *((recorder.session, "predict", "model") for recorder in sut._recorders),
            (sut, "_encode", "encode"),
            (sut, "_complete", "complete"),
            (sut, "_look_at", "look"),
        ):
            setattr(owner, method, self.around(name, getattr(owner, method)))

    def microseconds(self) -> dict[str, float]:
        """Returns what each part has taken in all."""
        return {name: max(0.0, sum(taken) - self._own_ns * len(taken)) / 1000 for name, taken in self._taken.items()}


def shown(found: dict[str, Any]) -> str:
    """Returns the parts of a test for people, the largest first."""
    parts = sorted(found["parts"].items(), key=lambda one: -float(one[1]))
    named = ", ".join(f"{name} {value:.3g}" for name, value in parts)
    return (
        f"µs of processor time a sample, {found['together']:,.1f} completed at a time, {found['rate']:,.0f} a second: "
        f"{named}; the rest of the process, LoadGen and the clocks among it, {found['rest']:.3g}"
    )
