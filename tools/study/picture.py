"""Pictures of a study.

Accuracy against throughput: each variant with its error bars, the target, and the front that nothing beats. And what
each step of a chain added.
"""

import io
from collections.abc import Sequence
from typing import Any

from suite import plugins
from tools.study.chain import Addition, chains
from tools.study.findings import COUNTS, WORTHLESS, Row
from tools.study.plan import REFERENCE
from tools.study.ranking import pareto, ranked, speed

GOOD, BAD, OPEN = "#54a24b", "#e45756", "#8a8f98"
# Points of accuracy: what lies deeper below the target is drawn at the lower edge, or the rest would be a line.
DEPTH = 2.5
# Of the axes: points that lie as near share a label.
NEAR = (0.09, 0.04)


def draw(rows: Sequence[Row], title: str) -> dict[str, bytes]:
    """Returns the picture of a workload on a backend as "svg" and as "png"."""
    import matplotlib
    from matplotlib.figure import Figure

    measured = ranked(rows)
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9}):
        # Each has a line of the legend beside the axes.
        figure = Figure(figsize=(12, max(5.4, 0.6 + 0.2 * len(measured))), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlabel="throughput over the reference's", ylabel=f"{_metric(rows)}, %", title=title)
        axes.grid(True, alpha=0.25)
        if measured:
            _points(axes, measured)
        return {suffix: _saved(figure, suffix) for suffix in ("svg", "png")}


def waterfall(rows: Sequence[Row], title: str) -> dict[str, bytes]:
    """Returns the picture of what each step of each chain added, as "svg" and "png"; nothing where no chain is."""
    import matplotlib
    from matplotlib.figure import Figure

    found = chains(rows)
    if not found:
        return {}
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9}):
        figure = Figure(figsize=(9, 0.7 + 0.45 * sum(len(added) + 1 for _, added in found)), layout="constrained")
        speed, answers = figure.subplots(1, 2, sharey=True)
        _steps(speed, answers, found)
        figure.suptitle(title)
        speed.set(xlabel="throughput over the step before")
        answers.set(xlabel=f"points of {_metric(rows)} that the step added")
        speed.axvline(1.0, color=OPEN, linewidth=1)
        answers.axvline(0.0, color=OPEN, linewidth=1)
        return {suffix: _saved(figure, suffix) for suffix in ("svg", "png")}


def _metric(rows: Sequence[Row]) -> str:
    """Returns how people call the metric of rows that are all of one workload."""
    return plugins.workload(rows[0].cell.workload).judge.TITLE if rows else "accuracy"


def _steps(speed: Any, answers: Any, found: Sequence[tuple[Row, Sequence[Addition]]]) -> None:
    """Draws a bar for each step of each chain, the first above the others, with its interval."""
    names: list[str] = []
    for row, added in found:
        names.append(row.cell.recipe)
        for one in added:
            height, low, high = len(names), *(100 * end for end in one.outcomes.interval())
            points = 100 * one.outcomes.difference
            across = [[one.ratio - one.ends[0]], [one.ends[1] - one.ratio]] if one.ends else None
            speed.barh(height, one.ratio - 1, left=1, xerr=across, color=GOOD if one.ratio > 1 else BAD, alpha=0.8)
            answers.barh(
                height,
                points,
                xerr=[[max(0.0, points - low)], [max(0.0, high - points)]],
                color=GOOD if points > 0 else BAD,
                alpha=0.8,
            )
            names.append(f"+ {one.step}")
    speed.set_yticks(range(len(names)), names)
    speed.invert_yaxis()


def _points(axes: Any, measured: Sequence[Row]) -> None:
    """Draws the rows, numbered from the fastest on, with their names beside the axes."""
    target = measured[0].target
    lowest = max(target - DEPTH, min(row.accuracy for row in measured) - 0.5)
    handles = [_point(axes, number, row, lowest) for number, row in enumerate(measured, 1)]
    front = [row for row in pareto(measured) if row.accuracy >= lowest]
    axes.plot([speed(row) for row in front], [row.accuracy for row in front], color="#4c78a8", linewidth=1, zorder=1)
    axes.axhline(target, color=BAD, linestyle="--", linewidth=1)
    axes.annotate(
        f"target {target:.2f} %", (1, target), xycoords=("axes fraction", "data"), va="top", ha="right", color=BAD
    )
    axes.set_ylim(lowest - 0.3, max(row.accuracy for row in measured) + 0.5)
    _label(axes, [(speed(row), max(row.accuracy, lowest)) for row in measured])
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=7.5)


def _point(axes: Any, number: int, row: Row, lowest: float) -> Any:
    """Draws a row and returns its line of the legend."""
    from matplotlib.lines import Line2D

    colour = GOOD if row.state == COUNTS else BAD if row.state in WORTHLESS else OPEN
    deep = row.accuracy < lowest
    height, marker = (lowest, "v") if deep else (row.accuracy, "o")
    # The reference is what the others are over, and has no error.
    reference = row.cell.recipe == REFERENCE
    across = [[row.ratio - row.ends[0]], [row.ends[1] - row.ratio]] if row.ends and not reference else None
    up = None if deep or reference else _error(row)
    axes.errorbar(
        speed(row), height, xerr=across, yerr=up, fmt=marker, color=colour, markersize=5, elinewidth=0.8, alpha=0.85
    )
    name = f"{number}  {row.cell.title}{f' ({row.accuracy:.1f} %)' if deep else ''}"
    return Line2D([], [], marker=marker, linestyle="", color=colour, markersize=5, label=name)


def _label(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Writes their numbers beside the points, of those that lie together all at once."""
    near = [share * (ends[1] - ends[0]) for share, ends in zip(NEAR, (axes.get_xlim(), axes.get_ylim()), strict=True)]
    groups: list[list[int]] = []
    for number, (x, y) in enumerate(points, 1):
        first = (points[group[0] - 1] for group in groups)
        home = [abs(x - left) < near[0] and abs(y - height) < near[1] for left, height in first]
        groups[home.index(True)].append(number) if True in home else groups.append([number])
    for group in groups:
        across, heights = zip(*(points[number - 1] for number in group), strict=True)
        corner = (min(across) + max(across)) / 2, max(heights)
        axes.annotate(_runs(group), corner, xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7)


def _runs(numbers: Sequence[int]) -> str:
    """Returns rising numbers, those in a row by their ends."""
    runs: list[list[int]] = []
    for number in numbers:
        runs[-1].append(number) if runs and number == runs[-1][-1] + 1 else runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if run[2:] else ", ".join(map(str, run)) for run in runs)


def _error(row: Row) -> list[list[float]]:
    """Returns how far the accuracy, beside the reference's on the same samples, may be lower and higher."""
    assert row.outcomes is not None
    low, high = (100 * abs(end - row.outcomes.difference) for end in row.outcomes.interval())
    return [[low], [high]]


def _saved(figure: Any, suffix: str) -> bytes:
    file = io.BytesIO()
    # The same picture is the same file.
    figure.savefig(file, format=suffix, dpi=144, metadata={"Date": None} if suffix == "svg" else None)
    return file.getvalue()
