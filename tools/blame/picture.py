"""The layers by rank, with what they repair and what they change alone, and the accuracy without the worst of them."""

import io
from typing import Any

from suite import plugins
from tools.blame.findings import Findings
from tools.blame.report import accuracy, name

REPAIRED, ALONE, NOISE, TARGET = "#4c78a8", "#f58518", "#8a8f98", "#e45756"
# Inches of a layer's line, and of all that is not layers.
LINE, REST = 0.3, 1.6


def draw(found: Findings) -> dict[str, bytes]:
    """Returns the picture as "svg" and as "png"."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "tandem", "font.size": 9}):
        figure = Figure(figsize=(12, max(4.0, LINE * len(found.effects) + REST)), layout="constrained")
        figure.suptitle(f"{found.workload}: {found.whole.recipe} against {found.before or 'the reference'}")
        answers, noise, kept = figure.subplots(1, 3, width_ratios=(4, 2, 4))
        _answers(answers, found)
        _noise(noise, found)
        _kept(kept, found)
        return {suffix: _saved(figure, suffix) for suffix in ("svg", "png")}


def _answers(axes: Any, found: Findings) -> None:
    """Draws of each layer the answers that it repairs when kept, and those that it changes alone."""
    places = range(len(found.effects))
    for shift, colour, label, values in (
        (-0.2, REPAIRED, "as before again where this one is kept (net)", [one.gain for one in found.effects]),
        (0.2, ALONE, "changed where this one alone is changed", [one.alone for one in found.effects]),
    ):
        axes.barh([place + shift for place in places], values, height=0.4, color=colour, label=label)
    axes.set(xlabel=f"answers, of {found.flipped:,} that changed and {found.others:,} others")
    axes.set_yticks(list(places), [f"{name(one)}  {one.number}" for one in found.effects])
    _lined_up(axes, found)
    axes.legend(loc="lower right", fontsize=7.5)


def _noise(axes: Any, found: Findings) -> None:
    """Draws the signal over the noise of each layer that makes any."""
    noisy = [(place, one.sqnr_db) for place, one in enumerate(found.effects) if one.sqnr_db is not None]
    axes.barh([place for place, _ in noisy], [level for _, level in noisy], height=0.6, color=NOISE)
    axes.set(xlabel="SQNR of the outputs, dB")
    axes.set_yticks([])
    _lined_up(axes, found)


def _lined_up(axes: Any, found: Findings) -> None:
    """Has the layers of both pictures stand on the same lines, the worst on top."""
    axes.set_ylim(len(found.effects) - 0.5, -0.5)
    axes.set_axisbelow(True)
    axes.grid(True, axis="x", alpha=0.25)


def _kept(axes: Any, found: Findings) -> None:
    """Draws the accuracy where the worst layers are left as they were, beside that before the step and the target."""
    steps = (found.whole, *found.without)
    heights = [accuracy(one) for one in steps]
    ends = [[100 * abs(end - one.outcomes.difference) for end in one.outcomes.interval()] for one in steps]
    axes.errorbar(range(len(steps)), heights, yerr=list(zip(*ends, strict=True)), fmt="o-", color=REPAIRED, capsize=3)
    for level, colour, style, label in (
        (100 * found.whole.outcomes.reference_share, "black", "-", found.before or "reference"),
        (found.target, TARGET, "--", "target"),
    ):
        axes.axhline(level, color=colour, linestyle=style, linewidth=1, label=f"{label}, {level:.2f} %")
    first = len(found.whole.kept)
    axes.set_xticks(range(len(steps)), ["none", *(f"+ {one.kept[first:][-1]}" for one in found.without)])
    axes.set(
        xlabel="layers left as they were, one more each time",
        ylabel=f"{plugins.workload(found.workload).judge.TITLE} of all samples, %",
        xlim=(-0.5, len(steps) - 0.5),
    )
    axes.grid(True, axis="y", alpha=0.25)
    axes.legend(loc="lower right", fontsize=7.5)


def _saved(figure: Any, suffix: str) -> bytes:
    file = io.BytesIO()
    # The same picture is the same file.
    figure.savefig(file, format=suffix, dpi=144, metadata={"Date": None} if suffix == "svg" else None)
    return file.getvalue()
