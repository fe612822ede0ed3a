"""What the search for the fastest that counts found: the winner, what may be as fast, and how far everybody got."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from accuracy_scripts.paired import CERTIFIED
from suite import plugins, recipes
from tools.study import halving
from tools.study.candidates import BELOW, EMULATED, NEAR, OPEN, UNSEEN, Candidate, figures, held_less
from tools.study.findings import reason_of
from tools.study.halving import Pace
from tools.study.plan import SERVER
from tools.study.report import markdown_table

HEAD = ("recipe", "got as far as", "samples", "accuracy, %", "points (95 %)", "throughput (95 %)", "outcome")

READING = (
    "throughput: the variant's over the reference's, by blocks in which the two take turns, loaded side by side, each "
    "block in a process of its own: samples/s with all sessions busy, in the streams one over the percentile of a "
    "query's latency. In Server full runs are at the highest load that was found, and the answer has to hold more of "
    "it than the reference. 95 %: Student's t on the logarithms of the blocks' ratios, with the spread of all "
    "candidates' together; the intervals hold for all of them at once (Bonferroni).",
    "points: of accuracy (top-1, or a detector's mAP) against the reference on the same samples, with Newcombe's "
    "interval or that of a paired bootstrap. Certified: the loss is within the margin that the target allows, with "
    "95 % confidence. A near miss is below its target on all samples, and not certainly on others like them: it cannot "
    "count here, and its throughput is shown.",
)


class Findings:
    """What the candidates say together."""

    def __init__(self, found: Sequence[Candidate]) -> None:
        self.found, self.reference = found, found[0]
        self.known, self.eligible, counts = figures(found)
        self._by_cell = {one.cell: one for one in found}
        best = halving.winner(self.known, counts)
        self.winner = self._by_cell[best] if best else None
        ranked = [cell for cell in halving.racing(self.known, self.eligible) if cell in self.eligible]
        self.leader = self.winner or (self._by_cell[ranked[0]] if ranked else self.reference)

    def tied(self) -> list[Candidate]:
        """Returns what may be faster than the answer, the fastest first."""
        answer = self.winner or self.reference
        assert answer.pace is not None
        low = answer.pace.low
        may = [one for one in self.found if one.cell in self.eligible and one is not answer]
        others = [one for one in may if one.pace and one.pace.high >= low]
        return sorted(others, key=lambda one: -_pace(one).ratio)

    def unsettled(self) -> list[Candidate]:
        """Returns what may be faster than the answer as far as its turns say, and has full runs that say nothing."""
        answer = self.winner or self.reference
        may = [one for one in self.found if one.unsettled and one.state == OPEN and one is not self.reference]
        return [one for one in may if one.pace and one.pace.high >= _pace(answer).low]

    @property
    def nothing_to_hold_more_than(self) -> bool:
        """Whether in Server the reference's full runs failed or were not valid."""
        return self.reference.cell.scenario == SERVER and self.reference.unsettled

    @property
    def unit(self) -> str:
        """The unit of full runs."""
        verdicts = (one.verdict["verdict"] for one in self.found if one.figure and one.verdict)
        return next((str(one["metric"]["unit"]) for one in verdicts), "")

    def of(self, state: str) -> list[Candidate]:
        """Returns the candidates in a state."""
        return [one for one in self.found if one.state == state]

    def outcome(self, one: Candidate) -> str:
        """Returns what became of a candidate, and why it was dismissed where it was."""
        if one.verdict is not None:
            if not one.counts:
                said = "full runs failed or not valid" if one.unsettled else "refused"
                return f"{said}: {reason_of(dict(one.verdict))}"
            if held_less(one, self.reference) and not self.reference.counts:
                return f"counts with {one.figure:,.1f} {self.unit}; what the reference holds is not known"
            if held_less(one, self.reference):
                return f"counts, and held no more load than the reference: {one.figure:,.1f} {self.unit}"
            return f"counts{': the fastest' if one is self.winner else ''}"
        if one.state != OPEN:
            return _dismissed(one)
        if one.pace is None:
            return "not timed, for lack of time"
        if one is self.reference:
            return "needed no full runs" if self.winner else "no full runs, for lack of time"
        if one.pace.high < 1:
            return "certainly slower than the reference"
        if one.pace.high < _pace(self.leader).low:
            return f"certainly slower than `{self.leader.cell.title}`"
        return "no full runs, for lack of time"


def _dismissed(one: Candidate) -> str:
    if one.state == BELOW and one.outcomes:
        return f"misses its target, certain after {one.outcomes.total:,} samples"
    if one.state == EMULATED:
        return "emulated: the arithmetic that it is called by did not run here"
    return f"{one.state}: {one.reason}" if one.reason else one.state


def _pace(one: Candidate) -> Pace:
    assert one.pace is not None
    return one.pace


def markdown(found: Sequence[Candidate], target: float, about: Iterable[str]) -> str:
    """Returns the report, as Markdown whose table is aligned; `target` in percent."""
    findings, cell = Findings(found), found[0].cell
    parts = [f"# The fastest that counts: {cell.workload} on {cell.setting}", ""]
    parts += [*(f"- {line}" for line in (*answer(findings, target), *left_out(findings))), ""]
    lines = [_cells(findings, one) for one in sorted(found, key=_order)]
    widths = [max(len(line[column]) for line in (HEAD, *lines)) for column in range(len(HEAD))]
    aligned = [[text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in (HEAD, *lines)]
    parts += [*markdown_table(aligned[0], aligned[1:]), "", *(f"- {line}" for line in (*READING, *about)), ""]
    return "\n".join(parts)


def answer(findings: Findings, target: float) -> Iterable[str]:
    """Yields the sentences that somebody in a hurry wants."""
    best = findings.winner
    if best is None:
        yield "Nothing that was found to count is surely faster than the reference: use the reference."
        yield _full_run(findings.reference)
    else:
        because = recipes.open_because(best.cell.recipe)
        division = f" In MLPerf's open division alone, as {' and '.join(because)}." if because else ""
        yield f"Use `{best.cell.title}`: {_times(_pace(best))}, {_accuracy(best)}; target {target:.2f} %.{division}"
        yield _full_run(best)
        if best.cell.scenario == SERVER:
            yield _full_run(findings.reference)
    than = "it" if best else "the reference"
    for counts, what in ((True, "and counts too"), (False, "and had no full runs, for lack of time")):
        tied = [one for one in findings.tied() if one.counts is counts]
        if tied:
            yield f"May be faster than {than}, {what}: {', '.join(map(_named, tied))}."
    if findings.nothing_to_hold_more_than:
        yield "What load the reference holds is not known, and nothing can hold more: --retry-failed seeks it again."
    if unsettled := findings.unsettled():
        yield (
            f"May be faster than {than}, and its full runs failed or were not valid (--retry-failed makes them again): "
            f"{', '.join(map(_named, unsettled))}."
        )
    if findings.tied():
        yield "A larger --budget tells more: started again with the same folder, it goes on."
    for one in findings.of(NEAR):
        assert one.outcomes is not None
        below = target - 100 * one.outcomes.variant_share
        yield f"Near miss: {_named(one)}, {below:.2f} points below the target, {_accuracy(one)}."


def _full_run(one: Candidate) -> str:
    if one.verdict is None:
        return f"`{one.cell.title}` had no full runs: the time was over."
    if one.verdict["state"] != "judged":
        return f"Full runs of `{one.cell.title}` failed: {one.verdict['reason']}"
    metric, said = one.verdict["verdict"]["metric"], one.verdict["verdict"]["closing"]
    figure = f"{metric['value']:,.1f} {metric['unit']}" if metric else "no figure"
    return f"Full runs of `{one.cell.title}` through LoadGen: {figure}, {said}. Evidence: {one.verdict['result']}"


def left_out(findings: Findings) -> Iterable[str]:
    """Yields what was not done, a line a kind."""
    untimed = [one for one in findings.of(OPEN) if one.pace is None]
    for what, ones in (("looked at", findings.of(UNSEEN)), ("timed", untimed)):
        if ones:
            yield f"Not {what}, for lack of time: {', '.join(f'`{one.cell.title}`' for one in ones)}."


def _named(one: Candidate) -> str:
    return f"`{one.cell.title}` ({_span(one.pace)})" if one.pace else f"`{one.cell.title}` (not timed)"


def _span(pace: Pace) -> str:
    return f"{pace.ratio:.2f}, {pace.low:.2f} to {pace.high:.2f}"


def _times(pace: Pace) -> str:
    return f"{pace.ratio:.2f} times the reference, 95 % {pace.low:.2f} to {pace.high:.2f} of {pace.blocks} blocks"


def _accuracy(one: Candidate) -> str:
    assert one.outcomes is not None and one.certificate is not None
    sure = one.certificate.outcome
    metric = plugins.workload(one.cell.workload).judge.TITLE
    return (
        f"{100 * one.outcomes.variant_share:.2f} % {metric} of {one.outcomes.total:,} samples ({_points(one)}), "
        f"{sure if sure == CERTIFIED else f'not certified: {sure}'}"
    )


def _points(one: Candidate) -> str:
    assert one.outcomes is not None
    low, high = (100 * end for end in one.outcomes.interval())
    return f"{100 * one.outcomes.difference:+.2f} points, {low:+.2f} to {high:+.2f}"


def _order(one: Candidate) -> tuple[bool, bool, float]:
    """Orders the table: what was timed, the fastest first; what was looked at; and the rest."""
    return one.pace is None, one.outcomes is None, -(one.pace.ratio if one.pace else 0.0)


def _cells(findings: Findings, one: Candidate) -> list[str]:
    reference = one is findings.reference
    return [
        f"`{one.cell.title}`",
        _reached(one),
        f"{one.outcomes.total:,}" if one.outcomes else "",
        f"{100 * one.outcomes.variant_share:.2f}" if one.outcomes else "",
        "" if reference or not one.outcomes else _points(one).replace(" points, ", " (") + ")",
        f"{_span(one.pace).replace(', ', ' (')})" if one.pace and not reference else "",
        findings.outcome(one),
    ]


def _reached(one: Candidate) -> str:
    if one.verdict is not None:
        return "full runs"
    if one.pace is not None and one.pace.blocks:
        return f"{one.pace.blocks} blocks"
    return "a look" if one.outcomes else ""


def record(found: Sequence[Candidate], target: float, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the findings as JSON-like values."""
    findings = Findings(found)
    return {
        "schema": 1,
        **about,
        "target_percent": target,
        "winner": findings.winner.cell.recipe if findings.winner else None,
        "reference_is_the_answer": findings.winner is None,
        "candidates": [_record(findings, one) for one in found],
    }


def _record(findings: Findings, one: Candidate) -> dict[str, Any]:
    return {
        "cell": asdict(one.cell),
        "state": one.state,
        "outcome": findings.outcome(one),
        "outcomes": one.outcomes.counts if one.outcomes else None,
        "accuracy_percent": 100 * one.outcomes.variant_share if one.outcomes else None,
        "difference": one.outcomes.difference if one.outcomes else None,
        "difference_95": list(one.outcomes.interval()) if one.outcomes else None,
        "certificate": asdict(one.certificate) if one.certificate else None,
        "throughput": asdict(one.pace) if one.pace else None,
        "full_runs": dict(one.verdict) if one.verdict else None,
    }
