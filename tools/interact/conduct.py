"""Measures a map's cells: a first look at each, then rounds in which all take turns, the order drawn anew.

What slows the machine for a while meets many cells of a round, and no cell in each round. A cell that fails is known by
the line that its process did not write, whatever ended that, and the others go on in another one.
"""

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from common.errors import RunFailed, UsageError
from suite import prepare
from suite.probes.sweep import NOT_TRIED, Turn, filling
from suite.progress import say
from tools.interact.grid import REFERENCE, Axes, Cell, beyond

# A cell's seconds are those of so many turns: enough for an interval, and none too short for a few batches.
ROUNDS = 8
# What is gathered ahead is so beside the batch before it: of one batch there is none.
LEAST_BATCHES = 3

# Beside the turns, for the time that is told beforehand: a look at a cell, its answers, and what large batches take
# longer; a process and its sessions.
LOOK_S, PROCESS_S = 1.2, 4.0


@dataclass(frozen=True)
class Measured:
    """What came of a cell: samples/s in each round, or why there are none.

    `changed` of `compared` answers are not the reference cell's.
    """

    cell: Cell
    rates: tuple[float, ...] = ()
    reason: str | None = None
    compared: int = 0
    changed: int = 0

    @property
    def untried(self) -> bool:
        """Whether nobody tried it, since a smaller batch failed or takes too long."""
        return self.reason is not None and self.reason.startswith(NOT_TRIED)

    @property
    def median(self) -> float:
        """Samples/s, the median of the rounds."""
        return median(self.rates)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of their median."""
        return (max(self.rates) - min(self.rates)) / self.median


@dataclass(frozen=True)
class Chart:
    """A map that was measured where so many cores can be used."""

    axes: Axes
    cells: Mapping[Cell, Measured]
    cores: int

    @property
    def reference(self) -> Measured:
        """What everything is relative to."""
        return self.cells[REFERENCE]

    @property
    def ran(self) -> list[Measured]:
        """The cells that have figures."""
        return [one for one in self.cells.values() if one.reason is None]

    @property
    def best(self) -> Measured:
        """The fastest cell."""
        return max(self.ran, key=lambda one: one.median)

    def relative(self, one: Measured) -> float:
        """Returns a cell's median over the reference's."""
        return one.median / self.reference.median


@dataclass(frozen=True)
class Ground:
    """What all cells have in common: the model, where it runs, within which cores, and from where to where."""

    subject: dict[str, Any]
    device: str
    pin: tuple[int, ...]
    cores: int
    stall_timeout_s: float
    end_to_end: bool = False


def expected_s(axes: Axes, cores: int, seconds: float, rounds: int) -> float:
    """Returns about how long a map takes, with so many seconds a cell in so many rounds."""
    return len(within(axes, cores)) * (seconds + LOOK_S) + (rounds + 1) * PROCESS_S


def within(axes: Axes, cores: int) -> list[Cell]:
    """Returns the cells that the cores allow."""
    return [cell for cell in axes.cells if beyond(cell, cores) is None]


def measure(axes: Axes, ground: Ground, seconds: float, rounds: int) -> Chart:
    """Returns the map, with so many seconds a cell, in rounds; raises RunFailed where the reference cell fails."""
    looks = _looks(within(axes, ground.cores), ground)
    reasons = {cell: str(found["reason"]) for cell, found in looks.items() if "reason" in found}
    _check_reference(reasons)
    rates: dict[Cell, list[float]] = {cell: [] for cell in looks if cell not in reasons}
    speeds = {cell: float(looks[cell]["samples_per_s"]) for cell in rates}
    turns = {cell: _turn(cell, ground, _samples(cell, looks[cell], seconds / rounds)) for cell in rates}
    left_s = rounds * (PROCESS_S + sum((turn.samples or 0) / speeds[cell] for cell, turn in turns.items()))
    say(f"map: {rounds} rounds of {len(turns)} cells: about {left_s / 60:.1f} minutes more")
    for number in range(1, rounds + 1):
        left = {cell: turns[cell] for cell in _shuffled(cell for cell in rates if cell not in reasons)}
        for cell, found in _taken(left, ground, f"round {number} of {rounds}", first=False):
            if "reason" in found:
                reasons[cell] = found["reason"]
            else:
                rates[cell].append(found["samples_per_s"])
    _check_reference(reasons)
    cells = {cell: Measured(cell, reason=beyond(cell, ground.cores) or reasons.get(cell)) for cell in axes.cells}
    for cell in rates.keys() - reasons.keys():
        compared, changed = _compared(looks[cell]["answers"], looks[REFERENCE]["answers"])
        cells[cell] = Measured(cell, tuple(rates[cell]), None, compared, changed)
    return Chart(axes, cells, ground.cores)


def _check_reference(reasons: Mapping[Cell, str]) -> None:
    """Raises RunFailed where the reference cell has failed: then there is nothing to compare with."""
    if REFERENCE in reasons:
        raise RunFailed(f"The cell that all others are compared with failed: {reasons[REFERENCE]}")


def _turn(cell: Cell, ground: Ground, samples: int | None) -> Turn:
    """Returns a cell's turn of so many samples, or its first one."""
    return Turn(cell.serving(ground.device, ground.pin, end_to_end=ground.end_to_end), samples, cell.options)


def _samples(cell: Cell, look: Mapping[str, Any], seconds: float) -> int:
    """Returns how many samples take about so long, by a first look at a cell."""
    return filling(cell.batch, int(look["side_by_side"]), float(look["samples_per_s"]) * seconds, LEAST_BATCHES)


def _looks(cells: Sequence[Cell], ground: Ground) -> dict[Cell, dict[str, Any]]:
    """Returns what a first turn of each cell found, with its answers."""
    turns = {cell: _turn(cell, ground, None) for cell in cells}
    return dict(_taken(turns, ground, "a first look at each cell", first=True))


def _taken(
    turns: Mapping[Cell, Turn], ground: Ground, phase: str, *, first: bool
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Yields what each turn found; first ones end, in a layout in which one failed, with the batch that did."""
    left = dict(turns)
    while left:
        found, error = _swept(list(left.values()), ground, phase)
        for one in found:
            cell = next(iter(left))
            del left[cell]
            yield cell, one
        if error is None or not left:
            continue
        failed = next(iter(left))
        del left[failed]
        yield failed, {"reason": error}
        as_large = [cell for cell in left if first and _is_as_large(cell, failed)]
        for cell in as_large:
            del left[cell]
            yield cell, {"reason": f"{NOT_TRIED}: a batch of {failed.batch:,} failed already"}


def _is_as_large(cell: Cell, other: Cell) -> bool:
    return cell.layout == other.layout and cell.batch >= other.batch


def _swept(turns: list[Turn], ground: Ground, phase: str) -> tuple[list[dict[str, Any]], str | None]:
    """Returns what turns found in a process of their own, and why the one after them failed if one did."""
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        journal = Path(folder) / "journal"
        job = {
            "subject": ground.subject,
            "turns": [
                {"serving": asdict(turn.serving), "samples": turn.samples, "options": dict(turn.options)}
                for turn in turns
            ],
            "journal": str(journal),
            "phase": phase,
            "expected_samples": sum(turn.samples or 0 for turn in turns),
        }
        error = None
        try:
            prepare.call("sweep", job, ground.stall_timeout_s, "map")
        except RunFailed as failure:
            error = str(failure)
        except UsageError as refusal:
            # That a graph cannot be cut into so many stages is a cell's own.
            if not any(turn.options for turn in turns):
                raise
            error = str(refusal)
        lines = journal.read_text(encoding="utf-8").splitlines(keepends=True) if journal.exists() else []
    # A process that was killed may have written half a line.
    return [json.loads(line) for line in lines if line.endswith("\n")], error


def _shuffled(cells: Iterator[Cell]) -> list[Cell]:
    """Returns cells in an order drawn anew, those that share sessions together, and of these those of a batch."""
    drawn: dict[tuple[int, ...], float] = {}

    def place(cell: Cell) -> tuple[float, float, float]:
        batch = (*cell.layout, cell.batch)
        return drawn.setdefault(cell.layout, random.random()), drawn.setdefault(batch, random.random()), random.random()

    return sorted(cells, key=place)


def _compared(answers: Sequence[Any], reference: Sequence[Any]) -> tuple[int, int]:
    """Returns how many answers both have, and how many of them differ."""
    pairs = list(zip(answers, reference, strict=False))
    return len(pairs), sum(one != other for one, other in pairs)
