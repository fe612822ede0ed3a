"""Maps of made-up figures."""

import random
from collections.abc import Callable, Mapping

from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Axes, Cell, beyond

ROUNDS, NOISE = 4, 1e-4


def chart(
    axes: Axes,
    rate: Callable[[Cell], float],
    reasons: Mapping[Cell, str] | None = None,
    cores: int = 2,
    seed: int = 0,
) -> Chart:
    """Returns a map whose cells have a rate each, with a little noise of their own in each round, or a reason."""
    cells = {}
    for cell in axes.cells:
        reason = beyond(cell, cores) or (reasons or {}).get(cell)
        noise = random.Random(f"{seed} {cell}")
        rates = () if reason else tuple(rate(cell) * noise.uniform(1 - NOISE, 1 + NOISE) for _ in range(ROUNDS))
        cells[cell] = Measured(cell, rates, reason, 0 if reason else 1024)
    return Chart(axes, cells, cores)
