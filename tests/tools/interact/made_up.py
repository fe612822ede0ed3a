"""Maps of made-up figures."""

import random
from collections.abc import Callable, Mapping

from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Axes, Cell, beyond

# What a cell's rounds have beside its rate, each once, in an order of its own: no cell is faster for its noise.
NOISE = (0.9998, 0.9999, 1.0001, 1.0002)


def chart(
    axes: Axes, rate: Callable[[Cell], float], reasons: Mapping[Cell, str] | None = None, cores: int = 2
) -> Chart:
    """Returns a map whose cells have a rate each, with a little noise in each round, or a reason for none."""
    cells = {}
    for cell in axes.cells:
        reason = beyond(cell, cores) or (reasons or {}).get(cell)
        noise = random.Random(str(cell)).sample(NOISE, len(NOISE))
        rates = () if reason else tuple(rate(cell) * one for one in noise)
        cells[cell] = Measured(cell, rates, reason, 0 if reason else 1024)
    return Chart(axes, cells, cores)
