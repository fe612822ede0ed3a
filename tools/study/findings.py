"""What a study's files say: each variant beside its reference.

Everything here is read from the study's folder and computed anew; nothing is measured.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import (
    CERTIFIED,
    CONFIDENCE,
    UNKNOWN,
    Certificate,
    Outcomes,
    SliceOutcome,
    certify,
    fifths,
)
from common.statistics import holm, two_stage_interval
from suite import notes, plugins, recipes
from suite.law.eligible import emulates
from suite.probes.contest import Block, interval, ratio
from suite.variant import Serving
from tools.study import shelf
from tools.study.contests import FIRST_PROCESSES, enough, more_name, processes
from tools.study.plan import REFERENCE, Cell, Study

# What a row's throughput is worth.
COUNTS, REFUSED, INVALID, BROKE, MISSES, EMULATED, UNJUDGED, FAILED, LEFT_OUT = (
    "counts",
    "refused",
    "meets its target, full runs not valid",
    "meets its target, full runs failed",
    "misses its target",
    "emulated",
    "meets its target, no full runs",
    "failed",
    "not measured, for lack of time",
)
# Where the reference's own speed differs more from block to block, the machine was disturbed.
DRIFT = 1.25
# Those that are known to be worth nothing, and those of which full runs have yet to say.
WORTHLESS = (REFUSED, MISSES, EMULATED)
OPEN = (UNJUDGED, INVALID, BROKE)


@dataclass(frozen=True)
class Row:
    """One variant beside its reference; what failed has a `reason`, and its answers where it gave any.

    `classes` are the outcomes by class, the greatest loss first. `ratio` is its throughput over the reference's, 0
    where it has none of its own (what is emulated) or took no turns, `ends` its 95 % interval where there were blocks
    enough, over all processes in which it was measured; `missing` are the repetitions that were not. `notes` are what
    the machine did meanwhile. `figure` is that of the full run, where there was one, `goodput` its right
    answers in time a second. `p_holm` holds for all rows of the study together, as does `certificate_p_holm`, of the
    loss against its margin. `before` is what the last step of a
    chain changed of what the steps before it answered; `unsure` are the outcomes by fifths of the reference's
    confidence, the least first; `changes_with_batch` is the share of answers that smaller batches with other samples
    change. `record` and `evidence` are where it all is from, as named from the study's folder.
    `serving` is how it was served in its blocks.
    """

    cell: Cell
    state: str
    reason: str = ""
    accuracy: float = 0.0
    target: float = 0.0
    ratio: float = 0.0
    ends: tuple[float, float] | None = None
    blocks: int = 0
    processes: int = 1
    missing: tuple[int, ...] = ()
    outcomes: Outcomes | None = None
    certificate: Certificate | None = None
    classes: tuple[SliceOutcome, ...] = ()
    before: Outcomes | None = None
    unsure: tuple[SliceOutcome, ...] = ()
    changes_with_batch: float = 0.0
    p_holm: float = 1.0
    certificate_p_holm: float = 1.0
    arithmetic: dict[str, int] | None = None
    figure: float | None = None
    goodput: float | None = None
    unit: str = ""
    record: str = ""
    evidence: str = ""
    notes: tuple[str, ...] = ()
    serving: str = ""

    @property
    def smallest_seen(self) -> float | None:
        """The least change of throughput, as a share, that an interval like that of its ratio would have shown."""
        return (self.ends[1] / self.ends[0]) ** 0.5 - 1 if self.ends else None

    @property
    def untimed(self) -> bool:
        """Whether it has answered, and time was lacking for turns with the reference."""
        return bool(self.outcomes) and not (self.ratio or self.state == FAILED or recipes.emulated(self.cell.recipe))

    @property
    def worst(self) -> SliceOutcome | None:
        """The class that lost most."""
        return self.classes[0] if self.classes else None

    @property
    def valid_ratio(self) -> float:
        """The ratio where full runs count, else 0."""
        return self.ratio if self.state == COUNTS else 0.0

    @property
    def known_ends(self) -> tuple[float, float]:
        """The interval of the ratio, or everything where there is none."""
        return self.ends or (0.0, inf)

    @property
    def certified_alone(self) -> bool:
        """Whether its certificate holds, and would not for all rows of the study together."""
        told = self.certificate is not None and self.certificate.outcome != UNKNOWN
        return told and self.certificate_p_holm > 1 - CONFIDENCE

    @property
    def certified_ratio(self) -> float:
        """The lower end of the ratio where full runs count and the accuracy is certified within the margin, else 0."""
        sure = self.state == COUNTS and self.certificate is not None and self.certificate.outcome == CERTIFIED
        return self.ends[0] if sure and self.ends else 0.0


def rows(study: Study, folder: Path, data_dir: Callable[[str], str]) -> list[Row]:
    """Returns a row for each cell, in order; raises UsageError where a file is missing or altered."""
    cores = float(shelf.machine(folder)["cores"])
    truths: dict[str, NDArray[Any]] = {}
    found = []
    for cell in (cell for cell in study.cells if cell == cell.first):
        if cell.workload not in truths:
            workload = plugins.workload(cell.workload)
            truths[cell.workload] = workload.open_dataset(Path(data_dir(workload.dataset_name))).truth()
        again = [one for one in study.cells if one.first == cell != one]
        found.append(_row(cell, again, folder, truths[cell.workload], cores))
    return _together(found)


def _together(found: Sequence[Row]) -> list[Row]:
    """Returns the rows with the p-values that hold for all of them together."""
    compared = {row.cell: row for row in found if row.outcomes and row.certificate and row.cell.recipe != REFERENCE}
    known = [(row.outcomes, row.certificate) for row in compared.values() if row.outcomes and row.certificate]
    changed = holm([outcomes.p_value for outcomes, _ in known])
    beyond = holm([outcomes.margin_p_value(certificate.margin) for outcomes, certificate in known])
    by_cell = dict(zip(compared, zip(changed, beyond, strict=True), strict=True))
    return [
        replace(row, p_holm=by_cell[row.cell][0], certificate_p_holm=by_cell[row.cell][1])
        if row.cell in by_cell
        else row
        for row in found
    ]


def _row(cell: Cell, again: Sequence[Cell], folder: Path, truth: NDArray[Any], cores: float) -> Row:
    known = {one: record for one in (cell, *again) if (record := shelf.answered(folder, one))}
    base = shelf.answered(folder, cell.reference)
    if not known or base is None:
        return Row(cell, LEFT_OUT)
    answered = {one: record for one, record in known.items() if _has_answers(record)}
    if not answered:
        return Row(cell, FAILED, reason=next(iter(known.values()))["reason"])
    # What has no turns, as they failed or there was no time, is told by its answers alone.
    by_state = {
        state: {one: record for one, record in answered.items() if record["state"] == state}
        for state in ("measured", "answered", "failed")
    }
    measured = next(found for found in by_state.values() if found)
    first, record = next(iter(measured.items()))
    workload = plugins.workload(cell.workload)
    judge = workload.judge
    reference, theirs = shelf.answers(folder, cell.reference, base), shelf.answers(folder, first, record).labels
    ours, turns = reference.labels, [own for one, known in measured.items() for own in _turns(folder, one, known)]
    # How many repetitions there are was decided beforehand, how many processes besides by the first few.
    stage = len(turns) if len(turns) == len(measured) else FIRST_PROCESSES
    timed = record["state"] == "measured" and not recipes.emulated(cell.recipe)
    speed, ends = pace(turns, record["first_blocks"], stage) if timed else (0.0, None)
    outcomes, before = judge.compare(ours, theirs, truth), _before(cell, folder)
    judged = shelf.verdict(folder, cell)
    metric = judged["verdict"]["metric"] if judged and judged["state"] == "judged" else None
    return Row(
        cell=cell,
        state=_state(cell, record, judged, workload.target),
        reason=record["reason"] if record["state"] == "failed" else reason_of(judged),
        accuracy=record["accuracy_percent"],
        target=workload.target,
        ratio=speed,
        ends=ends,
        blocks=sum(map(len, turns)),
        processes=len(turns),
        missing=tuple(one.repetition for one in (cell, *again) if one not in measured),
        outcomes=outcomes,
        certificate=certify(outcomes, (1 - workload.target_factor) * outcomes.reference_share),
        classes=tuple(judge.by_class(ours, theirs, truth)),
        before=None if before is None else judge.compare(before, theirs, truth),
        unsure=tuple(judge.by_slice(ours, theirs, truth, fifths(reference.confidence))),
        changes_with_batch=record["changes_with_batch"] / len(truth),
        arithmetic=record["arithmetic"],
        figure=metric["value"] if metric else None,
        goodput=judged["verdict"]["goodput"]["per_s"]
        if metric and judged and judged["verdict"].get("goodput")
        else None,
        unit=metric["unit"] if metric else "",
        record=f"{shelf.ANSWERS if record['state'] == 'answered' else shelf.CELLS}/{first.id}.json",
        evidence=judged["result"] if metric and judged else "",
        serving=Serving(**record["serving"]).layout if "serving" in record else "",
        notes=tuple(_all_notes(folder, known, theirs, cores)),
    )


def pace(
    turns: Sequence[Sequence[Block]], first_blocks: int, first_processes: int
) -> tuple[float, tuple[float, float] | None]:
    """Returns a variant's throughput over the reference's by the blocks of its processes, and its 95 % interval.

    Of several, what varies are their own ratios and not their blocks, since a process may be quicker than the next
    from its start to its end (Kalibera and Jones, Rigorous benchmarking in reasonable time, ISMM 2013). So many blocks
    of one process, and so many processes, decided how many there are.
    """
    if len(turns) == 1:
        return ratio(turns[0]), interval(turns[0], first_blocks)
    logs = [log(ratio(own)) for own in turns]
    low, high = two_stage_interval(logs, min(first_processes, len(logs)))
    return exp(fmean(logs)), (exp(low), exp(high))


def _turns(folder: Path, cell: Cell, record: dict[str, Any]) -> list[list[Block]]:
    if record["state"] != "measured" or recipes.emulated(cell.recipe):
        return []
    return enough(processes(folder, cell, record), record["first_blocks"])


def _all_notes(folder: Path, known: dict[Cell, dict[str, Any]], theirs: NDArray[Any], cores: float) -> Iterator[str]:
    """Yields the notes on all repetitions of a cell, with their numbers where there are several."""
    judge = plugins.workload(next(iter(known)).workload).judge
    for cell, record in known.items():
        which = f"repetition {cell.repetition}" if len(known) > 1 else ""
        if record["state"] == "failed":
            # Of one alone that is its reason.
            yield from [f"{which} failed: {record['reason']}"] if which else []
            continue
        found = _notes(record, [block for own in _turns(folder, cell, record) for block in own], cores)
        yield from (f"{which}: {note}" if which else note for note in found)
        if failed := shelf.recorded(folder, shelf.MORE, more_name(cell, len(processes(folder, cell, record)))):
            yield f"{which}{': ' if which else ''}another process failed: {failed['reason']}"
        if changed := int(np.count_nonzero(~judge.agree(shelf.answers(folder, cell, record).labels, theirs))):
            yield f"{which} answered {changed:,} samples otherwise than the first"


def _notes(record: dict[str, Any], blocks: Sequence[Block], cores: float) -> Iterator[str]:
    """Yields what the machine did while a cell was measured, and by how much its speed drifted."""
    yield from notes.during(record["machine_during"], cores, "its blocks" if blocks else "its answers")
    speeds = [fmean(one.reference) for one in blocks]
    drift = max(speeds, default=1.0) / min(speeds, default=1.0)
    if drift > DRIFT:
        yield f"the reference itself was {drift:.2f} times as fast in one of its blocks as in another"


def _before(cell: Cell, folder: Path) -> NDArray[Any] | None:
    """Returns what the steps before the last one answered, None where there are none or they were not measured."""
    begun = replace(cell, recipe=cell.recipe.rpartition("+")[0])
    record = shelf.answered(folder, begun) if cell.recipe else None
    return shelf.answers(folder, begun, record).labels if record and _has_answers(record) else None


def _has_answers(record: dict[str, Any]) -> bool:
    return "answers_sha256" in record


def _state(cell: Cell, record: dict[str, Any], judged: dict[str, Any] | None, target: float) -> str:
    if record["state"] == "failed":
        return FAILED
    if judged and judged["state"] == "judged":
        return COUNTS if judged["verdict"]["counts"] else INVALID if shelf.invalid(judged) else REFUSED
    if emulates(cell.recipe, record["arithmetic"]):
        return EMULATED
    return MISSES if record["accuracy_percent"] < target else BROKE if judged else UNJUDGED


def reason_of(judged: dict[str, Any] | None) -> str:
    """Returns why full runs failed or do not count, nothing where there were none or they count."""
    if judged is None:
        return ""
    if judged["state"] != "judged":
        return str(judged["reason"])
    return "; ".join(f"{one['name']}: {one['detail']}" for one in judged["verdict"]["checks"] if not one["passed"])
