"""What a budget has left after cells and full runs: more processes for what may count, until it is known well enough.

A process may be quicker than the next from its start to its end, so more blocks in one process would only tell that
process better. The first few processes tell how many it takes (Stein's two stages, with each one's ratio as a value).
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import log
from pathlib import Path
from typing import Any

from common.errors import TandemError
from common.statistics import two_stage_count
from suite.probes.contest import Terms, ratio
from suite.progress import say
from suite.variant import Serving
from tools.study import shelf
from tools.study.clock import Clock
from tools.study.contests import FIRST_PROCESSES, Places, more_name, processes, turns
from tools.study.plan import REFERENCE, Cell, Study

# A block has four turns; a process takes so many seconds beside them.
TURNS, PROCESS_S = 4, 5.0


def carry_out(cells: Sequence[Cell], study: Study, places: Places, clock: Clock) -> None:
    """Has the cells that are not known well enough measured in more processes, as long as there is time.

    None begins with what it cannot bring to the first few: the interval of two is wider than that of one.
    """
    begun = True
    while begun:
        begun = False
        for cell in cells:
            count = missing(cell, study, places.folder)
            kind = f"{shelf.MORE}/{cell.backend}/{cell.scenario}"
            step_s = max(clock.longest(kind), process_s(study))
            if not count or not clock.allows(step_s * count):
                continue
            for number in range(1, count + 1):
                what = f"{cell.workload}, {cell.setting}, {cell.title}, {clock.said()}"
                say(f"study: process {number} of {count} more: {what}")
                clock.done(kind, _more(cell, places))
                if not missing(cell, study, places.folder) or not clock.allows(clock.longest(kind)):
                    break
            begun = True


def process_s(study: Study) -> float:
    """Returns how many seconds a process with the fewest blocks takes, as long as none was seen."""
    return PROCESS_S + TURNS * study.seconds * study.least_blocks


def missing(cell: Cell, study: Study, folder: Path) -> int:
    """Returns how many more processes a cell takes next, 0 where it is known well enough or one failed.

    Of repetitions the plan decides how many there are.
    """
    record = shelf.measured(folder, cell)
    again = any(one.first == cell != one for one in study.cells)
    if record is None or record["state"] != "measured" or cell.recipe == REFERENCE or again:
        return 0
    known = processes(folder, cell, record)
    if len(known[0]) < record["first_blocks"] or shelf.recorded(folder, shelf.MORE, more_name(cell, len(known))):
        return 0
    return due([log(ratio(own[: record["first_blocks"]])) for own in known], study.width)


def due(logs: Sequence[float], width: float) -> int:
    """Returns how many processes come next, by the logarithms of the ratios of those that there are.

    First those that tell how many it takes, then one at a time.
    """
    if len(logs) < FIRST_PROCESSES:
        return FIRST_PROCESSES - len(logs)
    return int(two_stage_count(logs[:FIRST_PROCESSES], log(1 + width)) > len(logs))


def _more(cell: Cell, places: Places) -> str:
    """Keeps the blocks of one more process of a cell, or why there are none; returns the name of their record."""
    record, base = shelf.measured(places.folder, cell), shelf.measured(places.folder, cell.reference)
    assert record and base
    name = more_name(cell, len(processes(places.folder, cell, record)))
    served = Serving(**base["serving"]), Serving(**record["serving"])
    found: dict[str, Any] = {"cell": asdict(cell), "state": "measured", "reason": None}
    try:
        # As long and as many as the first ones: a process of fewer would spread more.
        terms = Terms.fixed(record["seconds"], record["first_blocks"])
        found["blocks"] = turns(cell, served, terms, places, "study", (base["variant"]["id"], record["variant"]["id"]))
    except TandemError as error:
        found.update(state="failed", reason=str(error))
        say(f"study: {cell.title} failed: {error}")
    shelf.keep(places.folder, shelf.MORE, name, found)
    return name
