"""A map as people read it: a table a panel, the best point, why cells have no figure, and which shapes were seen."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from statistics import median

from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Axes, Cell, gathering, layout
from tools.interact.shapes import shapes

BETWEEN = " " * 6
NONE, BEST = "-", "*"
WIDTH = 8


def text(chart: Chart, title: str) -> str:
    """Returns the map under its title."""
    best, rounds = chart.best, len(chart.reference.rates)
    return "\n".join(
        (
            title,
            f"relative to batches of 1 and 1 session of 1 thread, {_rate(chart.reference)}; medians of {rounds} rounds",
            *_panels(chart),
            "",
            f"best ({BEST}): {best.cell.title}: {chart.relative(best):.2f} times, {_rate(best)}; as a recipe, "
            f"--optimize {recipe(best.cell)}",
            f"spread: the rounds of a cell lie within {_spread(chart)}",
            *(f"{NONE} {line}" for line in reasons(chart)),
            "",
            *(one.sentence for one in shapes(chart)),
        )
    )


def recipe(cell: Cell) -> str:
    """Returns the recipe that asks for a cell's serving."""
    prefetch = f"+prefetch:{cell.prefetch}" if cell.prefetch else ""
    return f"batch:{cell.batch}+parallel:{cell.sessions},threads={cell.threads}{prefetch}"


def reasons(chart: Chart) -> Iterator[str]:
    """Yields each reason for which cells have no figure, with the cells that it is for."""
    found: dict[tuple[int, int, str], list[Cell]] = {}
    for one in chart.cells.values():
        if one.reason is not None:
            found.setdefault((one.cell.sessions, one.cell.threads, one.reason), []).append(one.cell)
    whole = len(chart.axes.batches) * len(chart.axes.prefetch)
    for (sessions, threads, reason), cells in found.items():
        yield f"{layout(sessions, threads)}{'' if len(cells) == whole else f', {_which(cells, chart.axes)}'}: {reason}"


def _which(cells: Sequence[Cell], axes: Axes) -> str:
    sizes = sorted({cell.batch for cell in cells})
    batches = f"batches of {', '.join(f'{size:,}' for size in sizes)}"
    both = len(axes.prefetch) == 1 or len(cells) == len(sizes) * len(axes.prefetch)
    ahead = ", ".join(gathering(one) for one in sorted({cell.prefetch for cell in cells}))
    return batches if both else f"{batches}, {ahead}"


def _panels(chart: Chart) -> Iterator[str]:
    """Yields the lines of the panels, those of as many threads side by side."""
    for threads in chart.axes.threads:
        panels = [list(_panel(chart, threads, ahead)) for ahead in chart.axes.prefetch]
        yield ""
        yield from (BETWEEN.join(lines).rstrip() for lines in zip_longest(*panels, fillvalue=""))


def _panel(chart: Chart, threads: int, ahead: int) -> Iterator[str]:
    """Yields lines of one width: a batch each, a column for each number of sessions."""
    axes = chart.axes
    width = WIDTH * (1 + len(axes.sessions))
    title = f"{threads:,} thread{'' if threads == 1 else 's'} a session, {gathering(ahead)}"
    width = max(width, len(title))
    yield title.ljust(width)
    yield "".join(word.rjust(WIDTH) for word in ("sessions", *(f"{one:,} " for one in axes.sessions))).ljust(width)
    for batch in axes.batches:
        words = (_figure(chart, chart.cells[Cell(one, threads, batch, ahead)]) for one in axes.sessions)
        yield "".join(word.rjust(WIDTH) for word in (f"{batch:,}", *words)).ljust(width)


def _figure(chart: Chart, one: Measured) -> str:
    if one.reason is not None:
        return f"{NONE} "
    return f"{chart.relative(one):.2f}{BEST if one is chart.best else ' '}"


def _rate(one: Measured) -> str:
    return f"{one.median:,.0f} samples/s ({min(one.rates):,.0f} to {max(one.rates):,.0f})"


def _spread(chart: Chart) -> str:
    spreads = sorted(one.spread for one in chart.ran)
    return f"{100 * median(spreads):.0f} % of its median in half of the cells, {100 * spreads[-1]:.0f} % at most"
