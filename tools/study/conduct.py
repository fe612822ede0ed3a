"""Carries a study out: every cell's accuracy, then its turns with the reference, then full runs of the fastest.

A cell that fails is a record that says why, and the next one goes on. What is finished is never done again. Within a
budget of time no step begins that would not end in it, as far as the longest of its kind tells; what is left out is
done when the study is started again with a larger one.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import RunFailed, TandemError
from suite import machine_state, plugins, prepare, recipes, store
from suite.execute import execute
from suite.law.eligible import emulates
from suite.plan import PEAK
from suite.probes.contest import Terms, ratio
from suite.progress import say
from suite.search import as_requested
from suite.variant import Serving
from tools.study import narrow, shelf
from tools.study.clock import Clock
from tools.study.contests import Places, answered, check_same, enough, plan_of, processes, stream, turns
from tools.study.plan import REFERENCE, SERVER, Cell, Study
from tools.study.shelf import Answers

# Shares of a budget that steps leave for those of later kinds; what these do not take is for the earlier ones again.
LEAVES: tuple[dict[str, float], ...] = ({shelf.CELLS: 0.35, shelf.VERDICTS: 0.3}, {shelf.CELLS: 0.35}, {})
# How long full runs of a variant take, its search included, as long as nothing is known (seen on 2 cores: 22 to 38 s;
# in Server, where they are a search for the highest load, 60 to 130 s).
RUN_S, PEAK_S = 40.0, 150.0
# Of a reference, before it answers.
READY = "ready"


def carry_out(study: Study, places: Places, budget_s: float = math.inf, *, retry: bool = False) -> dict[str, float]:
    """Measures what is not yet measured and judges the fastest; returns the seconds that each part took.

    Raises UsageError where the data are missing, the folder takes nothing, or another process is at it.
    """
    for workload in {cell.workload: plugins.workload(cell.workload) for cell in study.cells}.values():
        # What all cells lack is no row of each.
        workload.open_dataset(Path(places.data_dir(workload.dataset_name)))
    with shelf.claimed(places.folder):
        clock = Clock(places.folder, "study", budget_s)
        if retry:
            clock.check_left()
            shelf.forget_failures(places.folder, study.cells)
        for leaves in LEAVES:
            _answer_all(study, places, clock, leaves)
            _time_all(study, places, clock, {kind: share for kind, share in leaves.items() if kind != shelf.CELLS})
            _judge_all(study, places, clock)
        if not math.isinf(budget_s):
            # What is still left has what may count measured in more processes, and then judges all of that.
            may = [cell for one in candidates_of(study, places.folder).values() for cell in one]
            narrow.carry_out(may, study, places, clock)
            _judge_all(study, places, clock, everything=True)
    parts = {"accuracy": shelf.ANSWERS, "turns": shelf.CELLS, "full runs": shelf.VERDICTS}
    took = {name: clock.spent(f"{kind}/") for name, kind in parts.items()}
    return {**took, **({"more processes": more} if (more := clock.spent(shelf.MORE)) else {})}


def _answer_all(study: Study, places: Places, clock: Clock, leaves: Mapping[str, float]) -> None:
    """Has the cells answer that have not yet, as far as they leave other kinds of step their shares of the budget."""
    for number, cell in enumerate(study.cells, 1):
        if shelf.answered(places.folder, cell) is None and _allowed(shelf.ANSWERS, cell, clock, leaves, 0.0):
            say(f"study: accuracy {number} of {len(study.cells)}: {_said(cell, clock)}")
            _answer(cell, places, clock)
            clock.done(_kind(shelf.ANSWERS, cell), cell.id)


def _time_all(study: Study, places: Places, clock: Clock, leaves: Mapping[str, float]) -> None:
    """Has the cells take turns that have answered, as far as they leave other kinds of step their shares."""
    for number, cell in enumerate(study.cells, 1):
        if shelf.measured(places.folder, cell) is not None:
            continue
        if (record := shelf.answered(places.folder, cell)) is None:
            continue
        if _allowed(shelf.CELLS, cell, clock, leaves, narrow.process_s(study)):
            say(f"study: turns {number} of {len(study.cells)}: {_said(cell, clock)}")
            _time(study, cell, record, places)
            clock.done(_kind(shelf.CELLS, cell), cell.id)


def _kind(kind: str, cell: Cell) -> str:
    return f"{kind}/{cell.backend}/{cell.scenario}"


def _allowed(kind: str, cell: Cell, clock: Clock, leaves: Mapping[str, float], first_s: float) -> bool:
    """Tells whether a step is begun that would be as long as the longest like it, else of its kind, else `first_s`."""
    return clock.allows(clock.longest(_kind(kind, cell)) or clock.longest(f"{kind}/") or first_s, leaves)


def _judge_all(study: Study, places: Places, clock: Clock, *, everything: bool = False) -> None:
    chosen = list(to_judge(study, places.folder, everything=everything))
    for number, cell in enumerate(chosen, 1):
        kind = _kind(shelf.VERDICTS, cell)
        longest_s = clock.longest(kind) or run_s(cell.scenario)
        if shelf.verdict(places.folder, cell) is not None or not clock.allows(longest_s):
            continue
        say(f"study: full runs {number} of {len(chosen)}: {_said(cell, clock)}")
        judge(cell, places, (shelf.measured(places.folder, cell) or {})["variant"]["id"])
        clock.done(kind, cell.id)


def run_s(scenario: str) -> float:
    """Returns how many seconds full runs of a variant take, as long as none has been made."""
    return PEAK_S if scenario == SERVER else RUN_S


def _said(cell: Cell, clock: Clock) -> str:
    again = f", repetition {cell.repetition}" if cell != cell.first else ""
    left = "" if math.isinf(clock.budget_s) else f", {clock.said()}"
    return f"{cell.workload}, {cell.setting}, {cell.title}{again}{left}"


def to_judge(study: Study, folder: Path, *, everything: bool = False) -> Iterator[Cell]:
    """Yields the cells that get full runs: each reference, and the fastest, or all, that may count beside it."""
    for reference, ranked in candidates_of(study, folder).items():
        # Who wants none of a kind gets none, whatever time is left.
        if most := study.peaks if reference.scenario == SERVER else study.verdicts:
            yield from (reference, *(ranked if everything else ranked[:most]))


def candidates_of(study: Study, folder: Path) -> dict[Cell, list[Cell]]:
    """Returns what may count beside each reference, the fastest first, where that had its turns or failed in them."""
    found = {}
    for reference in dict.fromkeys(cell.first.reference for cell in study.cells):
        own = [cell for cell in study.cells if cell.reference == reference and cell.recipe != REFERENCE]
        records = {cell: record for cell in own if (record := shelf.measured(folder, cell))}
        may = {cell: _ratio(study, cell, folder) for cell, record in records.items() if may_count(cell, record)}
        base = shelf.measured(folder, reference)
        if base and "answers_sha256" in base:
            found[reference] = sorted(may, key=lambda cell: -may[cell])
    return found


def may_count(cell: Cell, record: dict[str, Any]) -> bool:
    """Tells whether a cell met its target when it was measured, and was not seen to be emulated."""
    if record["state"] != "measured" or record["accuracy_percent"] < plugins.workload(cell.workload).target:
        return False
    return not emulates(cell.recipe, record["arithmetic"])


def _ratio(study: Study, cell: Cell, folder: Path) -> float:
    """Returns a cell's throughput over the reference's, of all its repetitions that were measured."""
    records = {one: shelf.measured(folder, one) for one in study.cells if one.first == cell}
    known = {one: record for one, record in records.items() if record and record["state"] == "measured"}
    turns = [enough(processes(folder, one, record), record["first_blocks"]) for one, record in known.items()]
    return ratio([block for own in turns for process in own for block in process])


def _answer(cell: Cell, places: Places, clock: Clock) -> None:
    """Keeps what a cell answers and with which arithmetic, or why it does not; what is emulated is finished then."""
    emulated = recipes.emulated(cell.recipe)
    with _recorded(cell, places, {"cell": asdict(cell), "reason": None}) as record:
        made = prepare.make(plan_of(cell, "accuracy", places))
        own = as_requested(_serving(cell, places), made.variant.requested, inline=stream(cell) is not None)
        if cell.recipe == REFERENCE:
            # Its search is no part of how long answers take.
            clock.done(f"{shelf.ANSWERS}/{READY}", cell.id)
        found = answered(made.subject, own, "study")
        workload = plugins.workload(cell.workload)
        payload = np.array(found.pop("answers"), workload.payload_dtype)
        answers = Answers(payload, np.array(found.pop("confidence"), np.float32))
        truth = workload.open_dataset(Path(places.data_dir(workload.dataset_name))).truth()
        metrics = workload.judge.score(answers.labels, truth)
        record.update(
            found,
            state="measured" if emulated else "answered",
            variant=made.variant.record(),
            serving=asdict(own),
            blocks=[],
        )
        record.update(accuracy_percent=float(metrics[workload.metric]))
        record.update(certainly_misses=metrics["high_95"] < workload.target)
    if record["state"] != "failed":
        shelf.keep_answered(places.folder, cell, record, answers, finished=emulated)


def _time(study: Study, cell: Cell, answers: dict[str, Any], places: Places) -> None:
    """Keeps a cell's blocks beside what it answered, or why there are none."""
    # The speed of what certainly misses its target decides nothing.
    most = 1 if answers["certainly_misses"] else study.most_blocks
    with _recorded(cell, places, {**answers, "seconds": study.seconds, "first_blocks": study.least_blocks}) as record:
        served = _serving(cell, places), Serving(**answers["serving"])
        terms = Terms(study.seconds, study.least_blocks, most, study.width)
        base = shelf.answered(places.folder, cell.first.reference) or answers
        ids = base["variant"]["id"], answers["variant"]["id"]
        record.update(blocks=turns(cell, served, terms, places, "study", ids), state="measured")
    if record["state"] == "measured":
        shelf.keep_measured(places.folder, cell, record)


@contextlib.contextmanager
def _recorded(cell: Cell, places: Places, known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a record that is told what the machine did meanwhile; what fails is kept at once as a cell that failed."""
    record, before = {"started_at": store.now(), **known}, machine_state.reading()
    try:
        yield record
    except TandemError as error:
        say(f"study: {cell.title} failed: {error}")
        record.update(state="failed", reason=str(error))
    record.update(ended_at=store.now(), machine_during=machine_state.during(before, machine_state.reading()))
    if record["state"] == "failed":
        shelf.keep_measured(places.folder, cell, record)


def _serving(cell: Cell, places: Places) -> Serving:
    """Returns how the reference is served in its contests, and a variant as far as its recipe asks for nothing else."""
    known = shelf.answered(places.folder, cell.first.reference)
    if known and "serving" in known:
        return Serving(**known["serving"])
    if cell != cell.first.reference:
        because = known["reason"] if known else "it was not measured"
        raise RunFailed(f"Its reference could not be measured: {because}")
    return prepare.ready(plan_of(cell, "accuracy", places)).serving


def judge(cell: Cell, places: Places, variant_id: str) -> None:
    """Keeps the verdict of a cell's full runs, or why there is none; `variant_id` is of what answered."""
    try:
        # In Server half a load that is held says nothing of what could be: the peak is sought.
        plan = plan_of(cell, PEAK if cell.scenario == SERVER else "submission", places)
        check_same(cell, prepare.make(plan).variant.id, variant_id)
        outcome = execute(plan)
        result = outcome.runs[0].folder.parent.resolve().relative_to(places.folder.resolve())
        record = {
            "state": "judged",
            "reason": None,
            "result": str(result),
            "attempts": outcome.attempts,
            "verdict": outcome.verdict.record(),
        }
    except TandemError as error:
        record = {"state": "failed", "reason": str(error)}
        say(f"study: {cell.title} failed: {error}")
    shelf.keep_verdict(places.folder, cell, {"cell": asdict(cell), **record})
