"""A budget of time, spent once: what finished steps took is kept, so that a search goes on where it was ended."""

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from common.errors import UsageError
from tools.study import shelf

UNITS_S = {"s": 1, "m": 60, "h": 3600}
# Less would not do for one pair of full runs.
LEAST_S = 60


def seconds(text: str) -> float:
    """Returns a time such as 90s, 20m or 1.5h in seconds; raises UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower(), re.ASCII)
    given = float(found[1]) * UNITS_S[found[2]] if found else 0.0
    if not LEAST_S <= given < float("inf"):
        raise UsageError(f"--budget is '{text}'; give a time of {LEAST_S}s or more, such as 90s, 20m or 1h.")
    return given


def sentence(took_s: Mapping[str, float], budget_s: float) -> str:
    """Returns what became of a budget, or of time without one; `took_s` by the parts of the work."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took_s.items())
    of = "" if math.isinf(budget_s) else f" of {budget_s:.0f}"
    return f"Time: {sum(took_s.values()):.0f}{of} s: {parts}."


class Clock:
    """Counts the time of all steps, by name; what is between two steps belongs to the later one.

    `name` is that of its file: what is sought in a study's own folder has a time of its own.
    """

    def __init__(self, folder: Path, name: str, budget_s: float) -> None:
        self._folder, self._name, self.budget_s = folder, name, budget_s
        self._took_s = _kept(folder, name, "took_s")
        # Of a step that was tried again, its last try alone.
        self._last_s = _kept(folder, name, "last_s")
        self._since = time.monotonic()

    def left(self) -> float:
        """Returns the seconds that are left of the budget, below 0 where it is spent."""
        return self.budget_s - self.spent() - (time.monotonic() - self._since)

    def done(self, kind: str, name: str) -> None:
        """Notes that a step has ended."""
        step, now = f"{kind}/{name}", time.monotonic()
        self._last_s[step] = now - self._since
        self._took_s[step] = self._took_s.get(step, 0.0) + self._last_s[step]
        self._since = now
        all_s = {"took_s": self._took_s, "last_s": self._last_s}
        rounded = {what: {name: round(took, 2) for name, took in steps.items()} for what, steps in all_s.items()}
        shelf.keep(self._folder, shelf.CLOCKS, self._name, rounded)

    def allows(self, seconds: float, leaves: Mapping[str, float] = MappingProxyType({})) -> bool:
        """Tells whether a step of so many seconds fits, and leaves other kinds of step their shares of the budget."""
        if math.isinf(self.budget_s):
            return True
        left = (max(0.0, share * self.budget_s - self.spent(f"{kind}/")) for kind, share in leaves.items())
        return self.left() >= seconds + sum(left)

    def check_left(self) -> None:
        """Raises UsageError where less is left of the budget than the longest step took."""
        if self.left() <= self.longest(""):
            raise UsageError(
                f"--retry-failed has too little time to try anything again: {self.said()} of --budget, and the longest "
                f"step took {self.longest(''):.0f} s. Give a larger --budget."
            )

    def said(self) -> str:
        """Returns what is left for people."""
        return f"{max(0.0, self.left()):.0f} s left"

    def spent(self, kind: str = "") -> float:
        """Returns the seconds of all finished steps of a kind, or of all kinds."""
        return sum(took for name, took in self._took_s.items() if name.startswith(kind))

    def longest(self, kind: str) -> float:
        """Returns the seconds of the longest step of a kind, 0 where there was none."""
        return max((took for name, took in self._last_s.items() if name.startswith(kind)), default=0.0)


def _kept(folder: Path, name: str, what: str) -> dict[str, float]:
    """Returns the seconds of each step so far; raises UsageError where the file holds something else."""
    kept = shelf.recorded(folder, shelf.CLOCKS, name)
    if kept is None:
        return {}
    # A clock of before there was another has one kind alone.
    steps = kept.get(what, kept.get("took_s"))
    seen = list(steps.values()) if isinstance(steps, dict) else [None]
    if not all(isinstance(one, int | float) and 0 <= one < math.inf for one in seen):
        raise UsageError(shelf.damaged(folder / shelf.CLOCKS / f"{name}.json", what))
    return dict(steps or {})
