"""The latency curve that a search for the peak saw: a table for files, and a picture."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from suite.peak import Probe

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

    # The same curve is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 10}):
        figure = Figure(figsize=(8, 4.8), layout="constrained")
        axes = figure.add_subplot()
        _curves(axes, ordered(seen))
        axes.axhline(limit_ms, color="#e45756", linestyle="--", linewidth=1.2, label=f"limit of p99: {limit_ms:g} ms")
        if peak_qps is not None:
            axes.axvline(peak_qps, color="#54a24b", linewidth=1.2, label=f"peak: {peak_qps:,.0f} queries/s")
        axes.set(xlabel="load, queries/s", ylabel="latency, ms", yscale="log", title=title)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(loc="upper left", framealpha=0.95)
        for path in paths:
            figure.savefig(path, dpi=144, metadata={"Date": None} if path.suffix == ".svg" else None)


def _curves(axes: Any, seen: Sequence[Probe]) -> None:
    known = [one for one in seen if one.p50_ms is not None]
    loads = [one.qps for one in known]
    for key, label, colour in PERCENTILES:
        latencies = [getattr(one, key) for one in known]
        axes.plot(loads, latencies, color=colour, linewidth=1.2, label=label)
        for held, marker in ((True, "o"), (False, "x")):
            marked = [(x, y) for x, y, one in zip(loads, latencies, known, strict=True) if one.held is held]
            if marked:
                name = f"{'held' if held else 'not held'}" if key == "p99_ms" else None
                axes.plot(*zip(*marked, strict=True), marker, color=colour, markersize=5, label=name)
