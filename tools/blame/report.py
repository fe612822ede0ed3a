"""What was found as text, as CSV and as JSON-like values. Of accuracy only the whole evaluation set says anything."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from accuracy_scripts.paired import CERTIFIED, CONFIDENCE, UNKNOWN, Outcomes
from suite import arithmetic
from suite.probes.layers import Effect
from tools.blame.findings import Findings, Measured, Pace

SCHEMA = 1

HEAD = ("rank", "layer", "operator", "weights", "shape", "SQNR, dB", "alone", "repaired", "broken")
# Those of its columns that hold words.
WORDS = ("operator", "weights", "shape")
KEPT_HEAD = ("layers kept", "accuracy, %", "difference", "changed", "loss within the margin")
KEPT_WORDS = ("layers kept", "difference", "loss within the margin")
PACE_HEAD = ("recipe", "times", "95 %", "arithmetic")


def text(found: Findings) -> str:
    """Returns all of it for people."""
    whole, outcomes = found.whole, found.whole.outcomes
    against = found.before or "reference"
    parts = [
        f"{found.workload} on {found.backend}, {outcomes.total:,} samples: {whole.recipe} against {against}",
        "",
        f"  accuracy  {accuracy(whole):.2f} % against {100 * outcomes.reference_share:.2f} %: {_interval(whole)}; "
        f"{_chance(outcomes)}; target {found.target:.2f} %",
        f"  changed   {_changed(whole)}",
        "",
    ]
    if found.effects:
        parts += [*_ranked(found), "", *_without(found), "", *_paced(found)]
    return "\n".join([*parts, *verdict(found)])


def accuracy(measured: Measured) -> float:
    """Returns the accuracy in percent: the share of right answers, or mAP."""
    return 100 * measured.outcomes.variant_share


def name(effect: Effect) -> str:
    """Returns a layer's name, for people: that of its weights, without what all have in common."""
    return effect.weights.removesuffix(".weight")


def verdict(found: Findings) -> Iterator[str]:
    """Yields who is guilty, and the recipe that leaves them as they were, with what it loses."""
    whole = found.whole
    if not found.effects:
        yield f"nothing to blame: {_interval(whole)}, {_why_not(whole.outcomes)}; {_certificate(whole)}"
        return
    last = found.without[-1]
    guilty = "; ".join(f"layer {one.number} ({one.operator} {name(one)}, {_shape(one)})" for one in found.guilty)
    yield f"{'guilty' if last.certified else 'guilty among others'}: {guilty}"
    meets = "meets" if accuracy(last) >= found.target else "misses"
    left = "it was" if len(found.guilty) == 1 else "they were"
    yield f"left as {left}, in float32: {last.recipe} has {accuracy(last):.2f} %, {_interval(last)}"
    yield f"{_certificate(last)}; it {meets} its target of {found.target:.2f} %"
    if not last.certified:
        yield "ask with a greater --most for more layers, or take another recipe"


def _chance(outcomes: Outcomes) -> str:
    # What is smaller is no number of its own any more.
    return f"p = {outcomes.p_value:.2g}" if outcomes.p_value else "p < 1e-300"


def _why_not(outcomes: Outcomes) -> str:
    """Returns why a difference is none to blame a layer for."""
    if outcomes.difference < 0 and outcomes.p_value < 1 - CONFIDENCE:
        return f"by less than would change an answer ({_chance(outcomes)}), by which layers could be told apart"
    if outcomes.difference < 0:
        return f"which chance explains ({_chance(outcomes)})"
    return "nothing is lost" if outcomes.changed else "no answer changed"


def table(found: Findings) -> str:
    """Returns the ranked layers as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("rank", "layer", "operator", "weights", "shape", "sqnr_db", "alone", "repaired", "broken"))
    for rank, one in enumerate(found.effects, 1):
        decibels = "" if one.sqnr_db is None else one.sqnr_db
        counts = (one.alone, one.repaired, one.broken)
        writer.writerow((rank, one.number, one.operator, one.weights, _shape(one), decibels, *counts))
    return file.getvalue()


def record(found: Findings) -> dict[str, Any]:
    """Returns all of it as JSON-like values; the layers by rank."""
    return {
        "schema": SCHEMA,
        "workload": found.workload,
        "backend": found.backend,
        "before": found.before,
        "target_percent": found.target,
        "whole": _measured(found.whole),
        "ranked_by": {"flipped": found.flipped, "others": found.others},
        "layers": [asdict(one) for one in found.effects],
        "without": [_measured(one) for one in found.without],
        "paces": {recipe: _pace(one) for recipe, one in found.paces.items()},
    }


def _measured(one: Measured) -> dict[str, Any]:
    low, high = one.outcomes.interval()
    return {
        "recipe": one.recipe,
        "kept": list(one.kept),
        "accuracy_percent": accuracy(one),
        "outcomes": one.outcomes.counts,
        "difference": one.outcomes.difference,
        "low_95": low,
        "high_95": high,
        "p_value": one.outcomes.p_value,
        "margin": one.certificate.margin,
        "outcome": one.certificate.outcome,
    }


def _pace(one: Pace) -> dict[str, Any]:
    return {
        "ratio": one.ratio,
        "ends_95": one.ends,
        "blocks": [block.record() for block in one.blocks],
        "arithmetic": one.arithmetic,
    }


def _ranked(found: Findings) -> Iterator[str]:
    yield (
        f"layers, ranked on {found.flipped + found.others:,} samples: {found.flipped:,} whose answer changed, and the "
        f"{found.others:,} others nearest to a change."
    )
    yield "They rank layers and say nothing of accuracy. Each row, on these samples:"
    yield "  alone     answers that change with this layer alone changed; SQNR: of all outputs then"
    yield "  repaired  changed answers that are as before with all other layers changed; broken: others that change"
    yield ""
    rows = [
        (
            str(rank),
            str(one.number),
            one.operator,
            name(one),
            _shape(one),
            "none" if one.sqnr_db is None else f"{one.sqnr_db:.1f}",
            f"{one.alone:,}",
            f"{one.repaired:,}",
            f"{one.broken:,}",
        )
        for rank, one in enumerate(found.effects, 1)
    ]
    yield from _aligned(HEAD, rows, WORDS)


def _without(found: Findings) -> Iterator[str]:
    yield f"the worst left as they were, one more each time, on all {found.whole.outcomes.total:,} samples:"
    yield ""
    rows = [
        (
            "/".join(map(str, one.kept)) or "none",
            f"{accuracy(one):.2f}",
            _interval(one),
            f"{one.outcomes.changed:,}",
            one.certificate.outcome,
        )
        for one in (found.whole, *found.without)
    ]
    yield from _aligned(KEPT_HEAD, rows, KEPT_WORDS)


def _paced(found: Findings) -> Iterator[str]:
    if found.paces:
        yield "throughput over the reference's, in turn with it:"
        yield ""
        yield from _aligned(PACE_HEAD, [_pace_cells(recipe, one) for recipe, one in found.paces.items()], PACE_HEAD)
        yield ""


def _pace_cells(recipe: str, one: Pace) -> tuple[str, ...]:
    ends = f"{one.ends[0]:.3f} to {one.ends[1]:.3f}" if one.ends else "one block"
    return recipe, f"{one.ratio:.3f}", ends, arithmetic.shares(one.arithmetic) if one.arithmetic else "unknown"


def _interval(one: Measured) -> str:
    low, high = (100 * end for end in one.outcomes.interval())
    return f"{100 * one.outcomes.difference:+.2f} points ({100 * CONFIDENCE:g} % {low:+.2f} to {high:+.2f})"


def _changed(one: Measured) -> str:
    found = one.outcomes
    return (
        f"{found.changed:,} answers ({100 * found.changed / found.total:.2f} %): {found.only_reference:,} right to "
        f"wrong, {found.only_variant:,} wrong to right"
    )


def _certificate(one: Measured) -> str:
    margin = f"{100 * one.certificate.margin:.2f} points"
    if one.certificate.outcome == CERTIFIED:
        return f"certified: it loses less than {margin}"
    if one.certificate.outcome == UNKNOWN:
        return f"cannot tell whether it loses less than {margin}"
    return f"regression certified: it loses more than {margin}"


def _shape(one: Effect) -> str:
    return "x".join(map(str, one.shape))


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]], words: Iterable[str]) -> Iterator[str]:
    """Yields a table's lines; columns of words keep to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    left = [title in words for title in head]
    for row in (head, *rows):
        cells = (
            cell.ljust(width) if keeps else cell.rjust(width)
            for cell, width, keeps in zip(row, widths, left, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()
