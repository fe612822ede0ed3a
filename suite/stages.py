"""The stages of a sample as a person reads them: what each takes, and what a system without it could gain at most."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from scenarios.harness.stages import GATHERING, SESSION, STAGES

FILE = "stages.json"
SCHEMA = 1

WORTH_SAYING = 0.005

NAMES = {"decode": "load and decode", "completion": "completion, checks"}
COLOURS = {
    "gather": "#9ecae9",
    "decode": "#54a24b",
    "preprocess": "#88d27a",
    "copy in": "#f2cf5b",
    "execute": "#4c78a8",
    "copy out": "#b79a20",
    "postprocess": "#e45756",
    "completion": "#b279a2",
    "idle": "#dddddd",
}


@dataclass(frozen=True)
class Breakdown:
    """Where a session's time goes, in microseconds a sample: `stages_us`, and `idle_us` in which it has none.

    `elapsed_us` is one second over the throughput: `sessions` of them work side by side, so a session has as many times
    that for a sample. With `prefetch`, so many threads gather, and one completes, beside the session that computes, and
    the busiest of them sets the pace. `queue_us` is the mean wait of a sample before its part begins.
    """

    parts: int
    samples: int
    sessions: int
    prefetch: int
    elapsed_us: float
    queue_us: float
    stages_us: Mapping[str, float]

    @property
    def pace_us(self) -> float:
        """What a sample takes of a session that is never idle."""
        return self._pace({})

    @property
    def idle_us(self) -> float:
        """What a session has of its time for each sample and does not need."""
        return self.whole_us - self.pace_us

    @property
    def whole_us(self) -> float:
        """What a session has of its time for each sample; a followed one may take longer than the others did."""
        return max(self.pace_us, self.sessions * self.elapsed_us)

    @property
    def execute_only_per_s(self) -> float:
        """Samples/s of sessions that do nothing but compute."""
        return 1e6 * self.sessions / self.stages_us["execute"]

    @property
    def throughput_per_s(self) -> float:
        """Samples/s that were measured, end to end."""
        return 1e6 / self.elapsed_us

    def bound(self, stage: str) -> float:
        """Returns how many times as fast sessions could be at most if this stage took no time (Amdahl, AFIPS 1967)."""
        return self.pace_us / max(1e-9, self._pace({stage: 0.0}))

    def _pace(self, instead: Mapping[str, float]) -> float:
        taken = {**self.stages_us, **instead}
        session, gathering = (sum(taken[stage] for stage in stages) for stages in (SESSION, GATHERING))
        rest = sum(taken.values()) - session - gathering
        return max(session, gathering / self.prefetch, rest) if self.prefetch else session + gathering + rest

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values, with what follows from it."""
        derived = {
            name: getattr(self, name) for name in ("pace_us", "idle_us", "execute_only_per_s", "throughput_per_s")
        }
        return {**asdict(self), **derived, "bounds": {stage: self.bound(stage) for stage in self.stages_us}}

    def lines(self) -> list[str]:
        """Returns the table for people."""
        whole = self.whole_us
        rows = [
            (NAMES.get(stage, stage), taken, f"{self.bound(stage):.3f}")
            for stage, taken in self.stages_us.items()
            if taken
        ]
        side = f"{self.sessions} side by side" if self.sessions > 1 else "alone"
        return [
            f"{'a session, ' + side:<24}{'µs a sample':>12}{'share':>9}  at most so many times as fast without it",
            *(f"{name:<24}{taken:>12,.2f}{taken / whole:>9.1%}  {bound}" for name, taken, bound in rows),
            f"{'idle':<24}{self.idle_us:>12,.2f}{self.idle_us / whole:>9.1%}",
            f"execution alone would be {self.execute_only_per_s:,.0f} samples/s, end to end it is "
            f"{self.throughput_per_s:,.0f}: {self.throughput_per_s / self.execute_only_per_s:.3f} of it"
            + ("; gathering and completing go on beside it" if self.prefetch else ""),
            f"a sample waits {self.queue_us / 1000:,.3f} ms on average before its part begins; "
            f"{self.parts:,} parts of {self.samples:,} samples were followed",
            *self._slower(),
        ]

    def _slower(self) -> list[str]:
        """Returns a warning where the followed parts took longer than the others: their code is not in the caches."""
        more = self.pace_us / (self.sessions * self.elapsed_us) - 1
        if more < WORTH_SAYING:
            return []
        return [f"what was followed took {more:.1%} longer than the rest: stages beside execution are read too high"]


def breakdown(seen: Mapping[str, Any], throughput_per_s: float, sessions: int, *, prefetch: int) -> Breakdown | None:
    """Returns the breakdown of what `Stages.record` says; None where no part was followed."""
    samples = seen["samples"]
    if not samples:
        return None
    return Breakdown(
        parts=seen["parts"],
        samples=samples,
        sessions=sessions,
        prefetch=prefetch,
        elapsed_us=1e6 / throughput_per_s,
        queue_us=seen["queue_ns"] / samples / 1000,
        stages_us={stage: seen["stages_ns"][stage] / samples / 1000 for stage in STAGES},
    )


def read(folder: Path) -> Breakdown | None:
    """Returns the breakdown in a run's folder, if it has one; raises RunFailed where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = Breakdown.__dataclass_fields__
        ordered = {stage: float(found["stages_us"][stage]) for stage in STAGES}
        return Breakdown(**{**{name: found[name] for name in names}, "stages_us": ordered})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"{path} holds no stages: {error!r}.") from error


def draw(paths: Sequence[Path], found: Breakdown, title: str) -> None:
    """Draws the stages as one stacked bar into each path, by its suffix (svg, png)."""
    import matplotlib
    from matplotlib.figure import Figure

    taken = {**{stage: value for stage, value in found.stages_us.items() if value}, "idle": found.idle_us}
    whole = found.whole_us
    # The same stages are the same file.
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 10}):
        figure = Figure(figsize=(8, 2.8), layout="constrained")
        axes = figure.add_subplot()
        left = 0.0
        for stage, value in taken.items():
            label = f"{NAMES.get(stage, stage)}: {value:,.2f} µs, {value / whole:.1%}"
            axes.barh([0], [value], left=left, color=COLOURS[stage], label=label, edgecolor="white", linewidth=0.5)
            left += value
        axes.set(xlabel="µs of a session's time a sample", yticks=[], title=title, xlim=(0, left), ylim=(-0.5, 0.5))
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
        for path in paths:
            figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else None)
