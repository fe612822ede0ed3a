"""What a budget has left after cells and full runs: more blocks of what may count, until its interval is narrow enough.

A cell's first blocks tell how many more it takes (Stein's two stages). Each few are of a process of their own: how much
processes differ among themselves is not in an interval that the spread within the first one makes.
"""

from collections.abc import Sequence
from dataclasses import asdict
from math import log
from pathlib import Path
from typing import Any

from common.errors import TandemError
from common.statistics import two_stage_count
from suite.progress import say
from suite.variant import Serving
from tools.study import shelf
from tools.study.clock import Clock
from tools.study.contests import Places, all_blocks, more_name, turns
from tools.study.plan import REFERENCE, Cell, Study

# So many at a time, and then all others: what a budget ends early is known about alike.
AT_ONCE = 4
# A block has four turns; a process takes so many seconds beside them.
TURNS, PROCESS_S = 4, 5.0


def carry_out(cells: Sequence[Cell], study: Study, places: Places, clock: Clock) -> None:
    """Has the cells that are not known well enough take more turns, as long as there is time."""
    begun = True
    while begun:
        due = {cell: count for cell in cells if (count := missing(cell, study, places.folder))}
        begun = False
        for cell, count in due.items():
            kind = f"{shelf.MORE}/{cell.backend}/{cell.scenario}"
            if not clock.allows(max(clock.longest(kind), PROCESS_S + TURNS * study.seconds * count)):
                continue
            say(f"study: {count} more blocks: {cell.workload}, {cell.setting}, {cell.title}, {clock.said()}")
            clock.done(kind, _more(cell, count, places))
            begun = True


def missing(cell: Cell, study: Study, folder: Path) -> int:
    """Returns how many more blocks a cell takes next, 0 where it is known well enough or they failed.

    Of repetitions it is their own spread that decides, which more blocks of one do not change.
    """
    record = shelf.measured(folder, cell)
    again = any(one.first == cell != one for one in study.cells)
    if record is None or record["state"] != "measured" or cell.recipe == REFERENCE or again:
        return 0
    logs = [one.log_ratio for one in all_blocks(folder, cell, record)]
    if len(logs) < record["first_blocks"] or shelf.recorded(folder, shelf.MORE, more_name(cell, len(logs))):
        return 0
    needed = two_stage_count(logs[: record["first_blocks"]], log(1 + study.width))
    return min(AT_ONCE, max(0, needed - len(logs)))


def _more(cell: Cell, count: int, places: Places) -> str:
    """Keeps so many more blocks of a cell, or why there are none; returns the name of their record."""
    record, base = shelf.measured(places.folder, cell), shelf.measured(places.folder, cell.reference)
    assert record and base
    name = more_name(cell, len(all_blocks(places.folder, cell, record)))
    served = Serving(**base["serving"]), Serving(**record["serving"])
    found: dict[str, Any] = {"cell": asdict(cell), "state": "measured", "reason": None}
    try:
        # As long as the first ones: shorter turns spread more.
        found["blocks"] = turns(cell, served, record["seconds"], count, places, "study")
    except TandemError as error:
        found.update(state="failed", reason=str(error))
        say(f"study: {cell.title} failed: {error}")
    shelf.keep(places.folder, shelf.MORE, name, found)
    return name
