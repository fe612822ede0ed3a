"""A map as people read it: a table a panel, the best point, why cells have no figure, and which shapes were seen."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from statistics import median

from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Axes, Cell, gathering, layout, staged
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
    """Returns the recipe that asks for a cell's serving, with the runtime options that go with it."""
    prefetch = f"+prefetch:{cell.prefetch}" if cell.prefetch else ""
    options = ",".join(f"{name}={value}" for name, value in cell.options.items())
    recipe = f"batch:{cell.batch}+parallel:{cell.sessions},threads={cell.threads}{prefetch}"
    return f"{recipe} --backend-options {options}" if options else recipe


def reasons(chart: Chart) -> Iterator[str]:
    """Yields each reason for which cells have no figure, with the cells that it is for."""
    found: dict[tuple[tuple[int, int, int], str], list[Cell]] = {}
    for one in chart.cells.values():
        if one.reason is not None:
            found.setdefault((one.cell.layout, one.reason), []).append(one.cell)
    whole = len(chart.axes.batches) * len(chart.axes.prefetch)
    for (alike, reason), cells in found.items():
        yield f"{layout(*alike)}{'' if len(cells) == whole else f', {_which(cells, chart.axes)}'}: {reason}"


def _which(cells: Sequence[Cell], axes: Axes) -> str:
    sizes = sorted({cell.batch for cell in cells})
    batches = f"batches of {', '.join(f'{size:,}' for size in sizes)}"
    both = len(axes.prefetch) == 1 or len(cells) == len(sizes) * len(axes.prefetch)
    ahead = ", ".join(gathering(one) for one in sorted({cell.prefetch for cell in cells}))
    return batches if both else f"{batches}, {ahead}"


def _panels(chart: Chart) -> Iterator[str]:
    """Yields the lines of the panels, those of as many threads and stages side by side."""
    for kind in chart.axes.kinds:
        panels = [list(_panel(chart, kind, ahead)) for ahead in chart.axes.prefetch]
        yield ""
        yield from (BETWEEN.join(lines).rstrip() for lines in zip_longest(*panels, fillvalue=""))


def panel_title(kind: tuple[int, int], ahead: int, between: str = ", ") -> str:
    """Returns what the cells of a panel have in common: threads and stages, and how batches are gathered."""
    threads, stages = kind
    return f"{threads:,} thread{'' if threads == 1 else 's'} a session{staged(stages)}{between}{gathering(ahead)}"


def _panel(chart: Chart, kind: tuple[int, int], ahead: int) -> Iterator[str]:
    """Yields lines of one width: a batch each, a column for each number of sessions."""
    axes = chart.axes
    width = WIDTH * (1 + len(axes.sessions))
    title = panel_title(kind, ahead)
    width = max(width, len(title))
    yield title.ljust(width)
    yield "".join(word.rjust(WIDTH) for word in ("sessions", *(f"{one:,} " for one in axes.sessions))).ljust(width)
    for batch in axes.batches:
        cells = (Cell(sessions, kind[0], batch, ahead, kind[1]) for sessions in axes.sessions)
        words = (_figure(chart, chart.cells[cell]) for cell in cells)
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
