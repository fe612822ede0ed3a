"""Seeks the fastest variant that counts within a budget of time: looks, turns in rounds, and full runs.

First every candidate answers a few samples, then more, until it certainly misses its target or has answered all
(suite.probes.looks). What does not miss it takes turns with the reference, in rounds (halving), until they are told
apart or only the share of the time for full runs is left. Then the fastest gets these where it is surely faster than
the reference, and those that cannot be told apart more rounds, until they can or the time is over; what is left of it
is for full runs of the others that may be the fastest. Full runs begin only where the longest so far would still fit.
Each step is a file of its own: started again, it goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import RunFailed, TandemError, UsageError
from common.names import normal
from suite import plugins, prepare, recipes, store
from suite.prepare import Made
from suite.probes import looks
from suite.probes.contest import Terms
from suite.progress import say
from suite.search import as_requested
from suite.variant import Requested, Serving
from tools.study import candidates, halving, shelf
from tools.study.candidates import SEED, Candidate, turns_name
from tools.study.clock import Clock
from tools.study.conduct import judge, run_s
from tools.study.contests import STALL_TIMEOUT_S, Places, check_same, plan_of, stream, turns
from tools.study.halving import Pace
from tools.study.plan import (
    DETECTION,
    END_TO_END,
    QUICK,
    QUICK_DETECTION,
    RECIPES,
    REFERENCE,
    SERVER,
    TORCH,
    TORCH_DETECTION,
    Cell,
    Study,
    cells_of,
    wanted,
)

# Of a turn: rounds are many, and short ones show the hopeless early. In a stream a percentile wants many queries.
SECONDS, STREAM_SECONDS = 0.35, 2.0
# Parts of what getting the reference ready leaves of the budget; the rest is for looks. What the reference has not
# answered nobody is asked, so that it has a good part of the time for looks.
TURNS_SHARE, RUNS_SHARE, REFERENCE_SHARE = 0.25, 0.4, 0.25

READY = "ready"

# Says who gets full runs, of paces, who is eligible, and verdicts.
Which = Callable[[dict[Cell, Pace], set[Cell], dict[Cell, bool]], Cell | None]


@dataclass(frozen=True)
class Search:
    """What is searched: the reference and the candidates, and how a turn is taken.

    A turn takes `seconds`; the interval of a ratio is narrow enough within `width` of it, as a share.
    """

    cells: tuple[Cell, ...]
    seconds: float
    width: float

    @property
    def reference(self) -> Cell:
        """What all are compared with."""
        return self.cells[0]


def default(workloads: Sequence[str], backend: str, scenario: str, *, quick: bool, end_to_end: bool) -> Study:
    """Returns what is searched without a plan; raises UsageError for an unknown name."""
    torch = normal(backend) == "torch"
    if torch and quick:
        raise UsageError("--quick is a shorter list for onnxruntime, and that for torch is short. Leave it out.")
    own_kind: Sequence[str] = TORCH if torch else QUICK if quick else RECIPES
    if all(plugins.workload(one).steps for one in wanted(workloads)):
        own_kind = (*TORCH, *TORCH_DETECTION) if torch else QUICK_DETECTION if quick else (*RECIPES, *DETECTION)
    given = (*own_kind, *(END_TO_END if end_to_end and not torch else ()))
    # What is emulated has no throughput of its own.
    own = [one for one in given if not recipes.emulated(one) and not (normal(scenario) == SERVER and _serves(one))]
    cells = cells_of(workloads, (backend,), (scenario,), own, end_to_end=end_to_end)
    return Study(cells, seconds=STREAM_SECONDS if stream(cells[0]) else SECONDS)


def _serves(recipe: str) -> bool:
    """Tells whether a recipe asks for a way of serving."""
    return recipes.requested(recipe, Requested()) != Requested()


def search_of(study: Study) -> Search:
    """Returns the search among a study's cells; raises UsageError where they are not all of one kind."""
    kinds = {cell.reference for cell in study.cells}
    if any(cell != cell.first for cell in study.cells):
        raise UsageError("--best repeats what it has to by itself: leave repetitions out of the plan.")
    if len(kinds) != 1:
        raise UsageError(
            f"--best seeks the fastest of one workload, and these are {len(kinds)} workloads, backends or scenarios. "
            f"Give --workload, one of: {', '.join(plugins.names('reference_models'))}; or a --plan of one kind."
        )
    (reference,) = kinds
    serving = [cell.title for cell in study.cells if reference.scenario == SERVER and _serves(cell.recipe)]
    if serving:
        raise UsageError(
            f"In Server the turns have no limit of latency, which tells how to serve; leave {serving[0]} out."
        )
    if not plugins.describe(reference.backend).eligible:
        raise UsageError(f"Nothing that runs on the backend {reference.backend} counts. Give another --backend.")
    return Search((reference, *(cell for cell in study.cells if cell != reference)), study.seconds, study.width)


def carry_out(
    search: Search, places: Places, budget_s: float, *, retry: bool = False
) -> tuple[list[Candidate], dict[str, float]]:
    """Returns the candidates after what the budget allows, the reference first, and the seconds that each part took.

    Raises UsageError where data are missing, a file is damaged, or another process is at the folder; RunFailed where
    the reference cannot be measured.
    """
    workload = plugins.workload(search.reference.workload)
    truth = workload.open_dataset(Path(places.data_dir(workload.dataset_name))).truth()
    with shelf.claimed(places.folder):
        # Another search in the same folder has a time of its own.
        clock = Clock(places.folder, f"best-{search.reference.id}", budget_s)
        if retry:
            clock.check_left()
            shelf.forget_failures(places.folder, search.cells)

        def known() -> list[Candidate]:
            return candidates.read(search.cells, places.folder, workload, truth)

        def judge_all(which: Which) -> None:
            while clock.left() >= _longest(search, clock) and (cell := which(*candidates.figures(known()))):
                say(f"best: full runs of {cell.title}, {clock.said()}")
                judge(cell, places, _id(cell, places))
                clock.done(shelf.VERDICTS, cell.id)

        _look_at_all(search, places, clock)
        while _round(search, places, clock, known(), _kept_for_runs(search, clock)):
            pass
        if search.reference.scenario == SERVER:
            # What wins has to hold more load than it.
            judge_all(lambda known, eligible, counts: None if search.reference in counts else search.reference)
        judge_all(halving.leader)
        while _round(search, places, clock, known(), _longest(search, clock)):
            judge_all(halving.leader)
        judge_all(halving.next_to_judge)
        parts = {"looks": shelf.LOOKS, "turns": shelf.TURNS, "full runs": shelf.VERDICTS}
        return known(), {name: clock.spent(kind) for name, kind in parts.items()}


def _look_at_all(search: Search, places: Places, clock: Clock) -> None:
    for number, cell in enumerate(search.cells):
        known = shelf.recorded(places.folder, shelf.LOOKS, cell.id)
        if known is None or _cut_short(cell, known, search, places):
            # The reference has to be looked at.
            if (number or known) and _left_for_looks(search, clock) <= 0:
                break
            say(f"best: look {number + 1} of {len(search.cells)}: {cell.title}, {clock.said()}")
            share = REFERENCE_SHARE if not number else 1 / (len(search.cells) - number)
            record = _kept_by(cell, partial(_look, search, cell, places, clock, share, known))
            if known is None or len(record.get("answers", ())) > len(known["answers"]):
                shelf.keep(places.folder, shelf.LOOKS, cell.id, record)
            clock.done(shelf.LOOKS, cell.id)
        if not number:
            _base(search, places)


def _cut_short(cell: Cell, known: dict[str, Any], search: Search, places: Places) -> bool:
    """Tells whether a look ended for lack of time, its own or that of the reference, which has answered more since."""
    if known["state"] == "failed":
        return False
    all_of_fewer = known["ended_by"] == looks.ALL and len(known["answers"]) < len(_base(search, places)["answers"])
    return bool(known["ended_by"] == looks.TIME or (cell != search.reference and all_of_fewer))


def _base(search: Search, places: Places) -> dict[str, Any]:
    """Returns what the look at the reference found; raises RunFailed where it failed."""
    found = shelf.recorded(places.folder, shelf.LOOKS, search.reference.id)
    assert found is not None
    if found["state"] == "failed":
        raise RunFailed(f"The reference could not be measured: {found['reason']} (--retry-failed tries it again)")
    return found


def _look(
    search: Search, cell: Cell, places: Places, clock: Clock, share: float, known: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns a cell's answers to as many samples as are needed and fit into a share of the time for all looks.

    With what is `known` of a look that was cut short it is served as it was then.
    """
    made = prepare.make(plan_of(cell, "accuracy", places))
    if known:
        check_same(cell, made.variant.id, known["variant"]["id"])
    if cell.recipe == REFERENCE and known:
        serving, reference = known["serving"], None
    elif cell.recipe == REFERENCE:
        serving, reference = asdict(prepare.ready(plan_of(cell, "accuracy", places)).serving), None
        clock.done(shelf.LOOKS, READY)
    else:
        base = _base(search, places)
        serving, reference = _served(cell, base, made), base["answers"]
    seconds = share * max(0.0, _left_for_looks(search, clock))
    job = {"subject": made.subject, "serving": serving, "seed": SEED, "seconds": seconds, "reference": reference}
    found = prepare.call("look", job, STALL_TIMEOUT_S, "best")
    return {**found, "serving": serving, "seed": SEED, "variant": made.variant.record()}


def _round(search: Search, places: Places, clock: Clock, known: list[Candidate], reserve_s: float) -> bool:
    """Has those who may be the fastest take turns, until so much time is left; tells whether another may follow."""
    ready = _due(search, known)
    for cell, blocks, before in ready:
        if clock.left() < reserve_s + blocks * _longest_block(clock):
            return False
        say(f"best: {before + blocks} blocks of {cell.title}, {clock.said()}")
        record = _kept_by(cell, partial(_turns, search, cell, blocks, places))
        shelf.keep(places.folder, shelf.TURNS, turns_name(cell, before), record)
        clock.done(f"{shelf.TURNS}/{blocks}", turns_name(cell, before))
    return bool(ready)


def _longest_block(clock: Clock) -> float:
    """Returns the seconds that a block took where it took the longest, with its process."""
    return max(clock.longest(f"{shelf.TURNS}/{count}/") / count for count in range(1, halving.MOST_AT_ONCE + 1))


def _due(search: Search, known: list[Candidate]) -> list[tuple[Cell, int, int]]:
    """Returns who takes turns next: the cell, how many blocks, and how many it has."""
    runners = [one for one in known if one.running and one.cell != search.reference]
    untimed = [one.cell for one in runners if one.pace is None]
    if untimed:
        return [(cell, halving.FIRST_BLOCKS, 0) for cell in untimed]
    paces = {one.cell: one.pace for one in runners if one.pace}
    eligible = {one.cell for one in runners if one.eligible}
    return [(cell, blocks, paces[cell].blocks) for cell, blocks in halving.due(paces, eligible, search.width)]


def _turns(search: Search, cell: Cell, blocks: int, places: Places) -> dict[str, Any]:
    base = _base(search, places)
    served = Serving(**base["serving"]), Serving(**_served(cell, base, prepare.make(plan_of(cell, "accuracy", places))))
    # A process may be quicker than the next from its start to its end: with one for each block their spread has that.
    terms, ids = Terms.fixed(search.seconds, 1), (_id(search.reference, places), _id(cell, places))
    found: list[dict[str, Any]] = []
    for _ in range(blocks):
        try:
            found += turns(cell, served, terms, places, "best", ids)
        except TandemError as error:
            if not found:
                raise
            # The blocks that there are stay; what goes on failing is told by the next round.
            say(f"best: {len(found)} of {blocks} blocks of {cell.title}: {error}")
            break
    return {"seconds": search.seconds, "blocks": found}


def _id(cell: Cell, places: Places) -> str:
    """Returns the id of the variant that was looked at."""
    return str((shelf.recorded(places.folder, shelf.LOOKS, cell.id) or {})["variant"]["id"])


def _served(cell: Cell, base: dict[str, Any], made: Made) -> dict[str, Any]:
    """Returns how a variant is served: as the reference, where its recipe asks for nothing else."""
    inline = stream(cell) is not None
    return asdict(as_requested(Serving(**base["serving"]), made.variant.requested, inline=inline))


def _kept_by(cell: Cell, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the record of what was measured of a cell, or of why it could not be."""
    record: dict[str, Any] = {"cell": asdict(cell), "started_at": store.now(), "reason": None}
    try:
        return {**record, **measure(), "state": "measured"}
    except TandemError as error:
        say(f"best: {cell.title} failed: {error}")
        return {**record, "state": "failed", "reason": str(error)}


def _left_for_looks(search: Search, clock: Clock) -> float:
    """Returns the seconds that are left for looks."""
    return clock.left() - _kept_for_runs(search, clock) - TURNS_SHARE * _shared(clock)


def _kept_for_runs(search: Search, clock: Clock) -> float:
    """Returns the seconds that looks and the first rounds leave: a share, and enough to name a winner."""
    return max(RUNS_SHARE * _shared(clock), runs_needed(search) * _longest(search, clock))


def runs_needed(search: Search) -> int:
    """Returns how many full runs it takes at least to name a winner: in Server the reference's too."""
    return 2 if search.reference.scenario == SERVER else 1


def _shared(clock: Clock) -> float:
    return clock.budget_s - clock.spent(f"{shelf.LOOKS}/{READY}")


def _longest(search: Search, clock: Clock) -> float:
    return clock.longest(shelf.VERDICTS) or run_s(search.reference.scenario)
