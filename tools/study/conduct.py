"""Carries a study out: every cell's accuracy and its turns with the reference, then full runs of the fastest.

A cell that fails is a record that says why, and the next one goes on. What is finished is never done again. Within a
budget of time no step begins that would not end in it, as far as the longest of its kind tells; what is left out has no
record, and is done when the study is started again with a larger one.
"""

import math
from collections.abc import Iterator
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
from tools.study.contests import Places, contest, enough, plan_of, processes, stream
from tools.study.plan import REFERENCE, Cell, Study
from tools.study.shelf import Answers

# Of a budget, what the cells leave for full runs.
RUNS_SHARE = 0.3
# How long full runs of a variant take, its search included, as long as nothing is known (seen on 2 cores: 22 to 38 s;
# in Server, where they are a search for the highest load, 60 to 130 s).
RUN_S, PEAK_S = 40.0, 150.0


def carry_out(study: Study, places: Places, budget_s: float = math.inf, *, retry: bool = False) -> dict[str, float]:
    """Measures what is not yet measured and judges the fastest; returns the seconds that each part took.

    Raises UsageError where the data are missing, the folder takes nothing, or another process is at it.
    """
    for workload in {cell.workload: plugins.workload(cell.workload) for cell in study.cells}.values():
        # What all cells lack is no row of each.
        workload.open_dataset(Path(places.data_dir(workload.dataset_name)))
    with shelf.claimed(places.folder):
        if retry:
            shelf.forget_failures(places.folder, study.cells)
        clock = Clock(places.folder, "study", budget_s)
        # What full runs have left is for the cells again.
        for share in (RUNS_SHARE, 0.0):
            _measure_all(study, places, clock, share)
            _judge_all(study, places, clock)
        if not math.isinf(budget_s):
            # What is still left has what may count measured in more processes, and then judges all of that.
            narrow.carry_out([*to_judge(study, places.folder, everything=True)], study, places, clock)
            _judge_all(study, places, clock, everything=True)
    took = {"cells": clock.spent(shelf.CELLS), "full runs": clock.spent(shelf.VERDICTS)}
    return {**took, **({"more processes": more} if (more := clock.spent(shelf.MORE)) else {})}


def _measure_all(study: Study, places: Places, clock: Clock, share: float) -> None:
    """Measures the cells that are not yet, as far as they leave a share of the budget for full runs."""
    for number, cell in enumerate(study.cells, 1):
        kind = f"{shelf.CELLS}/{cell.backend}/{cell.scenario}"
        longest_s = clock.longest(kind) or clock.longest(shelf.CELLS)
        if shelf.measured(places.folder, cell) is not None or not clock.allows(longest_s, share):
            continue
        say(f"study: cell {number} of {len(study.cells)}: {_said(cell, clock)}")
        _measure(study, cell, places)
        clock.done(kind, cell.id)


def _judge_all(study: Study, places: Places, clock: Clock, *, everything: bool = False) -> None:
    chosen = list(to_judge(study, places.folder, everything=everything))
    for number, cell in enumerate(chosen, 1):
        kind = f"{shelf.VERDICTS}/{cell.backend}/{cell.scenario}"
        longest_s = clock.longest(kind) or run_s(cell.scenario)
        if shelf.verdict(places.folder, cell) is not None or not clock.allows(longest_s):
            continue
        say(f"study: full runs {number} of {len(chosen)}: {_said(cell, clock)}")
        judge(cell, places)
        clock.done(kind, cell.id)


def run_s(scenario: str) -> float:
    """Returns how many seconds full runs of a variant take, as long as none has been made."""
    return PEAK_S if scenario == "server" else RUN_S


def _said(cell: Cell, clock: Clock) -> str:
    again = f", repetition {cell.repetition}" if cell != cell.first else ""
    left = "" if math.isinf(clock.budget_s) else f", {clock.said()}"
    return f"{cell.workload}, {cell.setting}, {cell.title}{again}{left}"


def to_judge(study: Study, folder: Path, *, everything: bool = False) -> Iterator[Cell]:
    """Yields the cells that get full runs: each reference, and the fastest, or all, that may count beside it."""
    for reference in dict.fromkeys(cell.first.reference for cell in study.cells):
        own = [cell for cell in study.cells if cell.reference == reference]
        found = {cell: shelf.measured(folder, cell) for cell in own if cell.recipe != REFERENCE}
        may = {
            cell: _ratio(study, cell, folder) for cell, record in found.items() if record and may_count(cell, record)
        }
        base = shelf.measured(folder, reference)
        if base and base["state"] == "measured":
            yield reference
            most = study.peaks if reference.scenario == "server" else study.verdicts
            ranked = sorted(may, key=lambda cell: -may[cell])
            # Who wants none of a kind gets none, whatever time is left.
            yield from ranked if everything and most else ranked[:most]


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


def _measure(study: Study, cell: Cell, places: Places) -> None:
    """Keeps a cell's answers and its blocks, or why there are none."""
    record: dict[str, Any] = {"cell": asdict(cell), "started_at": store.now(), "reason": None}
    before, answers = machine_state.reading(), None
    try:
        found, about = _contest(study, cell, places)
        answers = Answers(np.array(found.pop("answers"), np.int64), np.array(found.pop("confidence"), np.float32))
        record.update(about, **found, state="measured")
        workload = plugins.workload(cell.workload)
        truth = workload.open_dataset(Path(places.data_dir(workload.dataset_name))).truth()
        record["accuracy_percent"] = float(workload.score(answers.labels, truth)[workload.metric])
    except TandemError as error:
        record.update(state="failed", reason=str(error))
        say(f"study: {cell.title} failed: {error}")
    record.update(ended_at=store.now(), machine_during=machine_state.during(before, machine_state.reading()))
    shelf.keep_measured(places.folder, cell, record, answers)


def _contest(study: Study, cell: Cell, places: Places) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what the contest of a cell with its reference found, and what was made and how it was served."""
    reference = prepare.make(plan_of(cell.reference, "accuracy", places))
    made = prepare.make(plan_of(cell, "accuracy", places)) if cell.recipe else reference
    serving = _serving(cell, places)
    terms = Terms(
        seconds=study.seconds,
        least_blocks=study.least_blocks,
        # What is emulated has no throughput of its own.
        most_blocks=0 if recipes.emulated(cell.recipe) else study.most_blocks,
        width=study.width,
        target_percent=plugins.workload(cell.workload).target,
        stream=stream(cell),
    )
    own = as_requested(serving, made.variant.requested, inline=terms.stream is not None)
    found = contest(reference.subject, made.subject, (serving, own), terms, "study")
    about = {"seconds": study.seconds, "first_blocks": study.least_blocks}
    return found, {"variant": made.variant.record(), "serving": asdict(own), **about}


def _serving(cell: Cell, places: Places) -> Serving:
    """Returns how the reference is served in its contests, and a variant as far as its recipe asks for nothing else."""
    known = shelf.measured(places.folder, cell.first.reference)
    if known and known["state"] == "measured":
        return Serving(**known["serving"])
    if cell != cell.first.reference:
        because = known["reason"] if known else "it was not measured"
        raise RunFailed(f"Its reference could not be measured: {because}")
    return prepare.ready(plan_of(cell, "accuracy", places)).serving


def judge(cell: Cell, places: Places) -> None:
    """Keeps the verdict of a cell's full runs, or why there is none."""
    try:
        # In Server half a load that is held says nothing of what could be: the peak is sought.
        outcome = execute(plan_of(cell, PEAK if cell.scenario == "server" else "submission", places))
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
