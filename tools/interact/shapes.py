"""What a map looks like beside the one that is known: Li and Jiang, "Performance Analysis of Cambricon MLU100".

(Bench'19, LNCS 12093, 57-66, figure 5: batch, data parallel, model parallel and reader threads on a ResNet-50.) Each
claim is one of that figure's, but that on stages. Whether it holds here is computed: a ratio of cells that took turns
in the same rounds, with Student's t on its logarithms; where its interval holds 1, nobody can tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import fmean

from common.statistics import mean_interval
from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Cell, layout

SEEN, NOT_SEEN, UNKNOWN, UNMEASURED = "seen here", "not seen here", "cannot tell", "not measured"
CONFIDENCE = 0.95

Pair = tuple[Measured, Measured]


@dataclass(frozen=True)
class Shape:
    """A claim, whether it was seen, and the figures that say so."""

    claim: str
    outcome: str
    figures: str

    @property
    def sentence(self) -> str:
        """It, for people."""
        return f"{self.claim}: {self.outcome}; {self.figures}"


@dataclass(frozen=True)
class Ratio:
    """A ratio of throughputs, with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} times ({self.low:.2f} to {self.high:.2f})"

    @property
    def outcome(self) -> str:
        """Whether it is above 1."""
        return SEEN if self.low > 1 else NOT_SEEN if self.high < 1 else UNKNOWN


def shapes(chart: Chart) -> list[Shape]:
    """Returns each claim with what the map says of it."""
    return [
        _interior(chart),
        _too_large(chart),
        _data_over_model(chart),
        _data_over_stages(chart),
        _interaction(chart),
        _ahead(chart),
        _corner(chart),
        _answers(chart),
    ]


def ratio_of(pairs: Sequence[Pair], comparisons: int = 1) -> Ratio:
    """Returns how many times as fast the first cells of pairs are as the second, in the geometric mean of the pairs.

    `comparisons` are as many as this one could have been chosen from (Bonferroni).
    """
    return _ratio([fmean(one) for one in zip(*map(_logs, pairs), strict=True)], comparisons)


def _logs(pair: Pair) -> list[float]:
    """Returns the logarithm of a pair's ratio in each round."""
    return [log(one / other) for one, other in zip(pair[0].rates, pair[1].rates, strict=True)]


def _ratio(logs: Sequence[float], comparisons: int = 1) -> Ratio:
    low, high = mean_interval(logs, 1 - (1 - CONFIDENCE) / comparisons)
    return Ratio(exp(fmean(logs)), exp(low), exp(high))


def _interior(chart: Chart) -> Shape:
    claim = "The best batch is neither the smallest nor the largest"
    best, line = chart.best, _line(chart)
    if len(line) < 3:
        return Shape(claim, UNMEASURED, "it takes three batches")
    first, last = line[0], line[-1]
    if best in (first, last):
        end = "largest that ran" if best is last else "smallest"
        return Shape(claim, NOT_SEEN, f"the best cell has the {end}, {best.cell.batch:,}")
    ratios = [ratio_of([(best, end)], comparisons=len(line) - 1) for end in (first, last)]
    return Shape(
        claim,
        SEEN if all(one.outcome == SEEN for one in ratios) else UNKNOWN,
        f"batches of {best.cell.batch:,} make {ratios[0]} what batches of {first.cell.batch:,} make, and {ratios[1]} "
        f"what batches of {last.cell.batch:,} make",
    )


def _too_large(chart: Chart) -> Shape:
    claim = "The largest batch is slower than the smallest"
    line = _line(chart)
    first, last = line[0], line[-1]
    if first is last:
        return Shape(claim, UNMEASURED, "it takes two batches")
    ratio = ratio_of([(first, last)])
    small, large = first.cell.batch, last.cell.batch
    return Shape(claim, ratio.outcome, f"batches of {small:,} make {ratio} what batches of {large:,} make")


def _data_over_model(chart: Chart) -> Shape:
    claim = "Sessions side by side gain more than threads of one session"
    return _data_over(chart, claim, lambda cell, count: _with(cell, 1, count))


def _data_over_stages(chart: Chart) -> Shape:
    claim = "Sessions side by side gain more than stages of one session"
    return _data_over(chart, claim, lambda cell, count: replace(_with(cell, 1, count), stages=count))


def _data_over(chart: Chart, claim: str, model: Callable[[Cell, int], Cell]) -> Shape:
    """Returns whether so many sessions make more than what a cell with one becomes by so much model parallelism."""
    count, pairs = _most(chart, lambda cell, count: (_with(cell, count, 1), model(cell, count)))
    if not pairs:
        return Shape(claim, UNMEASURED, "no batch ran with both")
    ratio = ratio_of(pairs)
    alone = [chart.cells[_with(one.cell, 1, 1)] for one, _ in pairs]
    gains = [ratio_of([(pair[side], one) for pair, one in zip(pairs, alone, strict=True)]) for side in (0, 1)]
    return Shape(
        claim,
        ratio.outcome,
        f"over {_batches(pairs)}, {layout(count, 1)} make {ratio} what {layout(*pairs[0][1].cell.layout)} makes; "
        f"beside {layout(1, 1)} that is {gains[0]} and {gains[1]}",
    )


def _interaction(chart: Chart) -> Shape:
    claim = "What sessions gain depends on the batch"
    count, pairs = _most(chart, lambda cell, count: (_with(cell, count, 1), _with(cell, 1, 1)))
    pairs = [pair for pair in pairs if not pair[0].cell.prefetch]
    if len(pairs) < 2:
        return Shape(claim, UNMEASURED, "it takes two batches with several sessions")
    small, large = pairs[0], pairs[-1]
    more = _ratio([one - other for one, other in zip(_logs(large), _logs(small), strict=True)])
    return Shape(
        claim,
        UNKNOWN if more.outcome == UNKNOWN else SEEN,
        f"{layout(count, 1)} make {ratio_of([small])} what one makes with batches of {small[0].cell.batch:,}, and "
        f"{ratio_of([large])} with batches of {large[0].cell.batch:,}",
    )


def _ahead(chart: Chart) -> Shape:
    claim = "To gather batches ahead of inference pays"
    found = [_both(chart, one.cell, _in_turn(one.cell)) for one in chart.ran if one.cell.prefetch]
    pairs = [pair for pair in found if pair is not None]
    if not pairs:
        return Shape(claim, UNMEASURED, "--prefetch was 0")
    ratio = ratio_of(pairs)
    spare = [pair for pair in pairs if pair[0].cell.cores < chart.cores]
    busy = [pair for pair in pairs if pair[0].cell.cores >= chart.cores]
    parts = ((spare, "where a core is left for it"), (busy, "where sessions take all"))
    told = [f"{ratio_of(some)} {where}" for some, where in parts if some and len(some) < len(pairs)]
    return Shape(
        claim, ratio.outcome, f"it makes {ratio} over {len(pairs)} cells{': ' if told else ''}{', '.join(told)}"
    )


def _corner(chart: Chart) -> Shape:
    claim = "Some cells that the cores allow fail"
    allowed = [one for one in chart.cells.values() if one.cell.cores <= chart.cores]
    without = [one for one in allowed if one.reason is not None]
    untried = sum(one.untried for one in without)
    failed = len(without) - untried
    more = f", and {untried} were not tried" if untried else ""
    return Shape(claim, SEEN if failed else NOT_SEEN, f"{failed} of {len(allowed)} did{more}")


def _answers(chart: Chart) -> Shape:
    claim = "Batch and parallelism leave the answers alone"
    changed = [one for one in chart.ran if one.changed]
    if not changed:
        least = min(one.compared for one in chart.ran)
        return Shape(claim, SEEN, f"no answer of {least:,} or more differs in any of {len(chart.ran)} cells")
    worst = max(changed, key=lambda one: one.changed / one.compared)
    return Shape(
        claim,
        NOT_SEEN,
        f"{len(changed)} of {len(chart.ran)} cells change some, most of all {worst.cell.title}: {worst.changed:,} of "
        f"{worst.compared:,}",
    )


def _line(chart: Chart) -> list[Measured]:
    """Returns the cells that differ from the best in their batch alone, and ran, the smallest batch first."""
    best = chart.best.cell
    cells = (replace(best, batch=batch) for batch in chart.axes.batches)
    return [chart.cells[cell] for cell in cells if chart.cells[cell].reason is None]


def _most(chart: Chart, sides: Callable[[Cell, int], tuple[Cell, Cell]]) -> tuple[int, list[Pair]]:
    """Returns the highest count at which both sides of a cell of one session ran, and those pairs by their batch."""
    alone = [Cell(1, 1, batch, ahead) for batch in chart.axes.batches for ahead in chart.axes.prefetch]
    ran = [cell for cell in alone if chart.cells[cell].reason is None]
    for count in sorted({*chart.axes.sessions, *chart.axes.threads} - {1}, reverse=True):
        found = [_both(chart, *sides(cell, count)) for cell in ran]
        pairs = [pair for pair in found if pair is not None]
        if pairs:
            return count, pairs
    return 1, []


def _both(chart: Chart, one: Cell, other: Cell) -> Pair | None:
    """Returns two cells where both ran."""
    first, second = chart.cells.get(one), chart.cells.get(other)
    if first is None or second is None or first.reason is not None or second.reason is not None:
        return None
    return first, second


def _with(cell: Cell, sessions: int, threads: int) -> Cell:
    return Cell(sessions, threads, cell.batch, cell.prefetch)


def _in_turn(cell: Cell) -> Cell:
    return replace(cell, prefetch=0)


def _batches(pairs: Sequence[Pair]) -> str:
    sizes = sorted({one.cell.batch for one, _ in pairs})
    return f"batches of {sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"batches of {sizes[0]:,}"
