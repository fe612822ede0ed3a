"""What a child process says to its parent: JSON objects, one a line, through a pipe.

Kinds: `progress` (phase, whether it counts nothing, samples issued, completed and expected, fault or null), then one
of `result` (the task's answer), `error` (a sentence and its exit code). A child whose parent has gone ends itself.
"""

import json
import os
import threading
from collections.abc import Callable
from typing import Any, Final

INTERVAL_S: Final = 0.25


class Channel:
    """The child's end. `counts`, when set, is asked for (issued, completed, first fault or None)."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._phase, self._silent, self._expected, self._beats = "starting", True, 0, 0
        self.counts: Callable[[], tuple[int, int, str | None]] = lambda: (0, 0, None)
        threading.Thread(target=self._report, name="progress", daemon=True).start()

    def phase(self, name: str, expected_samples: int = 0, *, silent: bool = False) -> None:
        """Says what is going on from now, and how many samples it is expected to take.

        A silent phase loads, compiles or exports, and may go long without a sample that is completed.
        """
        self._phase, self._silent, self._expected, self._beats = name, silent, expected_samples, 0
        self._progress()

    def beat(self, samples: int) -> None:
        """Counts samples as completed in this phase, beside those of `counts`."""
        self._beats += samples

    def send(self, kind: str, value: Any) -> None:
        """Sends one message."""
        line = json.dumps({"kind": kind, "value": value}) + "\n"
        with self._lock:
            try:
                os.write(self._descriptor, line.encode())
            except BrokenPipeError:
                # Nobody listens: there is nothing left to run for, and LoadGen cannot be stopped in any other way.
                os._exit(1)

    def _progress(self) -> None:
        issued, completed, fault = self.counts()
        self.send(
            "progress",
            {
                "phase": self._phase,
                "silent": self._silent,
                "issued": issued,
                "completed": completed + self._beats,
                "expected": self._expected,
                "fault": fault,
            },
        )

    def _report(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL_S):
            self._progress()
