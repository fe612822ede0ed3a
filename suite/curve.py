"""The latency curve that a search for the peak saw: a table for files, and a picture."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from suite.peak import Probe

TICKS = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
PERCENTILES = (("p50_ms", "p50", "#4c78a8"), ("p90_ms", "p90", "#f58518"), ("p99_ms", "p99", "#b279a2"))


def write_csv(path: Path, seen: Sequence[Probe]) -> None:
    """Writes a line a load, the lowest first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Probe)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(one) for one in ordered(seen))


def ordered(seen: Sequence[Probe]) -> list[Probe]:
    """Returns probes by their load."""
    return sorted(seen, key=lambda one: (one.qps, one.held))


def draw(paths: Sequence[Path], seen: Sequence[Probe], peak_qps: float | None, limit_ms: float, title: str) -> None:
    """Draws load against latency into each path, by its suffix (svg, png): the limit, what was held and what not."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    # The same curve is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 10}):
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.add_subplot()
        _curves(axes, ordered(seen))
        axes.axhline(limit_ms, color="#e45756", linestyle="--", linewidth=1.2, label=f"limit of p99: {limit_ms:g} ms")
        if peak_qps is not None:
            axes.axvline(peak_qps, color="#54a24b", linewidth=1.2, label=f"peak: {peak_qps:,.0f} queries/s")
        axes.set(xlabel="load, queries/s", ylabel="latency, ms", yscale="log", title=title)
        axes.set_yticks([one for one in TICKS if axes.get_ylim()[0] <= one <= axes.get_ylim()[1]])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(True, alpha=0.25)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        for path in paths:
            figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else None)


def _curves(axes: Any, seen: Sequence[Probe]) -> None:
    """Draws a line through what was held; what was not held was mostly ended early, and says only that."""
    known = [one for one in seen if one.p50_ms is not None]
    for key, label, colour in PERCENTILES:
        for held, style, name in ((True, "o-", f"{label}, held"), (False, "x", f"{label}, not held")):
            points = [(one.qps, getattr(one, key)) for one in known if one.held is held]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=colour, markersize=4.5, linewidth=1.2, label=name)
