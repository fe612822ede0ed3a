"""The reference column: upstream's own harness on the same model and samples, in turn with the pairs of ours."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from common.errors import RunFailed
from scenarios.base import LoadRules
from suite import plugins, rules
from suite.progress import say
from tools import reference_harness as harness
from tools.reference_harness import BEST_FLAGS, DEFAULT_FLAGS, HarnessFlags, Upstream
from tools.reference_samples import Prepared

# A search for upstream's highest load takes a minute or two: so many, and so many loads in each at most.
SEARCHES = 2
LOADS = 9


@dataclass
class Column:
    """What upstream's harness reached in a row, with its default flags and with the best that were found.

    Both are measured after each pair of ours, or `times` times in all. A measurement that fails is left out, and the
    text says so.
    """

    measure: Callable[[HarnessFlags], float]
    best: HarnessFlags
    default: HarnessFlags = DEFAULT_FLAGS
    times: int | None = None
    found: dict[str, list[float]] = field(default_factory=lambda: {"default": [], "best": []})
    failures: list[str] = field(default_factory=list)
    taken: int = 0

    def take(self) -> None:
        """Measures both once, unless that was done often enough."""
        if self.taken == self.times:
            return
        self.taken += 1
        for name, chosen in (("default", self.default), ("best", self.best)):
            try:
                self.found[name].append(self.measure(chosen))
            except RunFailed as error:
                self.failures.append(f"{name} flags: {error}")

    def text(self, base: float, unit: str, *, ratio: bool) -> str:
        """Returns both for people, as what they are to the base of the row."""
        said = []
        for name, values in self.found.items():
            chosen = str(self.best if name == "best" else self.default)
            flags = f"{name} flags" if chosen == name else f"{name} flags ({chosen})"
            if not values:
                said.append(f"{flags} not measured")
                continue
            middle = median(values)
            said.append(f"{flags} {middle / base:.3g}" if ratio else f"{flags} {middle - base:+.2f} {unit}")
        text = f"reference harness, measured {self.taken} times: {', '.join(said)}"
        if self.failures:
            text += f"; {len(self.failures)} of {2 * self.taken} left out, the last one: {self.failures[-1]}"
        return text


@dataclass(frozen=True)
class PeakLoad:
    """How upstream's highest load is sought: its limit, the length of a test, and the first load, in queries/s.

    `coalesce`: with LoadGen's coalesce_queries, without, or as the flags have it (None); `null`: of a model that
    computes nothing.
    """

    limit_ms: float
    seconds: float
    start: float
    coalesce: bool | None = None
    null: bool = False


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
        load = _load_rules(workload, scenario, self.seconds)
        hints: dict[HarnessFlags, float] = {}

        def measure(chosen: HarnessFlags) -> float:
            found = self._valid(prepared, scenario, load, chosen, hints)
            if value == "p50_us":
                return float(found["percentiles_ns"][0.5]) / 1000
            rate = float(found["samples_per_second"])
            return 1e6 / rate if value == "us_a_sample" else rate

        return Column(measure, BEST_FLAGS[scenario])

    def _valid(
        self,
        prepared: Prepared,
        scenario: str,
        load: LoadRules,
        chosen: HarnessFlags,
        hints: dict[HarnessFlags, float],
    ) -> dict[str, Any]:
        """Returns a VALID test; what it was told is kept for the next one with these flags. Else raises RunFailed."""
        found = harness.until_valid(
            lambda one: harness.measure(self.upstream, prepared, scenario, load, one, chosen),
            scenario,
            hints.get(chosen, harness.FIRST_HINTS[scenario]),
        )
        hints[chosen] = found["hint"]
        if not found["valid"]:
            why = (found["why_not"] or ["LoadGen does not say why"])[0]
            raise RunFailed(f"Upstream's harness was INVALID {harness.HINT_TRIES} times ({why}).")
        return found

    def peak_column(self, workload: str, peak: PeakLoad) -> Column:
        """Returns the column of a row of highest loads, queries/s: SEARCHES searches, each for both kinds of flags."""
        prepared = harness.prepared_here(workload, self.cache_dir, self.data_dir, null=peak.null)
        load = replace(_load_rules(workload, "server", peak.seconds), target_latency_ms=peak.limit_ms)
        starts: dict[HarnessFlags, float] = {}

        def measure(chosen: HarnessFlags) -> float:
            def valid_at(qps: float) -> bool:
                say(f"reference harness, flags {chosen}: {qps:,.0f} queries/s")
                return bool(harness.measure(self.upstream, prepared, "server", load, qps, chosen)["valid"])

            found = harness.highest_valid_qps(valid_at, starts.get(chosen, peak.start), tries=LOADS)
            if found is None:
                raise RunFailed(f"Upstream's harness held none of {LOADS} loads.")
            starts[chosen] = found
            return found

        both = (BEST_FLAGS["server"], DEFAULT_FLAGS)
        if peak.coalesce is not None:
            both = (replace(both[0], coalesce=peak.coalesce), replace(both[1], coalesce=peak.coalesce))
        return Column(measure, *both, times=SEARCHES)


def _load_rules(workload: str, scenario: str, seconds: float) -> LoadRules:
    """Returns the quick profile's, with tests of so many seconds."""
    load = rules.load("quick").load_rules(scenario, plugins.workload(workload).dataset_name)
    return replace(load, min_duration_ms=round(seconds * 1000))
