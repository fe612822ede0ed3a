"""What every rule of the law is given, and what it returns.

A rule is a pure function of a pair of runs. What it cannot read does not pass: nothing that is missing may count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.judge import Judge
from scenarios import multi_stream, offline, server, single_stream
from scenarios.base import LoadRules
from suite.evidence import Evidence
from suite.rules import Rules

# How records and people name a scenario that the law knows, and how LoadGen does.
LOADGEN_NAMES = {
    "single-stream": single_stream.LOADGEN_NAME,
    "multi-stream": multi_stream.LOADGEN_NAME,
    "server": server.LOADGEN_NAME,
    "offline": offline.LOADGEN_NAME,
}
LOADGEN_MODES = {"performance": "PerformanceOnly", "accuracy": "AccuracyOnly"}


@dataclass(frozen=True)
class Check:
    """One rule's judgement: its code, whether it holds, and why, in one line."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Facts:
    """What the workload in our own source says, whatever evidence says of it; the target in percent."""

    workload: str
    dataset: str
    dataset_sha256: str
    preprocessing: str
    truth: NDArray[np.int64]
    judge: Judge
    metric: str
    target: float
    payload_dtype: str

    @property
    def total(self) -> int:
        """How many samples the dataset has."""
        return len(self.truth)


@dataclass(frozen=True)
class Pair:
    """A performance run and an accuracy run, and what they are held against."""

    performance: Evidence
    accuracy: Evidence
    rules: Rules
    facts: Facts

    @property
    def runs(self) -> tuple[tuple[str, Evidence], ...]:
        """Both runs, each with the mode that it must have."""
        return ("performance", self.performance), ("accuracy", self.accuracy)

    def load_rules(self, run: Evidence) -> LoadRules | None:
        """Returns the round's numbers for a run's scenario on the workload's dataset, or None where it has none."""
        if run.scenario not in self.rules.scenarios or self.facts.dataset not in self.rules.datasets:
            return None
        return self.rules.load_rules(run.scenario, self.facts.dataset)


Rule = Callable[[Pair], Check]


def judged(name: str, faults: list[str], otherwise: str) -> Check:
    """Returns a check that fails with all its faults, or passes with what was seen."""
    return Check(name, not faults, "; ".join(faults) or otherwise)


def whole(value: Any) -> int | None:
    """Returns a whole number from zero that fits 64 bits, else None; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        return None
    return value
