"""A map as a picture: a heat map for each number of threads and stages, in turn and ahead; grey has no figure."""

import io
from typing import Any

import numpy as np

from tools.interact.conduct import Chart, Measured
from tools.interact.grid import Cell
from tools.interact.report import BEST, NONE, panel_title

COLOURS, MISSING = "viridis", "#e3e5e8"
# Of a cell, in inches, and what a panel needs beside its cells.
CELL_WIDTH, CELL_HEIGHT, BESIDE = 0.8, 0.32, 1.1
NARROWEST = 7.5
TICKS = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 1.5, 2, 3, 5, 7)]
# From this part of the colours on they are light, and figures dark.
LIGHT = 0.6


def draw(chart: Chart, title: str) -> dict[str, bytes]:
    """Returns the picture as "svg" and as "png"."""
    import matplotlib
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    axes, figures = chart.axes, [chart.relative(one) for one in chart.ran]
    # A map of one cell has colours, too.
    low, high = min(figures), max(*figures, 1.01 * min(figures))
    norm = LogNorm(low, high)
    width = 2 + len(axes.kinds) * (BESIDE + CELL_WIDTH * len(axes.sessions))
    height = 1 + len(axes.prefetch) * (BESIDE + CELL_HEIGHT * len(axes.batches))
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9}):
        figure = Figure(figsize=(max(NARROWEST, width), height), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(len(axes.prefetch), len(axes.kinds), squeeze=False)
        for line, ahead in zip(panels, axes.prefetch, strict=True):
            for panel, kind in zip(line, axes.kinds, strict=True):
                image = _panel(panel, chart, kind, ahead, norm)
        bar = figure.colorbar(image, ax=panels, label="throughput over that of batches of 1, 1 session of 1 thread")
        ticks = [tick for tick in TICKS if low <= tick <= high]
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        bar.minorticks_off()
        return {suffix: _saved(figure, suffix) for suffix in ("svg", "png")}


def _panel(panel: Any, chart: Chart, kind: tuple[int, int], ahead: int, norm: Any) -> Any:
    """Draws a panel, a row a batch and a column for each number of sessions; returns the image."""
    axes = chart.axes
    cells = [
        [chart.cells[Cell(sessions, kind[0], batch, ahead, kind[1])] for sessions in axes.sessions]
        for batch in axes.batches
    ]
    values = np.array([[np.nan if one.reason else chart.relative(one) for one in line] for line in cells])
    panel.set_facecolor(MISSING)
    image = panel.imshow(values, norm=norm, cmap=COLOURS, aspect="auto")
    for row, line in enumerate(cells):
        for column, one in enumerate(line):
            _label(panel, chart, one, (column, row), norm)
    panel.set_xticks(range(len(axes.sessions)), [f"{one:,}" for one in axes.sessions])
    panel.set_yticks(range(len(axes.batches)), [f"{one:,}" for one in axes.batches])
    panel.set(xlabel="sessions", ylabel="batch")
    panel.set_title(panel_title(kind, ahead, ",\n"), fontsize=9)
    return image


def _label(panel: Any, chart: Chart, one: Measured, place: tuple[int, int], norm: Any) -> None:
    if one.reason:
        panel.text(*place, NONE, ha="center", va="center", color="#666666")
        return
    value, best = chart.relative(one), one is chart.best
    panel.text(
        *place,
        f"{value:.2f}{BEST if best else ''}",
        ha="center",
        va="center",
        color="black" if norm(value) > LIGHT else "white",
        fontweight="bold" if best else "normal",
    )


def _saved(figure: Any, suffix: str) -> bytes:
    file = io.BytesIO()
    # The same picture is the same file.
    figure.savefig(file, format=suffix, dpi=144, metadata={"Date": None} if suffix == "svg" else None)
    return file.getvalue()
