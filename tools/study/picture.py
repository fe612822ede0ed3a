"""Accuracy against throughput: each variant with its error bars, the target, and the front that nothing beats."""

import io
from collections.abc import Sequence
from typing import Any

from tools.study.findings import COUNTS, FAILED, WORTHLESS, Row, pareto
from tools.study.plan import REFERENCE

GOOD, BAD, OPEN = "#54a24b", "#e45756", "#8a8f98"
# Where accuracies fall to a guess, the part that matters would be a line.
SHOWN_BELOW_TARGET = 12.0
# Points as near as these shares of the axes would have their names upon each other.
NEAR = 0.03


def draw(rows: Sequence[Row], title: str) -> str:
    """Returns the picture of a workload on a backend as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    measured = [row for row in rows if row.state != FAILED and row.outcomes]
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9}):
        figure = Figure(figsize=(9.5, 5.4), layout="constrained")
        axes = figure.add_subplot()
        lowest = min((row.target for row in measured), default=0.0) - SHOWN_BELOW_TARGET
        for row in measured:
            _point(axes, row, lowest)
        front = [row for row in pareto(measured) if row.accuracy >= lowest]
        axes.plot([row.ratio for row in front], [row.accuracy for row in front], color="#4c78a8", linewidth=1, zorder=1)
        if measured:
            axes.axhline(measured[0].target, color=BAD, linestyle="--", linewidth=1)
            axes.annotate(
                f" target {measured[0].target:.2f} %",
                (1, measured[0].target),
                xycoords=("axes fraction", "data"),
                va="bottom",
                ha="right",
                color=BAD,
            )
        axes.set(xlabel="throughput over the reference's", ylabel="top-1, %", title=title)
        axes.grid(True, alpha=0.25)
        _names(axes, [row for row in measured if row.accuracy >= lowest])
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _point(axes: Any, row: Row, lowest: float) -> None:
    colour = GOOD if row.state == COUNTS else BAD if row.state in WORTHLESS else OPEN
    assert row.outcomes is not None
    if row.accuracy < lowest:
        # Below what is shown: an arrow at the edge says how far.
        axes.annotate(
            f"{row.cell.title}: {row.accuracy:.1f} %",
            (row.ratio, lowest),
            xytext=(0, 12),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            color=colour,
            arrowprops={"arrowstyle": "->", "color": colour},
        )
        return
    low, high = (row.accuracy - 100 * (row.outcomes.difference - end) for end in row.outcomes.interval())
    across = [[row.ratio - row.ends[0]], [row.ends[1] - row.ratio]] if row.ends else None
    up = None if row.cell.recipe == REFERENCE else [[row.accuracy - low], [high - row.accuracy]]
    axes.errorbar(
        row.ratio, row.accuracy, xerr=across, yerr=up, fmt="o", color=colour, markersize=5, elinewidth=0.8, zorder=2
    )


def _names(axes: Any, shown: Sequence[Row]) -> None:
    """Names the points, each a little above the last where they lie close together."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for row in sorted(shown, key=lambda row: (row.accuracy, row.ratio)):
        x, y = (row.ratio - left) / (right - left), (row.accuracy - bottom) / (top - bottom)
        while any(abs(x - one) < 0.22 and abs(y - other) < NEAR for one, other in taken):
            y += NEAR / 2
        taken.append((x, y))
        axes.annotate(
            row.cell.title,
            (row.ratio, row.accuracy),
            xytext=(x + 0.008, y),
            textcoords="axes fraction",
            fontsize=6.5,
            va="center",
        )
