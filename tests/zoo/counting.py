"""Counts what the process was asked for, so that a member of the zoo knows when to misbehave."""

import sys
import threading
from collections.abc import Mapping


class Count:
    """A running number that the process's sessions share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0

    def take(self, amount: int, options: Mapping[str, str]) -> int:
        """Returns the number before `amount` more; -1, with nothing counted, while the member is to behave.

        With the option when=loadgen it behaves until LoadGen is in the process: it knows a measured run, as a
        cheat would, and gets through the preparation.
        """
        if options["when"] == "loadgen" and "mlperf_loadgen" not in sys.modules:
            return -1
        with self._lock:
            first = self._next
            self._next += amount
            return first


WHEN = ("loadgen", "always")
