"""The first screen of a study's report: which optimization to use here, and which ones lie."""

from collections.abc import Iterator, Sequence
from math import inf

from accuracy_scripts.paired import CERTIFIED, REGRESSION, UNKNOWN, Certificate
from suite import plugins, recipes
from suite.law.drain import THROUGHPUTS
from tools.study.findings import COUNTS, LEFT_OUT, WORTHLESS, Row
from tools.study.plan import SERVER
from tools.study.ranking import all_groups, groups, lies, recommended, reference_of, treacherous
from tools.study.words import named, points, run, some, times, told

# Full runs that lie nearer to each other differ by what the machine did.
FASTER = 1.03
# Beyond the ends of an interval: a process differs from the next by about 3 % (docs/study.md), and here are two more.
APART = 1.05


def answers(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the sentences that somebody in a hurry wants."""
    tried = groups(rows)
    if any(row.target for row in rows):
        yield _rule(rows)
    for title, own in tried:
        yield f"**{title}**: {' '.join((*_use(own), *_lies(own)))}"
    for title, own in all_groups(rows):
        if all(row.state == LEFT_OUT for row in own):
            yield f"**{title}**: {LEFT_OUT}."
    for backend, recipe, safe, ruinous in treacherous(rows):
        good, bad = (", ".join(_met(row) for row in side) for side in (safe, ruinous))
        yield f"`{recipe}` on {backend} meets the target on {good} and misses it on {bad}."
    whole = " (with --end-to-end, as here)" if any(row.cell.end_to_end for row in rows) else ""
    yield (
        "`python -m suite.run --workload WORKLOAD --backend BACKEND --scenario SCENARIO --optimize RECIPE` runs one"
        f'{whole}. What is meant by each word is said in study.md, under "How to read it".'
    )


def _rule(rows: Sequence[Row]) -> str:
    targets = {row.cell.workload: row.target for row in rows if row.target}
    factors = {f"{100 * plugins.workload(name).target_factor:g} %" for name in targets}
    each = ", ".join(f"{name} {target:.2f} %" for name, target in targets.items())
    share = f", {' or '.join(sorted(factors))} of its float32 reference's"
    return (
        f"A variant counts if full runs through LoadGen are valid and its accuracy is at least its target ({each}"
        f"{share}). Throughputs are over that reference, here. Full runs are of the quick profile: none is submittable."
    )


def _use(own: Sequence[Row]) -> Iterator[str]:
    if not any(row.ratio for row in own):
        yield "no throughput was measured."
        return
    level = recommended(own)
    if not level:
        more = ", and known to hold more load than it" if own[0].cell.scenario == SERVER else ""
        yield f"nothing that counts is surely faster than the reference{more}."
        return
    best = level[0]
    low, high = best.known_ends
    because = recipes.open_because(best.cell.recipe)
    division = f", in MLPerf's open division alone, as {' and '.join(because)}" if because else ""
    yield (
        f"use {named(best)}: {times(best)} the reference ({low:.2f} to {high:.2f}), {points(best)}, "
        f"{_loss(best.certificate, best.certified_alone)}{division}."
    )
    yield from _ran(best, own)
    if len(level) > 1:
        yield f"As fast, as far as can be told: {some([told(row) for row in level[1:]])}."


def _loss(certificate: Certificate | None, alone: bool) -> str:
    if certificate is None:
        return "of unknown loss"
    allowed = f"the {100 * certificate.margin:.2f} points allowed"
    together = ", by itself and not with all rows together" if alone else ""
    return {
        CERTIFIED: f"a loss certified to be within {allowed}{together}",
        REGRESSION: f"a loss certified to be beyond {allowed}{together}",
        UNKNOWN: f"and whether the loss is within {allowed} cannot be told",
    }[certificate.outcome]


def _ran(best: Row, own: Sequence[Row]) -> Iterator[str]:
    """Yields what full runs say of it: they are not in turn, and each is served as its own search chose."""
    base = reference_of(own)
    if not (base and base.figure and best.figure):
        return
    ratio = _rate(best) / _rate(base)
    low, high = best.known_ends
    outside = ", which is well outside that interval" if not low / APART <= ratio <= high * APART else ""
    yield f"Its full run made {run(best)}, the reference's {run(base)}: {ratio:.2f} times{outside}."
    fastest = max((row for row in own if row.state == COUNTS and row.figure), key=_rate)
    if fastest.cell not in (best.cell, base.cell) and _rate(fastest) > FASTER * _rate(best):
        yield f"The fastest full run is that of {named(fastest)}: {run(fastest)}."


def _rate(row: Row) -> float:
    """Returns how fast a row's full run was: its figure, or in the streams, where that is a latency, 1 over it."""
    figure = row.figure or inf
    return figure if row.cell.scenario in THROUGHPUTS else 1 / figure


def _lies(own: Sequence[Row]) -> Iterator[str]:
    worthless = sum(row.state in WORTHLESS and row.ratio > 0 for row in own)
    if found := lies(own):
        yield f"Surely faster than the reference, and worth nothing: {some([told(row) for row in found])}."
    elif worthless:
        yield f"Of the {worthless} that are worth nothing none is surely faster than the reference."


def _met(row: Row) -> str:
    unknown = row.certificate is not None and row.certificate.outcome == UNKNOWN
    unsure = "; whether it would on other samples cannot be told" if unknown else ""
    return f"{row.cell.workload} ({points(row)}{unsure})"
