"""The reference column: upstream's own harness on the same model and samples, a test of it after each pair of ours."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from suite import plugins, rules
from tools import reference_harness as harness
from tools.reference_harness import BEST_FLAGS, DEFAULT_FLAGS, HarnessFlags, Upstream
from tools.reference_samples import Prepared


@dataclass
class Column:
    """What upstream's harness reached in a row, with its default flags and with the best that were found."""

    measure: Callable[[HarnessFlags], float]
    best: HarnessFlags
    found: dict[str, list[float]] = field(default_factory=lambda: {"default": [], "best": []})

    def take(self) -> None:
        """Measures both once."""
        self.found["default"].append(self.measure(DEFAULT_FLAGS))
        self.found["best"].append(self.measure(self.best))

    def text(self, base: float, unit: str, *, ratio: bool) -> str:
        """Returns both for people, as what they are to the base of the row."""
        said = []
        for name, values in self.found.items():
            middle = median(values)
            said.append(f"{name} flags {middle / base:.2f}" if ratio else f"{name} flags {middle - base:+.2f} {unit}")
        return f"reference harness: {', '.join(said)} (best: {self.best})"


@dataclass(frozen=True)
class Reference:
    """Upstream's harness, and how long each of its tests is."""

    upstream: Upstream
    seconds: float
    data_dir: Path
    cache_dir: Path

    def column(self, workload: str, scenario: str, value: str, *, null: bool = False) -> Column:
        """Returns the column of a row; `value` is "us_a_sample", "p50_us" or "rate"."""
        prepared = harness.prepared_here(workload, self.cache_dir, self.data_dir, null=null)
        hints: dict[HarnessFlags, float] = {}

        def measure(chosen: HarnessFlags) -> float:
            found = self._valid(prepared, workload, scenario, chosen, hints)
            if value == "p50_us":
                return float(found["percentiles_ns"][0.5]) / 1000
            rate = float(found["samples_per_second"])
            return 1e6 / rate if value == "us_a_sample" else rate

        return Column(measure, BEST_FLAGS[scenario])

    def _valid(
        self,
        prepared: Prepared,
        workload: str,
        scenario: str,
        chosen: HarnessFlags,
        hints: dict[HarnessFlags, float],
    ) -> dict[str, Any]:
        """Returns a test that was long enough; what it was told is kept for the next one with these flags."""
        load = rules.load("quick").load_rules(scenario, plugins.workload(workload).dataset_name)
        load = replace(load, min_duration_ms=round(self.seconds * 1000))
        hint = hints.get(chosen, harness.FIRST_HINTS[scenario])
        found = harness.until_valid(
            lambda one: harness.measure(self.upstream, prepared, scenario, load, one, chosen), scenario, hint
        )
        hints[chosen] = found["hint"]
        return found
