"""What a search for the fastest that counts has on disk: how far each candidate got, and what is known of it.

Everything here is read from its folder and computed anew; nothing is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import Certificate, Outcomes, certify
from common.errors import UsageError
from reference_models.base import Workload
from suite.law.eligible import emulates
from suite.probes import looks
from suite.probes.contest import Block
from tools.study import halving, shelf
from tools.study.contests import blocks
from tools.study.halving import REFERENCE_PACE, Pace
from tools.study.plan import REFERENCE, SERVER, Cell

SEED = 1911_02987

# What is known of a candidate's accuracy.
OPEN, NEAR, BELOW, EMULATED, FAILED, UNSEEN = (
    "may count",
    "near miss",
    "misses its target",
    "emulated",
    "failed",
    "not looked at, for lack of time",
)


@dataclass(frozen=True)
class Candidate:
    """A variant in the search; `outcomes` are of the `outcomes.total` samples that it has answered.

    `verdict` is that of its full runs, or why they failed.
    """

    cell: Cell
    state: str
    reason: str = ""
    outcomes: Outcomes | None = None
    certificate: Certificate | None = None
    pace: Pace | None = None
    verdict: Mapping[str, Any] | None = None

    @property
    def counts(self) -> bool:
        """Whether full runs of it count."""
        return (
            self.verdict is not None and self.verdict["state"] == "judged" and bool(self.verdict["verdict"]["counts"])
        )

    @property
    def figure(self) -> float:
        """That of its full runs, 0 where there were none."""
        metric = self.verdict["verdict"]["metric"] if self.verdict and self.verdict["state"] == "judged" else None
        return float(metric["value"]) if metric else 0.0

    @property
    def unsettled(self) -> bool:
        """Whether its full runs failed or were not valid, which says nothing of it."""
        return self.verdict is not None and (self.verdict["state"] != "judged" or shelf.invalid(dict(self.verdict)))

    @property
    def eligible(self) -> bool:
        """Whether it may be the answer, as far as is known."""
        return self.state == OPEN and (self.verdict is None or self.counts)

    @property
    def running(self) -> bool:
        """Whether its speed is still of interest: it may be the answer, or nearly was."""
        return self.eligible or self.state == NEAR


def read(cells: Sequence[Cell], folder: Path, workload: Workload, truth: NDArray[Any]) -> list[Candidate]:
    """Returns the candidates, the reference first, which is `cells`' first; raises UsageError on a damaged file."""
    base = shelf.recorded(folder, shelf.LOOKS, cells[0].id)
    reference = [] if base is None or base["state"] == "failed" else base["answers"]
    found = [_look(cell, folder, workload, truth, reference) for cell in cells]
    turns = {one.cell: _turns(one.cell, folder) for one in found if one.state in (OPEN, NEAR)}
    failed = {cell: reason for cell, (_, reason) in turns.items() if reason}
    logs = {cell: [block.log_ratio for block in own] for cell, (own, _) in turns.items() if own}
    known = {**halving.paces(logs), cells[0]: REFERENCE_PACE}
    return [
        replace(
            one,
            pace=known.get(one.cell),
            verdict=shelf.verdict(folder, one.cell),
            state=FAILED if one.cell in failed else one.state,
            reason=failed.get(one.cell, one.reason),
        )
        for one in found
    ]


def figures(found: Sequence[Candidate]) -> tuple[dict[Cell, Pace], set[Cell], dict[Cell, bool]]:
    """Returns what `halving` decides by: paces, who is eligible, and whether those count that had full runs.

    In Server what holds no more load than the reference counts for nothing here, whatever its turns say.
    """
    known = {one.cell: one.pace for one in found if one.pace}
    eligible = {one.cell for one in found if one.eligible and not held_less(one, found[0])}
    if found[0].cell.scenario == SERVER and found[0].verdict and not found[0].counts:
        # Beside a load that was not held nobody can win.
        eligible = set()
    counts = {one.cell: one.counts and not held_less(one, found[0]) for one in found if one.verdict and one.pace}
    return known, eligible, counts


def held_less(one: Candidate, reference: Candidate) -> bool:
    """Tells whether in Server a candidate's full runs are not known to have held more load than the reference's."""
    if one.cell.scenario != SERVER or one is reference or one.verdict is None:
        return False
    return not (reference.counts and reference.figure) or one.figure <= reference.figure


def _look(cell: Cell, folder: Path, workload: Workload, truth: NDArray[Any], reference: Sequence[Any]) -> Candidate:
    record = shelf.recorded(folder, shelf.LOOKS, cell.id)
    if record is None:
        return Candidate(cell, UNSEEN)
    if record["state"] == "failed":
        return Candidate(cell, FAILED, record["reason"])
    answers = np.array(record["answers"], workload.payload_dtype)
    ours, right = (
        np.array(reference[: len(answers)], workload.payload_dtype),
        truth[looks.order(len(truth), SEED)[: len(answers)]],
    )
    if len(ours) < len(answers) or not len(answers):
        raise UsageError(
            f"{folder / shelf.LOOKS / cell.id}.json has {len(answers)} answers, of which the reference has "
            f"{len(ours)}. Delete it, and it is made again."
        )
    outcomes = workload.judge.compare(ours, answers, right)
    return Candidate(
        cell,
        _state(cell, record, outcomes, looks.certainly_below(ours, answers, right, workload), workload, len(truth)),
        outcomes=outcomes,
        certificate=certify(outcomes, (1 - workload.target_factor) * outcomes.reference_share),
    )


def _state(
    cell: Cell, record: Mapping[str, Any], outcomes: Outcomes, below: bool, workload: Workload, total: int
) -> str:
    if cell.recipe == REFERENCE:
        return OPEN
    if emulates(cell.recipe, record["arithmetic"]):
        return EMULATED
    if below:
        return BELOW
    missed = outcomes.total == total and 100 * outcomes.variant_share < workload.target
    return NEAR if missed else OPEN


def _turns(cell: Cell, folder: Path) -> tuple[list[Block], str]:
    """Returns the blocks of a candidate, and why there are no more where they failed."""
    found: list[Block] = []
    while (record := shelf.recorded(folder, shelf.TURNS, turns_name(cell, len(found)))) and record.get("blocks"):
        found += blocks(record["blocks"])
    return found, str(record["reason"]) if record else ""


def turns_name(cell: Cell, before: int) -> str:
    """Returns the name of the record of those blocks that follow so many."""
    return f"{cell.id}-{before}"
